"""When an episode ends for a physical reason: a registry of named functions with a limit each.

A new one is a function here with `termination`, and a line in a config:
`termination: {its_name: its limit}`. docs/adding.md shows an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.measurements import Measurements
from envs.robot.spec import RobotSpec

if TYPE_CHECKING:
    from envs.config import TerminationConfig

TerminationFunction = Callable[[Measurements, RobotSpec, float], Tensor]


@dataclass(frozen=True)
class Termination:
    """One reason for an end."""

    function: TerminationFunction
    """(E,) bool: measurements of E robots are beyond the limit."""
    limit: float | None
    """Its limit unless a config sets one; None: it ends nothing."""


TERMINATIONS: dict[str, Termination] = {}
"""Name -> reason."""


def termination(
    limit: float | None = None,
) -> Callable[[TerminationFunction], TerminationFunction]:
    """Register a function as the termination of its name.

    The function must not read a tensor's value on the host: it is recorded as a CUDA graph.

    Args:
        limit: its limit unless a config sets one; None: it ends nothing.
    """

    def register(function: TerminationFunction) -> TerminationFunction:
        if function.__name__ in TERMINATIONS:
            raise ValueError(f"there is a termination {function.__name__!r} already")
        TERMINATIONS[function.__name__] = Termination(function, limit)
        return function

    return register


@termination(limit=0.30)
def min_height(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Lowest root height [m]."""
    return m.height < limit


@termination(limit=0.70)
def max_height(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Highest root height [m]."""
    return m.height > limit


@termination(limit=0.8)
def max_tilt(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Largest roll or pitch [rad]."""
    return (m.roll.abs() > limit) | (m.pitch.abs() > limit)


def terminations_met(
    m: Measurements, robot: RobotSpec, config: TerminationConfig
) -> dict[str, Tensor]:
    """Name of each termination with a limit -> where the limit is exceeded (E,) bool."""
    return {
        name: TERMINATIONS[name].function(m, robot, limit)
        for name, limit in vars(config).items()
        if limit is not None
    }


def has_fallen(m: Measurements, robot: RobotSpec, config: TerminationConfig) -> Tensor:
    """(E,) bool: any termination's limit is exceeded."""
    nowhere = torch.zeros_like(m.height, dtype=torch.bool)
    return reduce(torch.logical_or, terminations_met(m, robot, config).values(), nowhere)
