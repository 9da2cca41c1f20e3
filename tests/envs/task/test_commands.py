"""Tests of envs.task.commands."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from envs.task.commands import CommandConfig, as_command, sample_command
from tests.tasks import shares


def test_draws_cover_the_range_and_the_standing_share() -> None:
    config = CommandConfig(velocity_min=0.2, velocity_max=0.6, standing_probability=0.25)
    drawn = sample_command(torch.rand(2, 20000), config)
    assert not drawn[:, 1:].any()
    standing = drawn[:, 0] == 0.0
    assert standing.float().mean().item() == pytest.approx(0.25, abs=0.02)
    moving = drawn[~standing, 0]
    assert 0.2 <= moving.min() < 0.21 and 0.59 < moving.max() <= 0.6
    assert moving.mean().item() == pytest.approx(0.4, abs=0.01)


def test_draws_mean_places_in_the_range() -> None:
    config = CommandConfig(velocity_min=0.2, velocity_max=0.6, standing_probability=0.25)
    draws = torch.tensor([[0.0, 0.5, 0.5], [0.25, 0.25, 0.24]])
    assert sample_command(draws, config)[:, 0].tolist() == pytest.approx([0.2, 0.4, 0.0])


def test_lateral_velocities_and_yaw_rates_are_drawn_to_both_sides() -> None:
    """Below 0.2 a robot stands, from there to 0.5 it turns in place, above it does everything."""
    config = CommandConfig(
        velocity_min=0.2, velocity_max=0.6, standing_probability=0.2, turning_probability=0.3,
        lateral_max=0.2, yaw_rate_max=0.5,
    )  # fmt: skip
    assert config.num_draws == 4
    bucket = torch.tensor([0.19, 0.21, 0.49, 0.51])
    draws = torch.stack(
        [torch.full((4,), 0.5), bucket, torch.full((4,), 0.75), torch.tensor([0.0, 0.0, 1.0, 0.25])]
    )
    expected = [[0.0, 0.0, 0.0], [0.0, 0.0, -0.5], [0.0, 0.0, 0.5], [0.4, 0.1, -0.25]]
    torch.testing.assert_close(sample_command(draws, config), torch.tensor(expected))


def test_a_share_of_the_ranges_is_drawn() -> None:
    """0.5 m/s is 0.1 above the middle of 0.2 to 0.6, of which a half stays."""
    config = CommandConfig(
        velocity_min=0.2, velocity_max=0.6, standing_probability=0.1, lateral_max=0.2,
        yaw_rate_max=0.5,
    )  # fmt: skip
    draws = torch.tensor([[0.75, 0.75], [0.5, 0.0], [1.0, 1.0], [0.0, 0.0]])
    expected = torch.tensor([[0.45, 0.2 * 0.25, -0.5 * 0.75], [0.0, 0.0, 0.0]])
    given = shares(velocity=0.5, lateral=0.25, yaw_rate=0.75)
    torch.testing.assert_close(sample_command(draws, config, given), expected)


def test_a_forward_velocity_is_a_command() -> None:
    assert as_command(torch.tensor([0.5, -0.25])).tolist() == [[0.5, 0, 0], [-0.25, 0, 0]]


@pytest.mark.parametrize(
    "bad",
    [
        {"velocity_min": 0.5, "velocity_max": 0.1},
        {"standing_probability": 1.5},
        {"resample_s": 0.0},
        {"lateral_max": -0.1},
        {"turning_probability": 0.2},
        {"standing_probability": 0.6, "turning_probability": 0.5, "yaw_rate_max": 0.5},
    ],
)
def test_refuses_settings_that_cannot_work(bad: dict) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        CommandConfig(**bad)
