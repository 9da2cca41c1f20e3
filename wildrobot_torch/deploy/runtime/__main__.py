"""`python -m wildrobot_torch.deploy.runtime`: the runtime's programs, without torch."""

from wildrobot_torch.deploy.runtime.main import main

if __name__ == "__main__":
    raise SystemExit(main())
