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
from envs.task.terminations import FALLS, fall_causes, termination, terminations_met


@pytest.fixture(scope="module")
def standing() -> Measurements:
    env = LocomotionEnv(LocomotionConfig(), 1)
    env.reset()
    return env.measure()


def causes(m: Measurements, robot: RobotSpec, config: TerminationConfig) -> list[str]:
    """Why one robot falls."""
    (found,) = fall_causes(m, torch.tensor([False]), robot, config).tolist()
    return [cause for cause, here in zip(FALLS, found, strict=True) if here]


def test_each_limit_ends_the_episode_for_its_cause(
    standing: Measurements, robot: RobotSpec
) -> None:
    config = TerminationConfig(max_foot_force=3.0)
    assert causes(standing, robot, config) == []
    for name, cause, change in (
        ("min_height", "height", {"height": torch.tensor([0.29])}),
        ("max_height", "height", {"height": torch.tensor([0.71])}),
        ("max_roll", "roll", {"roll": torch.tensor([-0.81])}),
        ("max_pitch", "pitch", {"pitch": torch.tensor([0.81])}),
        ("max_foot_force", "contact", {"foot_force": robot.weight * torch.tensor([[0.5, 3.1]])}),
    ):
        m = replace(standing, **change)
        assert causes(m, robot, config) == [cause]
        met = {key for key, value in terminations_met(m, robot, config).items() if value}
        assert met == {name}
    within = replace(standing, roll=torch.tensor([0.79]), height=torch.tensor([0.31]),
                     foot_force=robot.weight * torch.tensor([[2.9, 2.9]]))  # fmt: skip
    assert causes(within, robot, config) == []


def test_of_several_causes_the_first_counts(standing: Measurements, robot: RobotSpec) -> None:
    both = replace(standing, height=torch.tensor([0.1]), pitch=torch.tensor([1.2]))
    assert causes(both, robot, TerminationConfig()) == ["pitch"]
    failed = fall_causes(both, torch.tensor([True]), robot, TerminationConfig())
    assert failed.tolist() == [[cause == "physics" for cause in FALLS]]


def test_a_limit_of_none_ends_nothing(standing: Measurements, robot: RobotSpec) -> None:
    low = replace(standing, height=torch.tensor([0.1]))
    assert causes(low, robot, TerminationConfig(min_height=None)) == []
    unlimited = TerminationConfig(min_height=None, max_height=None, max_roll=None, max_pitch=None)
    assert causes(low, robot, unlimited) == []
    hard = replace(standing, foot_force=robot.weight * torch.tensor([[0.0, 50.0]]))
    assert causes(hard, robot, TerminationConfig()) == []  # off by default


def test_refuses_limits_that_cannot_work() -> None:
    with pytest.raises(UserError, match=r"min_height .* is not below"):
        LocomotionConfig(termination=TerminationConfig(min_height=0.7, max_height=0.3))
    with pytest.raises(UserError, match="max_roll"):
        TerminationConfig(max_roll=0.0)


def test_a_name_stands_for_one_termination() -> None:
    with pytest.raises(ValueError, match="'max_roll'"):

        @termination("roll")
        def max_roll(m: Measurements, robot: RobotSpec, limit: float) -> torch.Tensor:
            return m.roll > limit
