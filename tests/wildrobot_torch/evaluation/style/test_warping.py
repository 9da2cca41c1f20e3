"""Tests of the pose error under dynamic time warping."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.style.warping import pose_distance, warped_distance


def test_pose_distance_by_hand() -> None:
    # Two points: one 3-4-5 apart, the other in place.
    x = torch.zeros(1, 2, 3)
    y = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]])
    assert pose_distance(x, y).item() == pytest.approx(2.5)


def test_warp_by_hand() -> None:
    # Three poses into four; the cheapest way takes columns 0, 2, 3: 1 + 0 + 2.
    distance = torch.tensor([[1.0, 9.0, 9.0, 9.0], [9.0, 9.0, 0.0, 9.0], [9.0, 9.0, 9.0, 2.0]])
    assert warped_distance(distance).item() == pytest.approx(1.0)


def _line(values: torch.Tensor) -> torch.Tensor:
    """Poses of one point on a line."""
    return torch.stack([values, 0 * values, 0 * values], -1)[:, None]


def _error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float(warped_distance(pose_distance(_line(mine), _line(theirs))))


def test_phase_and_tempo_are_free_and_standing_is_not() -> None:
    t = torch.arange(200.0)
    theirs = torch.sin(2 * math.pi * t / 40)
    assert _error(theirs[30:130], theirs) == pytest.approx(0.0, abs=1e-6)
    assert _error(torch.sin(2 * math.pi * torch.arange(100.0) / 50), theirs) < 0.05
    assert _error(torch.sin(2 * math.pi * torch.arange(90.0) / 30), theirs) < 0.05
    # Standing in the middle, it is best to go slowly (1/2) where |sin| < s and fast (2) elsewhere:
    # (2 - 1.5 cos a) / (1.5 a + pi / 4), a = asin s, whose least value is 0.444.
    still = _error(torch.zeros(100), theirs)
    assert still == pytest.approx(0.444, abs=0.04)


def test_a_reference_of_half_the_length_is_too_short_for_more_than_twice_the_time() -> None:
    distance = torch.zeros(10, 4)
    assert math.isinf(float(warped_distance(distance)))
    assert float(warped_distance(torch.zeros(10, 6))) == 0.0
