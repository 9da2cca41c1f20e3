"""The harness: a support wrench on the root that helps the robot through a clip.

The wrench is weak on purpose and lets go when the robot tilts: a policy cannot learn from motion
that needs the harness. What it did is recorded, and gates limit how much of it may have been used
and how often its caps were reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from envs.frames import quat_conjugate, quat_multiply, quat_rotate, roll_pitch
from envs.physics.base import PhysicsState
from envs.settings import NonNegativeFloat, check


@dataclass(frozen=True, kw_only=True)
class SupportConfig:
    """Support of the root towards a target height and orientation."""

    height_kp: NonNegativeFloat = 60.0
    """Vertical stiffness [N/m]."""
    height_kd: NonNegativeFloat = 10.0
    """Vertical damping [N s/m]."""
    force_cap: NonNegativeFloat = 4.0
    """Largest vertical force, up or down [N]."""
    tilt_kp: NonNegativeFloat = 40.0
    """Stiffness of the orientation [N m/rad]."""
    tilt_kd: NonNegativeFloat = 2.0
    """Damping of the angular velocity [N m s/rad]."""
    torque_cap: NonNegativeFloat = 2.0
    """Largest torque, its norm [N m]."""
    tilt_gate: NonNegativeFloat = 0.436
    """Roll or pitch beyond which the harness lets go [rad]."""
    lowpass_hz: NonNegativeFloat = 0.0
    """Cut-off of a first-order low-pass over force and torque [Hz]. 0 filters nothing, which
    works best: a late force pushes, and below 20 Hz the gates accept less of the built-in clips."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SupportState:
    """What the support does to E robots."""

    wrench: Tensor
    """(E, 6): force [N] and torque [N m] on the root at present, world; the low-pass continues
    from it."""
    mean: Tensor
    """(E, 6): its mean over the last control step."""
    saturated: Tensor
    """(E, 2) bool: the gains demanded a force, a torque beyond its cap in that step."""

    @classmethod
    def none(cls, num: int, device: torch.device) -> SupportState:
        """No wrench on `num` robots."""
        zeros = torch.zeros(num, 6, device=device)
        return cls(zeros, zeros.clone(), torch.zeros(num, 2, dtype=torch.bool, device=device))

    def let_go(self, mask: Tensor) -> SupportState:
        """The state with no wrench and no record of one where `mask` (E,) is set."""
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
    config: SupportConfig,
    dt: float,
) -> tuple[Tensor, Tensor]:
    """Wrench (E, 6) on the root from now on; whether force and torque reached their caps (E, 2).

    A robot beyond the tilt gate is let go at once, without low-pass; once it is back, the low-pass
    starts from 0. A cap of 0 switches force or torque off and is never reached.

    Args:
        previous: (E, 6) wrench until now.
        state: present state of E simulations.
        height: (E,) root height to hold [m].
        quat: (E, 4) root orientation to hold.
        config: gains, caps and low-pass.
        dt: time between two calls [s].
    """
    force, torque_b = _demand(state, height, quat, config)
    holds = _upright(state, config)
    over_force = (force.abs() >= config.force_cap) & holds & (config.force_cap > 0.0)
    over_torque = torque_b.norm(dim=-1) >= config.torque_cap
    over_torque = over_torque & holds & (config.torque_cap > 0.0)
    wrench = _capped(state, force, torque_b, config)
    # Exact where the unfiltered wrench is constant over dt.
    keep = math.exp(-2.0 * math.pi * config.lowpass_hz * dt) if config.lowpass_hz > 0.0 else 0.0
    wrench = (wrench + keep * (previous - wrench)) * holds[:, None]
    return wrench, torch.stack([over_force, over_torque], dim=-1)


def _demand(
    state: PhysicsState, height: Tensor, quat: Tensor, config: SupportConfig
) -> tuple[Tensor, Tensor]:
    """Vertical force (E,) [N] and torque (E, 3) [N m], body frame, before the caps."""
    present, angvel_b = state.qpos[:, 3:7], state.qvel[:, 3:6]
    force = config.height_kp * (height - state.qpos[:, 2]) - config.height_kd * state.qvel[:, 2]

    error = quat_multiply(quat_conjugate(present), quat)  # remaining rotation, body frame
    error = torch.where(error[:, :1] < 0, -error, error)  # of q and -q the smaller rotation
    vec = error[:, 1:]
    norm = vec.norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(norm, error[:, :1])
    rotvec_b = vec / norm.clamp(min=1e-9) * angle
    return force, config.tilt_kp * rotvec_b - config.tilt_kd * angvel_b


def _capped(state: PhysicsState, force: Tensor, torque_b: Tensor, config: SupportConfig) -> Tensor:
    """Wrench (E, 6), world frame, within the caps."""
    force = force.clamp(-config.force_cap, config.force_cap)
    size = torque_b.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    torque_b = torque_b * (config.torque_cap / size).clamp(max=1.0)
    torque_w = quat_rotate(state.qpos[:, 3:7], torque_b)
    zero = torch.zeros_like(force)
    return torch.cat([torch.stack([zero, zero, force], dim=-1), torque_w], dim=-1)


def _upright(state: PhysicsState, config: SupportConfig) -> Tensor:
    """(E,) bool: tilted less than the gate."""
    roll, pitch = roll_pitch(state.qpos[:, 3:7])
    return (roll.abs() < config.tilt_gate) & (pitch.abs() < config.tilt_gate)
