"""Entry point of `wildrobot`, and of `python -m` with this package."""

from wildrobot_torch.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
