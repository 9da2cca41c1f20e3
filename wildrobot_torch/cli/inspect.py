"""`wildrobot inspect`: what a policy or a bundle says of itself, checked."""

from __future__ import annotations

import argparse

from wildrobot_torch.deploy.inspect import inspect


def main(options: argparse.Namespace) -> int:
    """0; what cannot be used is an error."""
    print(inspect(options.subject), end="")
    return 0
