"""Robots that follow clips, and what they did."""
