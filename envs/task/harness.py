"""A support wrench on the root that helps the robot through a clip, and is measured as it does.

The wrench is weak on purpose and lets go when the robot tilts: a reference that hangs in its
harness teaches the harness. Gates judge how much of it was used, and how often its caps cut it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    lowpass_hz: float = 0.0
    """Cut-off of a first-order low-pass over force and torque [Hz]. 0 filters nothing, which served
    best: help that comes late pushes, and below 20 Hz the gates accept less of the built-in clips
    (`tools/make_reference.py --reference.harness.lowpass_hz 10`)."""
    updates_per_step: int = 5
    """How often the wrench is computed anew in a control step; divides the decimation."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"harness.{name} is {value}; it must not be negative")
        if self.updates_per_step < 1:
            raise ValueError("harness.updates_per_step is 0; allowed: 1 or more")


@dataclass(frozen=True)
class Support:
    """What the harness does to E robots."""

    wrench: Tensor
    """(E, 6): force [N] and torque [N m] on the root at present, world; what a low-pass goes on
    from."""
    mean: Tensor
    """(E, 6): its mean over the last control step."""
    saturated: Tensor
    """(E, 2) bool: force, torque were asked for beyond their caps at some time in that step."""

    @classmethod
    def none(cls, num: int, device: torch.device) -> Support:
        """A slack harness on `num` robots."""
        zeros = torch.zeros(num, 6, device=device)
        return cls(zeros, zeros.clone(), torch.zeros(num, 2, dtype=torch.bool, device=device))

    def let_go(self, mask: Tensor) -> Support:
        """Slack again where `mask` (E,) is set; nothing is left of what it did there."""
        return replace(
            self,
            wrench=self.wrench.masked_fill(mask[:, None], 0.0),
            mean=self.mean.masked_fill(mask[:, None], 0.0),
            saturated=self.saturated.masked_fill(mask[:, None], False),
        )


def supporting_wrench(
    previous: Tensor,
    state: PhysicsState,
    height: Tensor,
    quat: Tensor,
    *,
    config: HarnessConfig,
    dt: float,
) -> tuple[Tensor, Tensor]:
    """Wrench (E, 6) on the root from now on, and whether force and torque met their caps (E, 2).

    A robot beyond the tilt gate is let go at once, not slowly; once it is back, a low-pass begins
    anew from nothing. A cap of 0 is no harness, so it is never met.

    Args:
        previous: (E, 6) wrench until now.
        state: present state of E simulations.
        height: (E,) root height to hold [m].
        quat: (E, 4) root orientation to hold.
        config: gains, caps and low-pass.
        dt: time between two calls [s].
    """
    force, torque_b = _asked(state, height, quat, config)
    holds = _upright(state, config)
    over_force = (force.abs() >= config.force_cap) & holds & (config.force_cap > 0.0)
    over_torque = torque_b.norm(dim=-1) >= config.torque_cap
    over_torque = over_torque & holds & (config.torque_cap > 0.0)
    wrench = _capped(state, force, torque_b, config)
    # Exact for a wrench asked for that is constant over dt.
    keep = math.exp(-2.0 * math.pi * config.lowpass_hz * dt) if config.lowpass_hz > 0.0 else 0.0
    wrench = (wrench + keep * (previous - wrench)) * holds[:, None]
    return wrench, torch.stack([over_force, over_torque], dim=-1)


def _asked(
    state: PhysicsState, height: Tensor, quat: Tensor, config: HarnessConfig
) -> tuple[Tensor, Tensor]:
    """Vertical force (E,) [N] and torque (E, 3) [N m], body frame, that gains alone would give."""
    present, angvel_b = state.qpos[:, 3:7], state.qvel[:, 3:6]
    force = config.height_kp * (height - state.qpos[:, 2]) - config.height_kd * state.qvel[:, 2]

    error = quat_multiply(quat_conjugate(present), quat)  # rotation left to do, body frame
    error = torch.where(error[:, :1] < 0, -error, error)  # the short way round
    vec = error[:, 1:]
    norm = vec.norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(norm, error[:, :1])
    rotvec_b = vec / norm.clamp(min=1e-9) * angle
    return force, config.tilt_kp * rotvec_b - config.tilt_kd * angvel_b


def _capped(state: PhysicsState, force: Tensor, torque_b: Tensor, config: HarnessConfig) -> Tensor:
    """Wrench (E, 6), world frame, within the caps."""
    force = force.clamp(-config.force_cap, config.force_cap)
    size = torque_b.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    torque_b = torque_b * (config.torque_cap / size).clamp(max=1.0)
    torque_w = quat_rotate(state.qpos[:, 3:7], torque_b)
    zero = torch.zeros_like(force)
    return torch.cat([torch.stack([zero, zero, force], dim=-1), torque_w], dim=-1)


def _upright(state: PhysicsState, config: HarnessConfig) -> Tensor:
    """(E,) bool: tilted less than the gate."""
    roll, pitch = roll_pitch(state.qpos[:, 3:7])
    return (roll.abs() < config.tilt_gate) & (pitch.abs() < config.tilt_gate)
