"""Tests of poses under dynamic time warping, and by phase of the stride."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.evaluation.style.poses import phase_error, pose_distance, warped_distance


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


def striding(angle: torch.Tensor, period: int) -> Motion:
    """One stretch with left touchdowns every `period` steps, joint angles (T, J)."""
    steps = len(angle)
    down = torch.zeros(steps, 1, 2, dtype=torch.bool)
    down[5::period, :, 0] = True
    return Motion(
        ctrl_dt=0.02,
        features=torch.zeros(steps, 1, 1),
        points=torch.zeros(steps, 1, 1, 3),
        joint_pos=angle[:, None],
        touchdown=down,
        valid=torch.ones(steps, 1, dtype=torch.bool),
        speed=torch.tensor([0.3]),
        family=("walk",),
    )


def wave(period: int, amplitude: float, shift: float) -> torch.Tensor:
    t = torch.arange(400)
    share = (t - 5) / period
    return torch.stack([amplitude * torch.sin(2 * torch.pi * (share + shift))] * 2, -1)


def test_tempo_does_not_count() -> None:
    rmse = phase_error(striding(wave(40, 1.0, 0.0), 40), striding(wave(50, 1.0, 0.0), 50))
    assert rmse.tolist() == pytest.approx([0.0, 0.0], abs=0.01)


def test_size_and_phase_do() -> None:
    reference = striding(wave(40, 1.0, 0.0), 40)
    # Half a sine is left over: 0.5 / sqrt 2.
    half = phase_error(striding(wave(40, 0.5, 0.0), 40), reference)
    assert half[0] == pytest.approx(0.5 / math.sqrt(2), rel=0.01)
    late = phase_error(striding(wave(40, 1.0, 0.25), 40), reference)
    assert late[0] == pytest.approx(1.0, rel=0.01)


def test_standing_has_no_strides() -> None:
    still = striding(wave(40, 1.0, 0.0), 1000)
    assert phase_error(still, striding(wave(40, 1.0, 0.0), 40)).isnan().all()
