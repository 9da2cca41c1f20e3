"""Tests of reference motion: what must hold of a dataset before anything is trained on it."""
