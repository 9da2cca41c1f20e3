"""`wildrobot replay`: do a logged run again, with `--simulate` on the simulated robot, too."""

from __future__ import annotations

import argparse

from wildrobot_torch.deploy.runtime import main as runtime


def main(options: argparse.Namespace) -> int:
    """0 when every bit is the same."""
    if not options.simulate:
        return runtime.replay(options)
    from wildrobot_torch.deploy.resimulate import main as resimulate

    return resimulate(options)
