"""Metrics against numbers worked by hand on a 30 N robot."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.reference.judge.metrics import METRICS, measure, touchdowns


def test_a_perfect_walk_measures_as_one(walking, toy_robot):
    m = measure(walking(), toy_robot)
    assert m["load_mean"] == pytest.approx(1.0)
    assert m["unloaded_share"] == 0.0
    assert (m["single_share"], m["double_share"], m["flight_share"]) == (1.0, 0.0, 0.0)
    assert (m["contact_left"], m["contact_right"]) == (0.5, 0.5)
    assert m["alternation"] == 1.0
    assert m["forward_velocity"] == pytest.approx(0.3)
    assert m["travel_ratio"] == pytest.approx(1.0)
    assert m["froude"] == pytest.approx(0.3 / 2.0)  # sqrt(10 m/s^2 * 0.4 m) = 2 m/s
    assert m["foot_separation_p05"] == pytest.approx(0.2)
    assert m["slip_share"] == 0.0
    assert m["tracking_rms"] == 0.0


def test_load_is_the_share_of_the_weight(walking, toy_robot):
    # 8 frames at 30 N, 2 at 15 N: mean 27/30; the 10th percentile of ten values is at index 0.9.
    force = torch.tensor([15.0, 15.0] + [30.0] * 8)
    foot_force = torch.stack([force, torch.zeros(10)], dim=-1)
    m = measure(walking(10, foot_force=foot_force), toy_robot)
    assert m["load_mean"] == pytest.approx(0.9)
    assert m["load_p10"] == pytest.approx(0.5)
    assert m["unloaded_share"] == pytest.approx(0.2)


def test_harness_shares_are_norms_over_weight_and_toppling_moment(walking, toy_robot):
    force = torch.tensor([0.0, 3.0, 4.0]).expand(50, 3)  # 5 N of 30 N
    torque = torch.tensor([2.0, 0.0, -1.5]).expand(50, 3)  # 2.5 N m of 30 N * 0.25 m
    m = measure(walking(50, support_force=force, support_torque=torque), toy_robot)
    assert m["force_share_p90"] == pytest.approx(5 / 30)
    assert m["force_share_p95"] == pytest.approx(5 / 30)
    assert m["torque_share_p95"] == pytest.approx(2.5 / 7.5)


def test_percentiles_take_the_sign_off_tilt(walking, toy_robot):
    pitch = torch.deg2rad(torch.linspace(-50, 0, 101))
    m = measure(walking(101, pitch=pitch, roll=-pitch), toy_robot)
    assert m["pitch_p95"] == pytest.approx(47.5)
    assert m["roll_p95"] == pytest.approx(47.5)


def test_slip_counts_loaded_feet_only(walking, toy_robot):
    # Both feet move at 0.2 m/s in the first 30 of 100 frames; one of them is loaded at a time.
    velocity = torch.zeros(100, 2, 3)
    velocity[:30, :, 1] = 0.2
    velocity[:, :, 2] = 5.0  # rising is not slipping
    m = measure(walking(100, sole_linvel_w=velocity), toy_robot)
    assert m["slip_share"] == pytest.approx(0.3)
    assert m["slip_speed"] == pytest.approx(0.3 * 0.2)
    assert m["slip_speed_p95"] == pytest.approx(0.2)


def test_slip_is_undefined_when_no_foot_is_loaded(walking, toy_robot):
    m = measure(walking(foot_force=torch.zeros(100, 2)), toy_robot)
    assert math.isnan(m["slip_share"])
    assert m["flight_share"] == 1.0


def test_a_robot_dragged_backwards_travels_the_wrong_way(walking, toy_robot):
    m = measure(walking(linvel_h=torch.tensor([-0.3, 0.0, 0.0]).expand(100, 3)), toy_robot)
    assert m["forward_velocity"] == pytest.approx(-0.3)
    assert m["travel_ratio"] == pytest.approx(-1.0)


def test_a_robot_dragged_sideways_does_not_travel_ahead(walking, toy_robot):
    m = measure(walking(linvel_h=torch.tensor([0.0, 0.3, 0.0]).expand(100, 3)), toy_robot)
    assert m["travel_ratio"] == pytest.approx(0.0)


def test_alternation_counts_landings_after_swings(walking, toy_robot):
    # Swings last 5 frames (0.1 s) or more. Right lands, left lands, left lands again: one of two
    # landings follows one of the other foot. The left foot's lift of 4 frames is no swing.
    left, right, both, none = (1, 0), (0, 1), (1, 1), (0, 0)
    pattern = [left] * 8 + [both] * 2 + [right] * 4 + [both] * 2 + [right] * 6 + [left] + [none]
    pattern += [right] * 6 + [both] * 3
    foot_force = 30.0 * torch.tensor(pattern, dtype=torch.float32)
    frames = walking(len(pattern), foot_force=foot_force)
    assert touchdowns(frames, toy_robot) == [(8, 1), (22, 0), (30, 0)]
    assert measure(frames, toy_robot)["alternation"] == 0.5


def test_support_counts_feet(walking, toy_robot):
    pattern = [(1, 0)] * 4 + [(1, 1)] * 3 + [(0, 1)] * 2 + [(0, 0)]
    foot_force = 30.0 * torch.tensor(pattern, dtype=torch.float32)
    m = measure(walking(10, foot_force=foot_force), toy_robot)
    assert m["single_share"] == pytest.approx(0.6)
    assert m["double_share"] == pytest.approx(0.3)
    assert m["flight_share"] == pytest.approx(0.1)


def test_alternation_of_one_step_is_undefined(walking, toy_robot):
    assert math.isnan(measure(walking(10), toy_robot)["alternation"])


def test_foot_separation_turns_with_the_heading(walking, toy_robot):
    # Facing +y, the robot's left is -x.
    feet = torch.tensor([[-0.06, 1.0, 0.0], [0.06, 2.0, 0.0]]).expand(50, 2, 3)
    yaw = torch.full((50,), math.pi / 2)
    m = measure(walking(50, sole_pos_w=feet, yaw=yaw), toy_robot)
    assert m["foot_separation_p05"] == pytest.approx(0.12)


def test_joint_stop_and_tracking_and_penetration(walking, toy_robot):
    joint_pos = torch.zeros(100, 2)
    joint_pos[:25, 1] = 0.99  # within 0.02 rad of the stop at 1
    height = torch.zeros(100, 2)
    height[7, 0] = -0.004
    m = measure(walking(joint_pos=joint_pos, sole_height=height), toy_robot)
    assert m["joint_stop_share"] == pytest.approx(0.25)
    assert m["tracking_rms"] == pytest.approx(0.99 * math.sqrt(25 / 200))
    assert m["penetration"] == pytest.approx(0.004)


def test_a_servo_is_saturated_from_95_percent_of_its_limit(walking, toy_robot):
    torque = torch.zeros(100, 2)  # limits are 1 N m
    torque[:30, 0], torque[:10, 1], torque[10:, 1] = -0.96, 1.0, 0.94
    assert measure(walking(torque=torque), toy_robot)["saturation_share"] == pytest.approx(0.2)


def test_frames_in_which_a_cap_cut_the_harness_are_counted(walking, toy_robot):
    capped = torch.zeros(50, 2, dtype=torch.bool)
    capped[:5, 0], capped[10:30, 1] = True, True
    m = measure(walking(50, support_saturated=capped), toy_robot)
    assert m["force_saturated_share"] == pytest.approx(0.1)
    assert m["torque_saturated_share"] == pytest.approx(0.4)


def test_the_largest_tilt_is_of_roll_or_pitch(walking, toy_robot):
    roll, pitch = torch.zeros(50), torch.zeros(50)
    roll[3], pitch[9] = math.radians(10), math.radians(-30)
    assert measure(walking(50, roll=roll, pitch=pitch), toy_robot)["tilt_max"] == pytest.approx(30)


def test_yaw_rate_spread_and_joint_speed(walking, toy_robot):
    rate = torch.tensor([0.5, -0.5]).repeat(50)
    m = measure(walking(yaw_rate=rate, joint_vel=torch.full((100, 2), -3.0)), toy_robot)
    assert m["yaw_rate_std"] == pytest.approx(0.5)
    assert m["joint_speed_p99"] == pytest.approx(3.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_number_leaves_nothing_measured(walking, toy_robot, bad):
    velocity = torch.zeros(100, 2, 3)
    velocity[50, 0, 0] = bad
    m = measure(walking(sole_linvel_w=velocity), toy_robot)
    assert m.keys() == METRICS.keys()
    assert all(math.isnan(value) for value in m.values())
