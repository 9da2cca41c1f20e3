"""Tests of envs.task.terminations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.locomotion import LocomotionConfig, LocomotionEnv
from envs.task.terminations import TerminationConfig, fallen


def test_each_limit_ends_the_episode() -> None:
    env = LocomotionEnv(LocomotionConfig(), 1)
    env.reset()
    m, config = env.measure(), TerminationConfig()
    assert not fallen(m, config)
    for change in (
        {"height": torch.tensor([0.29])},
        {"height": torch.tensor([0.71])},
        {"roll": torch.tensor([-0.81])},
        {"pitch": torch.tensor([0.81])},
    ):
        assert fallen(replace(m, **change), config), change
    at_the_limit = replace(m, roll=torch.tensor([0.79]), height=torch.tensor([0.31]))
    assert not fallen(at_the_limit, config)


def test_refuses_limits_that_cross() -> None:
    with pytest.raises(ValueError, match="min_height"):
        TerminationConfig(min_height=0.7, max_height=0.3)
    with pytest.raises(ValueError, match="max_tilt"):
        TerminationConfig(max_tilt=0.0)
