"""Readers: from motion files to clips."""
