"""A support wrench on the root that helps the robot through a clip, and is measured as it does.

The wrench is weak on purpose and fades out when the robot tilts: a reference that hangs in its
harness teaches the harness. Gates judge how much of it was used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.frames import quat_conjugate, quat_multiply, quat_rotate, roll_pitch
from envs.physics.base import PhysicsState


@dataclass(frozen=True, kw_only=True)
class HarnessConfig:
    """Support of the root towards a target height and orientation."""

    height_kp: float = 60.0
    """Vertical stiffness [N/m]."""
    height_kd: float = 10.0
    """Vertical damping [N s/m]."""
    force_cap: float = 4.0
    """Largest vertical force, up or down [N]."""
    tilt_kp: float = 40.0
    """Stiffness of the orientation [N m/rad]."""
    tilt_kd: float = 2.0
    """Damping of the angular velocity [N m s/rad]."""
    torque_cap: float = 2.0
    """Largest torque, its norm [N m]."""
    tilt_gate: float = 0.436
    """Roll or pitch beyond which the harness lets go [rad]."""
    updates_per_step: int = 5
    """How often the wrench is computed anew in a control step; divides the decimation."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"harness.{name} is {value}; it must not be negative")
        if self.updates_per_step < 1:
            raise ValueError("harness.updates_per_step is 0; allowed: 1 or more")


def harness_wrench(
    state: PhysicsState, height: Tensor, quat: Tensor, config: HarnessConfig
) -> Tensor:
    """Force [N] and torque [N m] (E, 6) on the root, world frame.

    Args:
        state: present state of E simulations.
        height: (E,) root height to hold [m].
        quat: (E, 4) root orientation to hold.
        config: gains and caps.
    """
    present, angvel_b = state.qpos[:, 3:7], state.qvel[:, 3:6]
    force = config.height_kp * (height - state.qpos[:, 2]) - config.height_kd * state.qvel[:, 2]
    force = force.clamp(-config.force_cap, config.force_cap)

    error = quat_multiply(quat_conjugate(present), quat)  # rotation left to do, body frame
    error = torch.where(error[:, :1] < 0, -error, error)  # the short way round
    vec = error[:, 1:]
    norm = vec.norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(norm, error[:, :1])
    rotvec_b = vec / norm.clamp(min=1e-9) * angle
    torque_b = config.tilt_kp * rotvec_b - config.tilt_kd * angvel_b
    size = torque_b.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    torque_w = quat_rotate(present, torque_b * (config.torque_cap / size).clamp(max=1.0))

    roll, pitch = roll_pitch(present)
    holds = (roll.abs() < config.tilt_gate) & (pitch.abs() < config.tilt_gate)
    zero = torch.zeros_like(force)
    wrench = torch.cat([torch.stack([zero, zero, force], dim=-1), torque_w], dim=-1)
    return wrench * holds[:, None]
