"""`wildrobot runtime-benchmark`: how fast the control loop is here."""

from wildrobot_torch.deploy.runtime.main import runtime_benchmark as main

__all__ = ["main"]
