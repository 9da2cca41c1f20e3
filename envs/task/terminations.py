"""When an episode ends for a physical reason."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from envs.measurements import Measurements


@dataclass(frozen=True, kw_only=True)
class TerminationConfig:
    """Limits beyond which a robot counts as fallen."""

    min_height: float = 0.30
    """Lowest root height [m]."""
    max_height: float = 0.70
    """Highest root height [m]."""
    max_tilt: float = 0.8
    """Largest roll or pitch [rad]."""

    def __post_init__(self) -> None:
        if not self.min_height < self.max_height:
            raise ValueError(
                f"termination.min_height {self.min_height} m is not below "
                f"termination.max_height {self.max_height} m"
            )
        if self.max_tilt <= 0.0:
            raise ValueError(f"termination.max_tilt is {self.max_tilt} rad; it must be positive")


def fallen(m: Measurements, config: TerminationConfig) -> Tensor:
    """(E,) bool: the robot is too low, too high or tilted too far."""
    return (
        (m.height < config.min_height)
        | (m.height > config.max_height)
        | (m.roll.abs() > config.max_tilt)
        | (m.pitch.abs() > config.max_tilt)
    )
