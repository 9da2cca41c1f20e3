"""Velocity commands: sampled at a reset, resampled after a while."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from envs.errors import UserError
from envs.settings import ClosedUnitInterval, PositiveFloat, check


@dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """Commanded forward velocities."""

    velocity_min: float = 0.05
    """Lowest forward velocity [m/s]."""
    velocity_max: float = 0.6
    """Highest forward velocity [m/s]."""
    standing_probability: ClosedUnitInterval = 0.1
    """Share of samples that command standing (0 m/s) instead."""
    resample_s: PositiveFloat = 5.0
    """Time after which a new velocity is sampled [s]; longer than the episode: never."""

    def __post_init__(self) -> None:
        check(self)
        if self.velocity_max < self.velocity_min:
            raise UserError(
                f"command.velocity_max {self.velocity_max} m/s is below "
                f"command.velocity_min {self.velocity_min} m/s"
            )


def sample_velocity(draws: Tensor, config: CommandConfig) -> Tensor:
    """Forward velocities (E,) [m/s], uniform in their range, some of them 0.

    Args:
        draws: (2, E) random numbers in [0, 1): for the velocity, for standing.
        config: range and share.
    """
    velocity = config.velocity_min + draws[0] * (config.velocity_max - config.velocity_min)
    standing = draws[1] < config.standing_probability
    return velocity.masked_fill(standing, 0.0)
