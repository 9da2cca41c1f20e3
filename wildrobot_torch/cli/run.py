"""`wildrobot run`: drive a robot by a policy."""

from wildrobot_torch.deploy.runtime.main import run as main

__all__ = ["main"]
