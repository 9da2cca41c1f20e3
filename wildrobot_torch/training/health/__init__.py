"""Alarms, diagnosis and post-mortem of a training."""
