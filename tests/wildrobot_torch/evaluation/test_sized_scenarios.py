"""Scenarios for robots of another size: speeds by Froude number, impulses by mass, too."""

from __future__ import annotations

import pytest

from envs.config import LocomotionConfig
from envs.robot.model import load_robot
from envs.sizing import sized
from envs.tasks import task_for
from wildrobot_torch.evaluation.scenarios import load_scenario
from wildrobot_torch.evaluation.suites import load_suite

SPEED = (0.2 / 0.434888) ** 0.5
"""Of biped12 over that of the WildRobot at one Froude number, by its leg of 0.2 m."""


def test_speeds_and_limits_by_froude_number() -> None:
    robot, told = load_robot("biped12").robot, load_scenario("walking")
    small = told.for_robot(robot)
    assert small.commands == pytest.approx([SPEED * v for v in told.commands], abs=1e-3)
    limits = (small.limits["velocity_error_1s"].max, told.limits["velocity_error_1s"].max)
    assert limits[0] == pytest.approx(SPEED * limits[1], rel=1e-3)
    assert small.limits["fall_rate"] == told.limits["fall_rate"]
    assert small.for_robot(robot) is small
    assert told.for_robot(load_robot().robot) is told


@pytest.mark.parametrize("first", [False, True])
def test_pushes_are_sized_once(first: bool) -> None:
    """Whether the scenario or the environment does it, with a policy's own sized task."""
    robot, scenario = load_robot("biped12").robot, load_scenario("quick_robot")
    impulse = scenario.push_impulse
    assert impulse is not None
    scenario = scenario.for_robot(robot) if first else scenario
    task = sized(scenario.task(task_for(LocomotionConfig(), "biped12")), robot)
    assert task.push.impulse_max == pytest.approx(impulse * 1.2 / 3.302246 * SPEED, rel=1e-3)
    assert task.command.velocity_max == pytest.approx(0.6 * SPEED, rel=1e-3)


def test_suites_too() -> None:
    robot, suite = load_robot("biped12").robot, load_suite("quick")
    for entry in suite.entries:
        small = entry.for_robot(robot)
        assert small.scenario.is_sized
        if entry.ladder is not None and small.ladder is not None:
            factor = 1.2 / 3.302246 * SPEED
            assert small.ladder.largest == pytest.approx(entry.ladder.largest * factor, rel=1e-3)
