"""`wildrobot calibrate`: find a robot's signs, zeros, IMU map and switches."""

from wildrobot_torch.deploy.runtime.main import calibrate as main

__all__ = ["main"]
