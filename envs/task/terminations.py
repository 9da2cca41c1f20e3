"""When and why an episode ends: a registry of named functions with a limit and a cause each.

A new one is a function here with `termination`, and a line in a config:
`termination: {its_name: its limit}`. docs/adding.md shows an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from envs.measurements import Measurements
from envs.robot.spec import RobotSpec

if TYPE_CHECKING:
    from envs.config import TerminationConfig

Cause = Literal["height", "pitch", "roll", "contact"]
"""Kinds of terminations: the root's height, its pitch or roll, a force between foot and floor."""

FALLS = ("physics", "pitch", "roll", "height", "contact")
"""Causes of a fall: a simulation that failed, and those of the terminations. Where several hold in
a step, the first counts."""
ENDS = (*FALLS, "time")
"""Causes of an episode's end; time: its time was up."""

TerminationFunction = Callable[[Measurements, RobotSpec, float], Tensor]


@dataclass(frozen=True)
class Termination:
    """One reason for an end."""

    function: TerminationFunction
    """(E,) bool: measurements of E robots are beyond the limit."""
    cause: Cause
    """What an end by it is counted as."""
    limit: float | None
    """Its limit unless a config sets one; None: it ends nothing."""


TERMINATIONS: dict[str, Termination] = {}
"""Name -> reason."""


def termination(
    cause: Cause, limit: float | None = None
) -> Callable[[TerminationFunction], TerminationFunction]:
    """Register a function as the termination of its name.

    The function must not read a tensor's value on the host: it is recorded as a CUDA graph.

    Args:
        cause: what an end by it is counted as.
        limit: its limit unless a config sets one; None: it ends nothing.
    """

    def register(function: TerminationFunction) -> TerminationFunction:
        if function.__name__ in TERMINATIONS:
            raise ValueError(f"there is a termination {function.__name__!r} already")
        TERMINATIONS[function.__name__] = Termination(function, cause, limit)
        return function

    return register


@termination("height", limit=0.30)
def min_height(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Lowest root height [m]."""
    return m.height < limit


@termination("height", limit=0.70)
def max_height(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Highest root height [m]."""
    return m.height > limit


@termination("roll", limit=0.8)
def max_roll(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Largest roll [rad]."""
    return m.roll.abs() > limit


@termination("pitch", limit=0.8)
def max_pitch(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Largest pitch [rad]."""
    return m.pitch.abs() > limit


@termination("contact")
def max_foot_force(m: Measurements, robot: RobotSpec, limit: float) -> Tensor:
    """Largest force between a foot and the floor [m g]."""
    return (m.foot_force > limit * robot.weight).any(-1)


def terminations_met(
    m: Measurements, robot: RobotSpec, config: TerminationConfig
) -> dict[str, Tensor]:
    """Name of each termination with a limit -> where the limit is exceeded (E,) bool."""
    return {
        name: TERMINATIONS[name].function(m, robot, limit)
        for name, limit in vars(config).items()
        if limit is not None
    }


def fall_causes(
    m: Measurements, failed: Tensor, robot: RobotSpec, config: TerminationConfig
) -> Tensor:
    """(E, 5) bool: which of `FALLS` each robot fell by; at most one of them.

    Args:
        m: measurements of E robots.
        failed: (E,) bool, their simulation failed.
        robot: the robot.
        config: the limits.
    """
    met = {cause: torch.zeros_like(failed) for cause in FALLS} | {"physics": failed}
    for name, exceeded in terminations_met(m, robot, config).items():
        cause = TERMINATIONS[name].cause
        met[cause] = met[cause] | exceeded
    causes = torch.stack([met[cause] for cause in FALLS], dim=-1)
    return causes & (causes.cumsum(-1) == 1)
