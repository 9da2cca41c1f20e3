"""Repair of clips: stances, fit, balance."""
