"""Pushes: short horizontal forces on the root at random times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Random pushes."""

    force_max: float = 0.0
    """Largest force [N]; each push draws its size from U(force_min, force_max), its direction
    uniformly; 0 for no pushes."""
    force_min: float = 0.0
    """Smallest force [N]."""
    duration_s: float = 0.12
    """How long a push lasts [s]."""
    interval_s: float = 4.0
    """Mean time between the starts of two pushes [s]."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.force_min <= self.force_max:
            raise ValueError(
                f"push.force_min {self.force_min} N and push.force_max {self.force_max} N: neither "
                "may be negative, nor the smallest above the largest"
            )
        if not 0.0 < self.duration_s < self.interval_s:
            raise ValueError(
                f"push.duration_s is {self.duration_s} s; allowed: between 0 and "
                f"push.interval_s {self.interval_s} s"
            )


def push_force(
    force: Tensor, remaining: Tensor, draws: Tensor, config: PushConfig, ctrl_dt: float
) -> tuple[Tensor, Tensor]:
    """Horizontal force of this step and the steps it goes on for.

    In each step in which none acts, a push starts with the probability that makes the mean time
    between two starts `interval_s`.

    Args:
        force: (E, 2) force of the last step, world [N].
        remaining: (E,) steps the last push still acts, 0 for none.
        draws: (3, E) random numbers in [0, 1): for the start, the direction, the size.
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
