"""Tests of wildrobot_torch/evaluation/ladder.py."""

from __future__ import annotations

import math

import pytest
import torch

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.ladder import LadderConfig, climb, one_step_limit, rungs


def test_climbing_finds_each_robots_limit() -> None:
    """Five halvings of 0 to 4 N s leave 0.125 N s; a robot that always succeeds reaches the top."""
    limits = torch.tensor([0.0, 0.3, 1.7, 3.1, 9.0])
    found = climb(lambda impulse: impulse <= limits, 5, LadderConfig(largest=4.0, rounds=5))
    assert ((found <= limits) & (limits.clamp(max=4.0) - found <= 0.125 + 1e-6)).all()
    assert found.tolist()[0] == 0.0


def test_one_step_limits_of_this_robot(robot: RobotSpec) -> None:
    """By hand for the centre of mass at 0.309 m: w = 5.634 /s, exp(-0.3 w) = 0.1845.

    Ahead: 3.302 x 5.634 x (0.09 + 0.1845 x 0.27) = 2.60 N s, of which 1.67 without the step.
    """
    config = LadderConfig(largest=4.0, reach_ahead=0.27)
    rate = math.sqrt(9.81 / 0.309)
    shrink = math.exp(-0.3 * rate)
    ahead = robot.mass * rate * (robot.leg.toe + shrink * 0.27)
    assert one_step_limit(0.0, 0.309, robot, config) == pytest.approx(ahead, rel=1e-4)
    assert ahead == pytest.approx(2.6, abs=0.05)
    back = one_step_limit(math.pi, 0.309, robot, config)
    aside = one_step_limit(math.pi / 2, 0.309, robot, config)
    assert back < ahead < aside  # the heel is nearer than the toe, and the feet are wide apart
    between = one_step_limit(math.pi / 4, 0.309, robot, config)
    assert 1 / between**2 == pytest.approx((1 / ahead**2 + 1 / aside**2) / 2, rel=1e-4)


def test_rungs_are_by_direction(robot: RobotSpec) -> None:
    survived = torch.tensor([1.0, 2.0, 3.0, 4.0])
    direction = torch.tensor([0.0, 1.5, 0.0, 1.5])
    found = rungs(survived, direction, 0.309, robot, LadderConfig(largest=4.0))
    assert [rung.survived for rung in found] == [(1.0, 3.0), (2.0, 4.0)]
    assert found[0].momentum == pytest.approx(3.302 * math.sqrt(9.81 * 0.309), rel=1e-3)


def test_a_ladder_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="rounds"):
        LadderConfig(largest=1.0, rounds=0)
