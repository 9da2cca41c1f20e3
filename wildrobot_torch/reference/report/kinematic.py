"""Kinematic metrics of a clip (no dynamics): sole speed, penetration, joint stops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.robot.model import RobotModel
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.metrics import JOINT_STOP
from wildrobot_torch.reference.verify.states import forward


@dataclass(frozen=True)
class ClipMotion:
    """A clip's feet and joints, frame by frame; N frames. There is no load: nothing carries it."""

    sole_speed: Tensor
    """(N, 2) [m/s]: of the soles over the floor."""
    sole_height: Tensor
    """(N, 2) [m]: of each sole's lowest point above the floor."""
    joint_pos: Tensor
    """(N, J) [rad]."""

    @property
    def slip_p95(self) -> float:
        """Speed of the lower sole over the floor, 95th percentile [m/s].

        The lower sole, because a clip's floor may be anywhere, and where nothing is loaded one
        foot of a walk has to stand.
        """
        lower = self.sole_height.argmin(dim=1, keepdim=True)
        return float(torch.quantile(self.sole_speed.gather(1, lower), 0.95))

    @property
    def penetration(self) -> float:
        """Deepest sole point below the floor [m]."""
        return float((-self.sole_height).max().clamp(min=0))

    def joint_stop_share(self, joint_range: Tensor) -> float:
        """Share of frames within `JOINT_STOP` of an end of the range (J, 2), worst joint."""
        low, high = joint_range.double().unbind(-1)
        on_stop = (self.joint_pos < low + JOINT_STOP) | (self.joint_pos > high - JOINT_STOP)
        return float(on_stop.double().mean(0).max())


def clip_motion(clip: Clip, robot_model: RobotModel) -> ClipMotion:
    """Feet and joints of a clip put on the robot, its velocities by central differences.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    robot = robot_model.robot
    posed = forward(*clip_states(clip, robot), robot_model, 1.0 / clip.fps)
    assert posed.sole_height is not None
    return ClipMotion(
        sole_speed=posed.sole_speed[:, 0].double(),
        sole_height=posed.sole_height[:, 0].double(),
        joint_pos=posed.joint_pos(robot)[:, 0].double(),
    )
