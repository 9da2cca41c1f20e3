"""Pushes: short horizontal forces on a body, at random times or at given ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.settings import NonNegativeFloat, PositiveFloat, check


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Random pushes."""

    impulse_max: NonNegativeFloat = 0.0
    """Largest impulse [N s]; 0 for no pushes. That of a push is uniform between impulse_min and
    impulse_max; its force is impulse / duration."""
    impulse_min: NonNegativeFloat = 0.0
    """Smallest impulse [N s]."""
    duration_s: PositiveFloat = 0.12
    """How long a push lasts [s], in whole control steps."""
    interval_s: PositiveFloat = 4.0
    """Mean time between the starts of two pushes [s]."""
    direction: float | None = None
    """Where a push goes [rad], from the robot's heading at its start: 0 forwards, pi / 2 to its
    left; null for any direction."""
    body: str | None = None
    """Body at whose centre of mass it acts; null for the root."""

    def __post_init__(self) -> None:
        check(self)
        if self.impulse_min > self.impulse_max:
            raise UserError(
                f"push.impulse_min {self.impulse_min} N s is above push.impulse_max "
                f"{self.impulse_max} N s"
            )
        if self.duration_s >= self.interval_s:
            raise UserError(
                f"push.duration_s is {self.duration_s} s; allowed: less than push.interval_s, "
                f"{self.interval_s} s"
            )
        if self.direction is not None and not abs(self.direction) <= math.tau:
            raise UserError(
                f"push.direction is {self.direction} rad; allowed: -{math.tau:.4f} to "
                f"{math.tau:.4f}, or null for any"
            )


@dataclass(frozen=True)
class Schedule:
    """When disturbances of E robots begin, in place of random times."""

    steps: Tensor
    """(E, N) long: control steps of an episode in which pushes and passing faults begin."""
    impulse: Tensor
    """(E,) [N s]: of the pushes, between the task's impulse_min and impulse_max."""
    direction: Tensor
    """(E,) [rad]: where they go, from the robot's heading; where the task leaves it open."""

    def to(self, device: torch.device | str) -> Schedule:
        """The same schedule on another device."""
        return Schedule(*(part.to(device) for part in vars(self).values()))

    def begins(self, steps: Tensor) -> Tensor:
        """(E,) bool: whether disturbances begin in the step after `steps` (E,) long."""
        return (self.steps == steps[:, None]).any(-1)

    def push_draws(self, begins: Tensor, heading: Tensor, config: PushConfig) -> Tensor:
        """What `push_force` takes for random numbers (3, E), at robots' present headings (E,)."""
        start = (~begins).to(heading)  # 0 is below any probability, 1 below none
        turn = torch.remainder((heading + self.direction) / (2.0 * torch.pi), 1.0)
        range_ = config.impulse_max - config.impulse_min
        size = (self.impulse - config.impulse_min) / range_ if range_ else torch.zeros_like(start)
        return torch.stack([start, turn, size])


def start_probability(interval_s: float, steps: int, ctrl_dt: float) -> float:
    """Probability that an event starts in a control step without one.

    It makes the mean time between two starts `interval_s` [s]; an event lasts `steps` control steps
    of `ctrl_dt` [s].
    """
    # An event of n steps, then on average 1 / p - 1 steps without one.
    return 1.0 / max(interval_s / ctrl_dt - steps + 1.0, 1.0)


def push_force(
    force: Tensor,
    remaining: Tensor,
    draws: Tensor,
    heading: Tensor,
    config: PushConfig,
    ctrl_dt: float,
) -> tuple[Tensor, Tensor]:
    """Horizontal force of this step and the number of steps it still acts.

    In each step without a push, one starts with the probability that makes the mean time between
    two starts `interval_s`.

    Args:
        force: (E, 2) force of the last step, world [N].
        remaining: (E,) steps the last push still acts, 0 for none.
        draws: (3, E) random numbers in [0, 1): start, direction, size.
        heading: (E,) [rad], the robots' present yaw.
        config: size, direction and timing.
        ctrl_dt: control step [s].

    Returns:
        force (E, 2) world [N], zero where no push acts, and remaining (E,).
    """
    steps = max(1, round(config.duration_s / ctrl_dt))
    probability = start_probability(config.interval_s, steps, ctrl_dt)
    starts = (remaining <= 0) & (draws[0] < probability)
    angle = 2.0 * torch.pi * draws[1] if config.direction is None else heading + config.direction
    # Over whole control steps, so that the impulse is the one asked for.
    least, most = (x / (steps * ctrl_dt) for x in (config.impulse_min, config.impulse_max))
    size = least + (most - least) * draws[2]
    fresh = torch.stack([size * torch.cos(angle), size * torch.sin(angle)], dim=-1)
    remaining = torch.where(starts, torch.full_like(remaining, steps), remaining)
    acting = remaining > 0
    force = torch.where(starts[:, None], fresh, force) * acting[:, None]
    return force, (remaining - 1).clamp(min=0)
