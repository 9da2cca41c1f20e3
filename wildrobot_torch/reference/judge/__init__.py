"""Metrics, gates and segments of recorded motion."""
