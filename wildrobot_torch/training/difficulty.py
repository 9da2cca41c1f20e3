"""A curriculum of faults: ranges and pushes grow while robots cope, and shrink when they fall."""

from __future__ import annotations

from dataclasses import dataclass

from envs.errors import UserError
from envs.settings import ClosedUnitInterval, PositiveFloat, check


@dataclass(frozen=True, kw_only=True)
class DifficultyConfig:
    """How the difficulty follows the share of episodes that end without a fall.

    The difficulty is the share of every randomisation range and push that is drawn: 0 is the robot
    of the description, 1 the whole range. Between `lower_below` and `raise_above` it stays.
    """

    start: ClosedUnitInterval = 0.0
    """Difficulty at the start."""
    step: PositiveFloat = 0.02
    """Change in an iteration."""
    raise_above: ClosedUnitInterval = 0.8
    """Share of episodes without a fall above which the difficulty rises."""
    lower_below: ClosedUnitInterval = 0.6
    """Share of episodes without a fall below which the difficulty falls."""

    def __post_init__(self) -> None:
        check(self)
        if self.lower_below > self.raise_above:
            raise UserError(
                f"difficulty.lower_below {self.lower_below} is above difficulty.raise_above "
                f"{self.raise_above}"
            )

    def next(self, difficulty: float, fall_rate: float) -> float:
        """Difficulty after an iteration whose episodes ended in a fall with `fall_rate`."""
        success = 1.0 - fall_rate
        if success > self.raise_above:
            return min(difficulty + self.step, 1.0)
        if success < self.lower_below:
            return max(difficulty - self.step, 0.0)
        return difficulty
