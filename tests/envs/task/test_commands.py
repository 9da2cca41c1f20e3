"""Tests of envs.task.commands."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from envs.task.commands import CommandConfig, sample_velocity


def test_draws_cover_the_range_and_the_standing_share() -> None:
    config = CommandConfig(velocity_min=0.2, velocity_max=0.6, standing_probability=0.25)
    drawn = sample_velocity(torch.rand(2, 20000), config)
    standing = drawn == 0.0
    assert standing.float().mean().item() == pytest.approx(0.25, abs=0.02)
    moving = drawn[~standing]
    assert 0.2 <= moving.min() < 0.21 and 0.59 < moving.max() <= 0.6
    assert moving.mean().item() == pytest.approx(0.4, abs=0.01)


def test_draws_mean_places_in_the_range() -> None:
    config = CommandConfig(velocity_min=0.2, velocity_max=0.6, standing_probability=0.25)
    draws = torch.tensor([[0.0, 0.5, 0.5], [0.25, 0.25, 0.24]])
    assert sample_velocity(draws, config).tolist() == pytest.approx([0.2, 0.4, 0.0])


@pytest.mark.parametrize(
    "bad",
    [
        {"velocity_min": 0.5, "velocity_max": 0.1},
        {"standing_probability": 1.5},
        {"resample_s": 0.0},
    ],
)
def test_refuses_settings_that_cannot_work(bad: dict) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        CommandConfig(**bad)
