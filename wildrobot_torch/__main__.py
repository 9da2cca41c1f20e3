"""Entry point of `python -m wildrobot_torch`."""

from __future__ import annotations

from wildrobot_torch.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
