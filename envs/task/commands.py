"""Velocity commands: sampled at a reset, resampled after a while.

A command is (3,): forward [m/s], to the left [m/s], turning to the left [rad/s], all seen from the
robot's heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.settings import ClosedUnitInterval, NonNegativeFloat, PositiveFloat, check
from envs.shares import Shares

FORWARD, LATERAL, YAW = 0, 1, 2
"""Columns of a command."""


@dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """Commanded velocities."""

    velocity_min: float = 0.05
    """Lowest forward velocity [m/s]."""
    velocity_max: float = 0.6
    """Highest forward velocity [m/s]."""
    lateral_max: NonNegativeFloat = 0.0
    """Highest velocity to either side [m/s]; 0: none is commanded."""
    yaw_rate_max: NonNegativeFloat = 0.0
    """Highest yaw rate to either side [rad/s]; 0: none is commanded."""
    standing_probability: ClosedUnitInterval = 0.1
    """Share of samples that command standing (exactly 0) instead."""
    turning_probability: ClosedUnitInterval = 0.0
    """Share of samples that command turning in place: a yaw rate alone."""
    heading_hold: bool = True
    """Whether there is a heading to hold: that of the start, turned by the commanded yaw rate. If
    not, the heading error is always 0."""
    resample_s: PositiveFloat = 5.0
    """Time after which a new velocity is sampled [s]; longer than the episode: never."""

    def __post_init__(self) -> None:
        check(self)
        if self.velocity_max < self.velocity_min:
            raise UserError(
                f"command.velocity_max {self.velocity_max} m/s is below "
                f"command.velocity_min {self.velocity_min} m/s"
            )
        if self.turning_probability and not self.yaw_rate_max:
            raise UserError(
                f"command.turning_probability is {self.turning_probability} with yaw_rate_max 0, "
                "which turns nobody; raise command.yaw_rate_max, or leave it out"
            )
        if self.standing_probability + self.turning_probability > 1.0:
            raise UserError(
                f"command.standing_probability {self.standing_probability} and turning_probability "
                f"{self.turning_probability} are more than 1 together; lower one"
            )

    @property
    def num_draws(self) -> int:
        """Random numbers for a command; two where it is a forward velocity alone."""
        return 4 if self.lateral_max or self.yaw_rate_max else 2


def sample_command(draws: Tensor, config: CommandConfig, shares: Shares | None = None) -> Tensor:
    """Commands (E, 3), uniform in their ranges; some stand still, some turn in place.

    Args:
        draws: (`num_draws`, E) random numbers in [0, 1): for the forward velocity, for what is
            commanded, and for lateral velocity and yaw rate.
        config: ranges and shares of what is commanded.
        shares: of the ranges; None for the whole of them.
    """
    velocity = config.velocity_min + draws[0] * (config.velocity_max - config.velocity_min)
    if shares is not None:
        middle = (config.velocity_min + config.velocity_max) / 2.0
        velocity = middle + shares.velocity * (velocity - middle)
    standing = draws[1] < config.standing_probability
    if config.num_draws == 2:
        return as_command(velocity.masked_fill(standing, 0.0))
    halted = draws[1] < config.standing_probability + config.turning_probability
    lateral = config.lateral_max * (2.0 * draws[2] - 1.0)
    yaw_rate = config.yaw_rate_max * (2.0 * draws[3] - 1.0)
    if shares is not None:
        lateral, yaw_rate = shares.lateral * lateral, shares.yaw_rate * yaw_rate
    return torch.stack(
        [
            velocity.masked_fill(halted, 0.0),
            lateral.masked_fill(halted, 0.0),
            yaw_rate.masked_fill(standing, 0.0),
        ],
        dim=-1,
    )


def as_command(velocity: Tensor) -> Tensor:
    """Commands (..., 3) with no lateral velocity or yaw rate, for forward velocities (...)."""
    return torch.nn.functional.pad(velocity[..., None], (0, 2))
