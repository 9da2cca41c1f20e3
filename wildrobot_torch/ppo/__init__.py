"""Proximal policy optimisation: networks, normaliser and losses, in plain PyTorch."""
