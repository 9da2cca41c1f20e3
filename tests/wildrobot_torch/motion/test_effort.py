"""Tests of wildrobot_torch/motion/effort.py."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.motion import effort

ON = torch.ones(10, 1, dtype=torch.bool)


def test_cost_of_transport_by_hand() -> None:
    # 2 N m at 3 rad/s drives with 6 W, 1 N m at -4 rad/s brakes and does not count.
    torque = torch.tensor([2.0, 1.0]).expand(10, 1, 2)
    joint_vel = torch.tensor([3.0, -4.0]).expand(10, 1, 2)
    velocity = torch.full((10, 1), 0.5)
    # 6 W over 1 s, and 0.5 m with 30 N: 6 / 15
    cost = effort.transport_costs(torque, joint_vel, velocity, ON, 0.1, 30.0)
    assert float(cost) == pytest.approx(0.4)


def test_a_robot_that_stays_has_no_cost_of_transport() -> None:
    torque = torch.ones(10, 1, 2)
    cost = effort.transport_costs(torque, torque, torch.zeros(10, 1), ON, 0.1, 30.0)
    assert math.isnan(float(cost))


def test_saturation_counts_joints_and_steps() -> None:
    torque = torch.zeros(10, 1, 2)
    torque[:5, 0, 0] = -3.9  # 0.975 of the limit
    torque[:5, 0, 1] = 3.7  # 0.925 of the limit
    share = effort.saturation_share(torque, torch.tensor([4.0, 4.0]), ON)
    assert share == pytest.approx(0.25)


def test_torque_percentile_is_relative_to_each_limit() -> None:
    torque = torch.tensor([2.0, 4.0]).expand(10, 1, 2)
    assert effort.torque_p95(torque, torch.tensor([4.0, 8.0]), ON) == pytest.approx(0.5)


def test_action_rate_by_hand() -> None:
    action = torch.zeros(3, 1, 2)
    action[1, 0] = torch.tensor([0.3, 0.4])  # changes: 0.25, 0.25
    assert effort.action_rate(action, ON[:3]) == pytest.approx(0.25)
    # A change across the end of the episode is none.
    valid = torch.tensor([[True], [True], [False]])
    action[2] = 5.0
    assert effort.action_rate(action, valid) == pytest.approx(0.25)


def test_impact_is_the_peak_after_touchdown() -> None:
    force = torch.zeros(20, 1, 2)
    force[3:8, 0, 0] = torch.tensor([10.0, 60.0, 30.0, 30.0, 30.0])
    force[15, 0, 0] = 900.0  # long after the strike
    touchdown = torch.zeros(20, 1, 2, dtype=torch.bool)
    touchdown[3, 0, 0] = True
    valid = torch.ones(20, 1, dtype=torch.bool)
    assert effort.impact_p95(force, touchdown, valid, 30.0, 0.02) == pytest.approx(2.0)
    assert math.isnan(effort.impact_p95(force, torch.zeros_like(touchdown), valid, 30.0, 0.02))
    valid[4:] = False  # the episode ends before the peak
    assert effort.impact_p95(force, touchdown, valid, 30.0, 0.02) == pytest.approx(10 / 30)


def test_froude_number_by_hand() -> None:
    # 1 / (10 * 0.4)
    assert effort.froude_number(1.0, 0.4, 10.0) == pytest.approx(0.25)


def test_percentile_by_hand() -> None:
    # Rank 0.95 * 4 = 3.8 among 0 1 2 3 4
    assert effort.percentile(torch.tensor([4.0, 0.0, 3.0, 1.0, 2.0]), 95.0) == pytest.approx(3.8)
    assert math.isnan(effort.percentile(torch.tensor([]), 95.0))


def test_jerk_of_a_harmonic_is_its_own_whatever_its_size() -> None:
    # v = A cos(w t) over a whole period of 1 s: integral of (A w^2 cos)^2 is A^2 w^4 / 2.
    t = torch.arange(1000) * 0.001
    velocity = torch.cos(2 * torch.pi * t)[:, None, None]
    whole = torch.ones(1000, 1, dtype=torch.bool)
    expected = math.log((2 * math.pi) ** 4 / 2)
    assert effort.log_jerk(velocity, whole, 0.001) == pytest.approx(expected, abs=0.01)
    assert effort.log_jerk(3.0 * velocity, whole, 0.001) == pytest.approx(expected, abs=0.01)
    rough = velocity + 0.02 * torch.randn(1000, 1, 1)
    assert effort.log_jerk(rough, whole, 0.001) > expected + 5
    assert math.isnan(effort.log_jerk(0.1 * velocity, whole, 0.001))
    assert math.isnan(effort.log_jerk(velocity, ~whole, 0.001))
