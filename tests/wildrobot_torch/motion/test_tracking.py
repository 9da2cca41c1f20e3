"""Tests of wildrobot_torch/motion/tracking.py."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.motion import tracking

# Two episodes of four steps; the second ends after two.
VELOCITY = torch.tensor([[0.1, 0.5], [0.3, 0.6], [0.5, 9.0], [0.3, 9.0]])
COMMAND = torch.tensor([0.3, 0.4])
VALID = torch.tensor([[True, True], [True, True], [True, False], [True, False]])


def test_velocity_error_by_hand() -> None:
    # |errors| 0.2 0 0.2 0 and 0.1 0.2 over six steps
    error = tracking.velocity_error(VELOCITY, COMMAND, VALID)
    assert error == pytest.approx(0.7 / 6, abs=1e-6)


def test_velocity_rmse_by_hand() -> None:
    # (0.04 + 0.04 + 0.01 + 0.04) / 6
    rmse = tracking.velocity_rmse(VELOCITY, COMMAND, VALID)
    assert rmse == pytest.approx(math.sqrt(0.13 / 6), abs=1e-6)


def test_smoothing_takes_out_the_swing_within_its_window() -> None:
    t = torch.arange(200)
    velocity = (0.3 + 0.1 * torch.sin(2 * torch.pi * t / 25))[:, None]
    valid = torch.ones(200, 1, dtype=torch.bool)
    command = torch.tensor([0.3])
    assert tracking.velocity_error(velocity, command, valid) > 0.05
    assert tracking.smoothed_velocity_error(velocity, command, valid, 50) < 1e-6
    # An offset stays.
    offset = tracking.smoothed_velocity_error(velocity + 0.02, command, valid, 50)
    assert offset == pytest.approx(0.02, abs=1e-6)


def test_smoothing_uses_whole_windows_only() -> None:
    # Windows of two: 0.2 0.4 0.4 against 0.3 and 0.55 against 0.4; the rest hold foreign steps.
    error = tracking.smoothed_velocity_error(VELOCITY, COMMAND, VALID, 2)
    assert error == pytest.approx((0.1 + 0.1 + 0.1 + 0.15) / 4, abs=1e-6)
    assert math.isnan(tracking.smoothed_velocity_error(VELOCITY, COMMAND, VALID, 5))


def test_nothing_valid_is_undefined() -> None:
    nothing = torch.zeros_like(VALID)
    assert math.isnan(tracking.velocity_error(VELOCITY, COMMAND, nothing))
    assert math.isnan(tracking.velocity_rmse(VELOCITY, COMMAND, nothing))
    assert tracking.mean_velocities(VELOCITY, nothing).isnan().all()
    assert tracking.heading_drifts(VELOCITY, nothing).isnan().all()
    assert tracking.lateral_drifts(torch.zeros(4, 2, 3), VELOCITY, nothing).isnan().all()
    assert tracking.travel_ratios(torch.zeros(4, 2, 3), VELOCITY, nothing, 0.02).isnan().all()


def test_mean_velocities_leave_out_what_is_beyond_the_end() -> None:
    mean = tracking.mean_velocities(VELOCITY, VALID)
    assert mean.tolist() == pytest.approx([0.3, 0.55], abs=1e-6)


def test_a_whole_circle_is_360_degrees() -> None:
    angle = torch.linspace(0.0, 2.0 * math.pi, 101)
    yaw = torch.atan2(torch.sin(angle), torch.cos(angle))[:, None]
    valid = torch.ones(101, 1, dtype=torch.bool)
    assert float(tracking.heading_drifts(yaw, valid)) == pytest.approx(360.0, abs=1e-3)
    assert float(tracking.heading_drifts(-yaw, valid)) == pytest.approx(-360.0, abs=1e-3)
    valid[51:] = False  # half of it
    assert float(tracking.heading_drifts(yaw, valid)) == pytest.approx(180.0, abs=1e-3)


def test_lateral_drift_is_to_the_left_of_the_first_heading() -> None:
    # Heading +y at first: left is -x. The robot goes 2 m along +y and 0.5 m along -x.
    yaw = torch.full((3, 1), math.pi / 2)
    yaw[2] = 0.0  # where it looks later does not matter
    position = torch.tensor([[[0.0, 0.0, 0.4]], [[-0.5, 2.0, 0.4]], [[7.0, 7.0, 0.4]]])
    valid = torch.tensor([[True], [True], [False]])
    assert float(tracking.lateral_drifts(position, yaw, valid)) == pytest.approx(0.5, abs=1e-6)
