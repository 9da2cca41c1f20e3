"""The push ladder: the largest impulse that a robot recovers from, by direction and phase."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.robot.spec import RobotSpec
from envs.settings import PositiveFloat, PositiveInt, check


@dataclass(frozen=True, kw_only=True)
class LadderConfig:
    """How the largest impulse is searched, and the steps that its limit is computed for."""

    largest: PositiveFloat
    """Highest rung [N s]; the lowest is 0."""
    rounds: PositiveInt = 5
    """Halvings of the range between them."""
    swing_s: PositiveFloat = 0.3
    """Duration of the one step [s]."""
    reach_ahead: PositiveFloat = 0.27
    """Length of the step ahead [m]."""
    reach_back: PositiveFloat = 0.1
    """Length of the step back [m]."""
    reach_aside: PositiveFloat = 0.2
    """Length of the step to a side [m]."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Rung:
    """What was found in one direction, over the phases of the stride."""

    direction: float
    """[rad] from the heading: 0 forwards, pi / 2 to the left."""
    survived: tuple[float, ...]
    """Largest impulse recovered from [N s], one of each phase."""
    momentum: float
    """m sqrt(g z) [N s], z the height of the centre of mass: what makes robots comparable."""
    one_step: float
    """One-step capture limit of the direction [N s]."""


def climb(succeeds: Callable[[Tensor], Tensor], num: int, config: LadderConfig) -> Tensor:
    """Largest impulse (E,) [N s] that succeeded, by bisection in all episodes at once.

    Args:
        succeeds: from impulses (E,) to the success (E,) bool of episodes with these.
        num: E.
        config: highest rung and number of rounds.
    """
    low, high = torch.zeros(num), torch.full((num,), config.largest)
    for _ in range(config.rounds):
        middle = (low + high) / 2.0
        won = succeeds(middle)
        low, high = torch.where(won, middle, low), torch.where(won, high, middle)
    return low


def one_step_limit(direction: float, com_height: float, robot: RobotSpec, c: LadderConfig) -> float:
    """Largest impulse [N s] that a standing robot can capture with one step.

    With the pendulum's rate w = sqrt(g / z) the capture point is m w x ahead for an impulse x. The
    pressure goes to the sole's edge, d away, at once; a step of length l takes the time T. So the
    limit is m w (d + l exp(-w T)), after Koolen et al. 2012 (Int. J. Robotics Research 31(9),
    1094-1113). The centre of mass counts as above the ankles. Between the axes of the robot the
    limits lie on ellipses.
    """
    leg, rate = robot.leg, math.sqrt(robot.gravity / com_height)
    shrink = math.exp(-rate * c.swing_s)
    ahead = math.cos(direction) >= 0.0
    along = (leg.toe if ahead else -leg.heel) + shrink * (c.reach_ahead if ahead else c.reach_back)
    aside = leg.leg_y + leg.sole_width / 2.0 + shrink * c.reach_aside
    inverse = math.hypot(math.cos(direction) / along, math.sin(direction) / aside)
    return robot.mass * rate / inverse


def rungs(
    survived: Tensor, direction: Tensor, com_height: float, robot: RobotSpec, config: LadderConfig
) -> list[Rung]:
    """What was found, by direction: impulses (E,) [N s] survived in directions (E,) [rad]."""
    momentum = robot.mass * math.sqrt(robot.gravity * com_height)
    return [
        Rung(
            angle,
            tuple(survived[direction == angle].tolist()),
            momentum,
            one_step_limit(angle, com_height, robot, config),
        )
        for angle in dict.fromkeys(direction.tolist())
    ]
