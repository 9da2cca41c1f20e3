"""Entry point of `wildrobot` and of `python -m wildrobot_torch`."""

from wildrobot_torch.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
