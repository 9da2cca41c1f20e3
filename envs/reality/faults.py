"""Faults that pass: a servo goes limp, joints are displaced, sensors are noisy for a while."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.reality.disturbances import start_probability
from envs.settings import NonNegativeFloat, PositiveFloat, check


@dataclass(frozen=True, kw_only=True)
class FaultConfig:
    """Faults that come and go within an episode; an interval of 0 switches one off."""

    dropout_interval_s: NonNegativeFloat = 0.0
    """Mean time between two servos that go limp [s]."""
    dropout_s: PositiveFloat = 0.5
    """How long a servo stays limp [s]."""
    displacement_interval_s: NonNegativeFloat = 0.0
    """Mean time between two displacements of all joints [s]."""
    displacement: PositiveFloat = 0.1
    """Each joint is displaced by U(-displacement, displacement) [rad], within its range."""
    burst_interval_s: NonNegativeFloat = 0.0
    """Mean time between two bursts of noise [s]."""
    burst_s: PositiveFloat = 0.3
    """How long a burst lasts [s]."""
    burst_factor: PositiveFloat = 3.0
    """Factor on the sensors' noise in a burst."""

    def __post_init__(self) -> None:
        check(self)
        for name in ("dropout", "burst"):
            interval, duration = getattr(self, f"{name}_interval_s"), getattr(self, f"{name}_s")
            if 0.0 < interval <= duration:
                raise UserError(
                    f"faults.{name}_interval_s is {interval} s; allowed: 0, or more than "
                    f"faults.{name}_s, {duration} s"
                )

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return bool(
            self.dropout_interval_s or self.displacement_interval_s or self.burst_interval_s
        )


@dataclass(frozen=True)
class FaultState:
    """Faults of E robots at present."""

    limp_joint: Tensor
    """(E,) long: the servo that goes limp."""
    limp_steps: Tensor
    """(E,) long: control steps for which it stays limp."""
    burst_steps: Tensor
    """(E,) long: control steps for which a burst of noise lasts."""

    @classmethod
    def none(cls, num: int, device: torch.device) -> FaultState:
        """No fault in `num` robots."""
        zeros = torch.zeros(num, dtype=torch.long, device=device)
        return cls(zeros, zeros.clone(), zeros.clone())


def next_steps(
    remaining: Tensor, draw: Tensor, interval_s: float, duration_s: float, ctrl_dt: float
) -> tuple[Tensor, Tensor]:
    """Control steps (E,) that an event still lasts with this one, and where one begins (E,) bool.

    In each step without an event, one begins with the probability that makes the mean time between
    two beginnings `interval_s`; 0 for never.

    Args:
        remaining: (E,) long, of the last step, that step included.
        draw: (E,) random numbers in [0, 1).
        interval_s: mean time between two beginnings [s].
        duration_s: of an event [s].
        ctrl_dt: control step [s].
    """
    remaining = (remaining - 1).clamp(min=0)
    if interval_s == 0.0:
        return remaining, torch.zeros_like(draw, dtype=torch.bool)
    steps = max(1, round(duration_s / ctrl_dt))
    begins = (remaining == 0) & (draw < start_probability(interval_s, steps, ctrl_dt))
    return torch.where(begins, torch.full_like(remaining, steps), remaining), begins


def next_faults(
    state: FaultState, draws: Tensor, num_joints: int, config: FaultConfig, ctrl_dt: float
) -> tuple[FaultState, Tensor, Tensor, Tensor]:
    """Faults of this control step.

    Args:
        state: of the last step.
        draws: (E, 4) random numbers in [0, 1): limp, which servo, burst, displacement.
        num_joints: J.
        config: how often, how long.
        ctrl_dt: control step [s].

    Returns:
        The state, limp servos (E, J) bool, the factor on noise (E,), and where joints are displaced
        in this step (E,) bool.
    """
    limp_steps, begins = next_steps(
        state.limp_steps, draws[:, 0], config.dropout_interval_s, config.dropout_s, ctrl_dt
    )
    chosen = (draws[:, 1] * num_joints).long().clamp(max=num_joints - 1)
    limp_joint = torch.where(begins, chosen, state.limp_joint)
    burst_steps, _ = next_steps(
        state.burst_steps, draws[:, 2], config.burst_interval_s, config.burst_s, ctrl_dt
    )
    _, displaced = next_steps(
        torch.zeros_like(limp_steps), draws[:, 3], config.displacement_interval_s, ctrl_dt, ctrl_dt
    )
    joints = torch.arange(num_joints, device=draws.device)
    limp = (joints == limp_joint[:, None]) & (limp_steps > 0)[:, None]
    noise = 1.0 + (config.burst_factor - 1.0) * (burst_steps > 0)
    return FaultState(limp_joint, limp_steps, burst_steps), limp, noise, displaced
