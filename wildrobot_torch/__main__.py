"""Entry point of `wildrobot` and of `python -m wildrobot_torch`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the doctor without cli.py, whose imports may be what is missing."""
    if sys.argv[1:2] == ["doctor"]:
        from wildrobot_torch.cli.doctor import main as doctor

        return doctor(sys.argv[2:])
    from wildrobot_torch.cli.fit import main as train

    return train()


if __name__ == "__main__":
    raise SystemExit(main())
