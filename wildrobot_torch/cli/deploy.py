"""`wildrobot deploy`: write the folder that a robot's computer runs a bundle from."""

from __future__ import annotations

import argparse

from wildrobot_torch.deploy.package import write_package
from wildrobot_torch.deploy.runtime.bundle import Bundle


def main(options: argparse.Namespace) -> int:
    """0 when the folder was written."""
    written = write_package(Bundle.open(options.bundle), options.out)
    print(f"wrote {options.out}: {len(written)} files; begin with {options.out / 'README.md'}")
    return 0
