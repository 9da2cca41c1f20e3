"""Tests of envs.task.terminations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.config import LocomotionConfig, TerminationConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.robot.spec import RobotSpec
from envs.task.terminations import has_fallen, termination, terminations_met


@pytest.fixture(scope="module")
def standing() -> Measurements:
    env = LocomotionEnv(LocomotionConfig(), 1)
    env.reset()
    return env.measure()


def test_each_limit_ends_the_episode(standing: Measurements, robot: RobotSpec) -> None:
    config = TerminationConfig()
    assert not has_fallen(standing, robot, config)
    for name, change in (
        ("min_height", {"height": torch.tensor([0.29])}),
        ("max_height", {"height": torch.tensor([0.71])}),
        ("max_tilt", {"roll": torch.tensor([-0.81])}),
        ("max_tilt", {"pitch": torch.tensor([0.81])}),
    ):
        m = replace(standing, **change)
        assert has_fallen(m, robot, config), change
        met = {key for key, value in terminations_met(m, robot, config).items() if value}
        assert met == {name}
    within = replace(standing, roll=torch.tensor([0.79]), height=torch.tensor([0.31]))
    assert not has_fallen(within, robot, config)


def test_a_limit_of_none_ends_nothing(standing: Measurements, robot: RobotSpec) -> None:
    low = replace(standing, height=torch.tensor([0.1]))
    assert not has_fallen(low, robot, TerminationConfig(min_height=None))
    unlimited = TerminationConfig(min_height=None, max_height=None, max_tilt=None)
    assert not has_fallen(low, robot, unlimited).any()


def test_refuses_limits_that_cannot_work() -> None:
    with pytest.raises(UserError, match=r"min_height .* is not below"):
        LocomotionConfig(termination=TerminationConfig(min_height=0.7, max_height=0.3))
    with pytest.raises(UserError, match="max_tilt"):
        TerminationConfig(max_tilt=0.0)


def test_a_name_stands_for_one_termination() -> None:
    with pytest.raises(ValueError, match="'max_tilt'"):

        @termination()
        def max_tilt(m: Measurements, robot: RobotSpec, limit: float) -> torch.Tensor:
            return m.roll > limit
