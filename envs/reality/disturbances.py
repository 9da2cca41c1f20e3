"""Pushes: short horizontal forces on the root at random times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.settings import NonNegativeFloat, PositiveFloat, check


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Random pushes."""

    force_max: NonNegativeFloat = 0.0
    """Largest force [N]; 0 for no pushes. The size of a push is uniform between force_min and
    force_max, its direction uniform."""
    force_min: NonNegativeFloat = 0.0
    """Smallest force [N]."""
    duration_s: PositiveFloat = 0.12
    """How long a push lasts [s]."""
    interval_s: PositiveFloat = 4.0
    """Mean time between the starts of two pushes [s]."""

    def __post_init__(self) -> None:
        check(self)
        if self.force_min > self.force_max:
            raise UserError(
                f"push.force_min {self.force_min} N is above push.force_max {self.force_max} N"
            )
        if self.duration_s >= self.interval_s:
            raise UserError(
                f"push.duration_s is {self.duration_s} s; allowed: less than push.interval_s, "
                f"{self.interval_s} s"
            )


def push_force(
    force: Tensor, remaining: Tensor, draws: Tensor, config: PushConfig, ctrl_dt: float
) -> tuple[Tensor, Tensor]:
    """Horizontal force of this step and the number of steps it still acts.

    In each step without a push, one starts with the probability that makes the mean time between
    two starts `interval_s`.

    Args:
        force: (E, 2) force of the last step, world [N].
        remaining: (E,) steps the last push still acts, 0 for none.
        draws: (3, E) random numbers in [0, 1): start, direction, size.
        config: size and timing.
        ctrl_dt: control step [s].

    Returns:
        force (E, 2) world [N], zero where no push acts, and remaining (E,).
    """
    steps = max(1, round(config.duration_s / ctrl_dt))
    # A push of n steps, then on average 1 / p - 1 steps without one.
    probability = 1.0 / max(config.interval_s / ctrl_dt - steps + 1.0, 1.0)
    starts = (remaining <= 0) & (draws[0] < probability)
    angle = 2.0 * torch.pi * draws[1]
    size = config.force_min + (config.force_max - config.force_min) * draws[2]
    fresh = torch.stack([size * torch.cos(angle), size * torch.sin(angle)], dim=-1)
    remaining = torch.where(starts, torch.full_like(remaining, steps), remaining)
    acting = remaining > 0
    force = torch.where(starts[:, None], fresh, force) * acting[:, None]
    return force, (remaining - 1).clamp(min=0)
