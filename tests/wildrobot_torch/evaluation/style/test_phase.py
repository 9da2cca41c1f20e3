"""Tests of phase-aligned joint errors."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.evaluation.style.phase import phase_error


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
