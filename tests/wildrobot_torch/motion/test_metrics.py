"""Tests of wildrobot_torch/motion/metrics.py: numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from envs.errors import UserError
from envs.recording import Recording
from envs.robot.spec import RobotSpec, ServoSpec
from wildrobot_torch.motion.metrics import METRICS, Limit, measure, percentile

Walking = Callable[..., Recording]


def test_a_perfect_walk_measures_as_it_was_drawn(robot: RobotSpec, walking: Walking) -> None:
    metrics = measure(walking(), robot, settle_s=2.0)
    assert list(metrics) == list(METRICS)
    expected = {
        "fall_rate": 0.0,
        "survival": 1.0,
        "velocity_error": 0.0,
        "velocity_error_1s": 0.0,
        "velocity": 0.2,
        "alternation": 1.0,
        "stepping": 1.0,
        "stride_frequency": 2.5,
        "stride_length": 0.08,  # 0.04 m and 0.12 m
        "duty_factor": 0.6,
        "single_support": 0.8,
        "double_support": 0.2,
        "flight": 0.0,
        "phase_offset": 0.5,
        "symmetry_step_time": 0.0,
        "symmetry_knee": 0.0,
        "knee_rom": 20.0,
        "hip_rom": 0.0,
        "clearance": 0.04,
        "foot_slip": 0.0,
        "heading_drift": 0.0,
        "lateral_drift": 0.0,
        "torque_p95": 0.5,
        "torque_saturation": 0.0,
        "action_rate": 0.0,
        "impact_p95": 1.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def test_clearance_counts_from_the_ground_under_a_sole(robot: RobotSpec, walking: Walking) -> None:
    """The same walk, uphill."""
    level = walking()
    uphill = (
        0.05 * level.sole_pos_w[..., 0] + torch.linspace(0.0, 1.0, len(level.qpos))[:, None, None]
    )
    sole = level.sole_pos_w.clone()
    sole[..., 2] += uphill
    metrics = measure(walking(sole_pos_w=sole, ground_height=uphill), robot, settle_s=2.0)
    assert metrics["clearance"] == pytest.approx(0.04, abs=1e-4)
    assert measure(walking(sole_pos_w=sole), robot, settle_s=2.0)["clearance"] > 0.06


def test_falls_shorten_survival_and_leave_the_rest_alone(
    robot: RobotSpec, walking: Walking
) -> None:
    whole = walking()
    valid = whole.valid.clone()
    valid[250:, 1] = False
    velocity = whole.qvel.clone()
    velocity[250:, 1, 0] = 99.0  # what comes after the fall is never read
    fallen = walking(valid=valid, qvel=velocity, terminated=torch.tensor([False, True]))
    metrics = measure(fallen, robot, settle_s=2.0)
    assert metrics["fall_rate"] == 0.5
    assert metrics["survival"] == 0.75
    assert metrics["velocity_error"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["alternation"] == 1.0


def test_settling_is_left_out_of_tracking_but_not_of_falls(
    robot: RobotSpec, walking: Walking
) -> None:
    velocity = walking().qvel.clone()
    velocity[:100, :, 0] = 0.0
    late = walking(qvel=velocity)
    assert measure(late, robot, settle_s=2.0)["velocity_error"] == pytest.approx(0.0, abs=1e-6)
    # 100 of 500 steps are off by 0.1 and 0.3 m/s: 0.2 * 0.2
    assert measure(late, robot, settle_s=0.0)["velocity_error"] == pytest.approx(0.04, abs=1e-6)


def test_standing_leaves_gait_undefined(robot: RobotSpec, walking: Walking) -> None:
    force = torch.full((500, 2, 2), robot.weight / 2)
    metrics = measure(walking((0.0, 0.3), foot_force=force), robot, settle_s=2.0)
    undefined = ("alternation", "duty_factor", "phase_offset", "stride_frequency", "knee_rom")
    assert all(math.isnan(metrics[name]) for name in undefined)
    assert metrics["stepping"] == 0.0
    assert metrics["double_support"] == 1.0


def test_alternation_asks_for_steps_only_where_the_command_does(
    robot: RobotSpec, walking: Walking
) -> None:
    whole = walking((0.0, 0.3))
    force = whole.foot_force.clone()
    force[:, 0, 1] = 0.0  # the robot told to stand hops on its left foot
    metrics = measure(walking((0.0, 0.3), foot_force=force), robot, settle_s=2.0)
    assert metrics["alternation"] == 1.0


def test_all_fallen_before_settling_is_undefined_not_perfect(
    robot: RobotSpec, walking: Walking
) -> None:
    valid = walking().valid.clone()
    valid[50:] = False
    fallen = walking(valid=valid, terminated=torch.tensor([True, True]))
    metrics = measure(fallen, robot, settle_s=2.0)
    assert math.isnan(metrics["velocity_error"])
    assert metrics["survival"] == pytest.approx(0.1)


def test_the_toys_walk_by_hand(toy_walk, toy_robot):
    m = measure(toy_walk(), toy_robot)
    assert m["load_mean"] == pytest.approx(1.0)
    assert m["unloaded_share"] == 0.0
    assert (m["single_support"], m["double_support"], m["flight"]) == (1.0, 0.0, 0.0)
    assert (m["stance_left"], m["stance_right"]) == (0.5, 0.5)
    assert m["alternation"] == 1.0
    assert m["velocity"] == pytest.approx(0.3)
    assert m["travel_ratio"] == pytest.approx(1.0)
    assert m["froude"] == pytest.approx(0.0225)  # 0.09 / (10 * 0.4)
    assert m["foot_separation_p05"] == pytest.approx(0.2)
    assert m["slip_share"] == 0.0
    assert m["joint_error"] == 0.0


def test_load_is_the_share_of_the_weight(toy_walk, toy_robot):
    # 8 frames at 30 N, 2 at 15 N: mean 27/30; the 10th percentile of ten values is at index 0.9.
    force = torch.tensor([15.0, 15.0] + [30.0] * 8)
    foot_force = torch.stack([force, torch.zeros(10)], dim=-1)
    m = measure(toy_walk(10, foot_force=foot_force), toy_robot)
    assert m["load_mean"] == pytest.approx(0.9)
    assert m["load_p10"] == pytest.approx(0.5)
    assert m["unloaded_share"] == pytest.approx(0.2)


def test_support_is_measured_in_weights_over_weight_and_toppling_moment(toy_walk, toy_robot):
    force = torch.tensor([0.0, 3.0, 4.0]).expand(50, 3)  # 5 N of 30 N
    torque = torch.tensor([2.0, 0.0, -1.5]).expand(50, 3)  # 2.5 N m of 30 N * 0.25 m
    m = measure(toy_walk(50, support_force=force, support_torque=torque), toy_robot)
    assert m["support_force_p90"] == pytest.approx(5 / 30)
    assert m["support_force_p95"] == pytest.approx(5 / 30)
    assert m["support_torque_p95"] == pytest.approx(2.5 / 7.5)


def test_percentiles_take_the_sign_off_tilt(toy_walk, toy_robot):
    pitch = torch.deg2rad(torch.linspace(-50, 0, 101))
    m = measure(toy_walk(101, pitch=pitch, roll=-pitch), toy_robot)
    assert m["pitch_p95"] == pytest.approx(47.5)
    assert m["roll_p95"] == pytest.approx(47.5)


def test_slip_counts_loaded_feet_only(toy_walk, toy_robot):
    # Both feet move at 0.2 m/s in the first 30 of 100 frames; one of them is loaded at a time.
    velocity = torch.zeros(100, 2, 3)
    velocity[:30, :, 1] = 0.2
    velocity[:, :, 2] = 5.0  # rising is not slipping
    m = measure(toy_walk(100, sole_linvel_w=velocity), toy_robot)
    assert m["slip_share"] == pytest.approx(0.3)
    assert m["foot_slip"] == pytest.approx(0.3 * 0.2)


def test_slip_is_undefined_when_no_foot_is_loaded(toy_walk, toy_robot):
    m = measure(toy_walk(foot_force=torch.zeros(100, 2)), toy_robot)
    assert math.isnan(m["slip_share"])
    assert m["flight"] == 1.0


def test_a_robot_dragged_backwards_travels_the_wrong_way(toy_walk, toy_robot):
    m = measure(toy_walk(linvel_h=torch.tensor([-0.3, 0.0, 0.0]).expand(100, 3)), toy_robot)
    assert m["velocity"] == pytest.approx(-0.3)
    assert m["travel_ratio"] == pytest.approx(-1.0)


def test_a_robot_dragged_sideways_does_not_travel_ahead(toy_walk, toy_robot):
    m = measure(toy_walk(linvel_h=torch.tensor([0.0, 0.3, 0.0]).expand(100, 3)), toy_robot)
    assert m["travel_ratio"] == pytest.approx(0.0)


def test_alternation_counts_landings_after_swings(toy_walk, toy_robot):
    # Right lands at 8, left at 22, left again at 30: one of two landings follows one of the other
    # foot. Lifts of two frames (left at 10, right at 22) and a tap of one (left at 23) are chatter.
    left, right, both, none = (1, 0), (0, 1), (1, 1), (0, 0)
    pattern = [left] * 8 + [both] * 2 + [right] * 2 + [both] * 4 + [right] * 6 + [left] * 2
    pattern += [right] * 3 + [both] + [right] * 2 + [both] * 3 + [none] * 3
    foot_force = 30.0 * torch.tensor(pattern, dtype=torch.float32)
    frames = toy_walk(len(pattern), foot_force=foot_force)
    assert measure(frames, toy_robot)["alternation"] == 0.5


def test_support_counts_feet(toy_walk, toy_robot):
    pattern = [(1, 0)] * 8 + [(1, 1)] * 6 + [(0, 1)] * 3 + [(0, 0)] * 3
    foot_force = 30.0 * torch.tensor(pattern, dtype=torch.float32)
    m = measure(toy_walk(20, foot_force=foot_force), toy_robot)
    assert m["single_support"] == pytest.approx(0.55)
    assert m["double_support"] == pytest.approx(0.3)
    assert m["flight"] == pytest.approx(0.15)
    assert (m["stance_left"], m["stance_right"]) == (0.7, 0.45)


def test_alternation_of_one_step_is_undefined(toy_walk, toy_robot):
    assert math.isnan(measure(toy_walk(10), toy_robot)["alternation"])


def test_foot_separation_turns_with_the_heading(toy_walk, toy_robot):
    # Facing +y, the robot's left is -x.
    feet = torch.tensor([[-0.06, 1.0, 0.0], [0.06, 2.0, 0.0]]).expand(50, 2, 3)
    yaw = torch.full((50,), math.pi / 2)
    m = measure(toy_walk(50, sole_pos_w=feet, yaw=yaw), toy_robot)
    assert m["foot_separation_p05"] == pytest.approx(0.12)


def test_joint_stop_and_tracking_and_penetration(toy_walk, toy_robot):
    joint_pos = torch.zeros(100, 2)
    joint_pos[:25, 1] = 0.99  # within 0.02 rad of the stop at 1
    height = torch.zeros(100, 2)
    height[7, 0] = -0.004
    m = measure(toy_walk(joint_pos=joint_pos, sole_height=height), toy_robot)
    assert m["joint_stop_share"] == pytest.approx(0.25)
    assert m["joint_error"] == pytest.approx(0.99 * math.sqrt(25 / 200))
    assert m["penetration"] == pytest.approx(0.004)


def test_a_servo_is_saturated_from_95_percent_of_its_limit(toy_walk, toy_robot):
    torque = torch.zeros(100, 2)  # limits are 1 N m
    torque[:30, 0], torque[:10, 1], torque[10:, 1] = -0.96, 1.0, 0.94
    assert measure(toy_walk(torque=torque), toy_robot)["torque_saturation"] == pytest.approx(0.2)


def test_a_servo_that_turns_fast_is_at_its_end_with_less_torque(toy_walk, toy_robot):
    """2 N m at rest, none at 10 rad/s, 1.5 N m at most: 1 N m at 5 rad/s, 1.5 N m against it."""
    motor = ServoSpec(model="envelope", stall_torque=2.0, no_load_speed=10.0, voltage=12.0)
    robot = replace(toy_robot, servo=motor, torque_limit=torch.full((2,), 1.5))
    speed, torque = torch.zeros(100, 2), torch.zeros(100, 2)
    speed[:, 0] = -5.0
    torque[:30, 0], torque[30:60, 0], torque[60:80, 0] = -0.96, -0.94, 1.4
    speed[:, 1] = 11.0  # beyond its speed without load; only a brake has torque there
    torque[:20, 1], torque[20:40, 1] = 0.01, -1.4
    m = measure(toy_walk(torque=torque, joint_vel=speed), robot)
    assert m["envelope_saturation"] == pytest.approx((30 + 20) / 200)
    assert m["torque_saturation"] == 0.0


def test_steps_in_which_a_cap_limits_the_support_are_counted(toy_walk, toy_robot):
    capped = torch.zeros(50, 2, dtype=torch.bool)
    capped[:5, 0], capped[10:30, 1] = True, True
    m = measure(toy_walk(50, support_saturated=capped), toy_robot)
    assert m["support_force_saturation"] == pytest.approx(0.1)
    assert m["support_torque_saturation"] == pytest.approx(0.4)


def test_the_largest_tilt_is_of_roll_or_pitch(toy_walk, toy_robot):
    roll, pitch = torch.zeros(50), torch.zeros(50)
    roll[3], pitch[9] = math.radians(10), math.radians(-30)
    assert measure(toy_walk(50, roll=roll, pitch=pitch), toy_robot)["tilt_max"] == pytest.approx(30)


def test_yaw_rate_spread(toy_walk, toy_robot):
    rate = torch.tensor([0.5, -0.5]).repeat(50)
    assert measure(toy_walk(yaw_rate=rate), toy_robot)["yaw_rate_std"] == pytest.approx(0.5)


def test_velocity_errors_by_hand(toy_walk, toy_robot):
    # Two episodes of four steps; the second ends after two.
    parts = []
    for speeds, steps, command in (((0.1, 0.3, 0.5, 0.3), 4, 0.3), ((0.5, 0.6, 9.0, 9.0), 2, 0.4)):
        linvel = torch.tensor(speeds)[:, None] * torch.tensor([1.0, 0.0, 0.0])
        part = toy_walk(4, linvel_h=linvel, valid=torch.arange(4) < steps)
        parts.append(replace(part, command=torch.tensor([command])))
    both = Recording.concatenate(parts)
    m = measure(both, toy_robot)
    # |errors| 0.2 0 0.2 0 and 0.1 0.2 over six steps
    assert m["velocity_error"] == pytest.approx(0.7 / 6, abs=1e-6)
    assert m["velocity"] == pytest.approx((0.3 + 0.55) / 2, abs=1e-6)
    assert m["velocity_error_episode"] == pytest.approx((0.0 + 0.15) / 2, abs=1e-6)
    assert math.isnan(m["velocity_error_1s"])
    # Windows of two: 0.2 0.4 0.4 against 0.3 and 0.55 against 0.4; the rest hold foreign steps.
    name = "velocity_error_1s"
    smoothed = measure(replace(both, ctrl_dt=0.5), toy_robot, names=[name])
    assert smoothed[name] == pytest.approx((0.1 + 0.1 + 0.1 + 0.15) / 4, abs=1e-6)


@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_a_second_takes_out_the_swing_and_leaves_an_offset(toy_walk, toy_robot, offset):
    swing = 0.3 + offset + 0.1 * torch.sin(2 * torch.pi * torch.arange(200) / 25)
    m = measure(toy_walk(200, linvel_h=swing[:, None] * torch.eye(3)[0]), toy_robot)
    assert m["velocity_error"] > 0.05
    assert m["velocity_error_1s"] == pytest.approx(offset, abs=1e-6)


def test_nothing_valid_is_undefined(toy_walk, toy_robot):
    m = measure(toy_walk(valid=torch.zeros(100, dtype=torch.bool)), toy_robot)
    names = (
        "velocity_error",
        "velocity",
        "heading_drift",
        "lateral_drift",
        "jerk",
    )
    assert all(math.isnan(m[name]) for name in names)


def test_a_whole_circle_is_360_degrees(toy_walk, toy_robot):
    angle = torch.linspace(0.0, 2.0 * math.pi, 101)
    yaw = torch.atan2(torch.sin(angle), torch.cos(angle))
    for valid, turn in ((torch.arange(101) < 101, 360.0), (torch.arange(101) < 51, 180.0)):
        m = measure(toy_walk(101, yaw=-yaw, valid=valid), toy_robot)
        assert m["heading_drift"] == pytest.approx(turn, abs=1e-3)


def test_lateral_drift_is_off_the_first_heading(toy_walk, toy_robot):
    # Heading +y at first. The robot goes 2 m along +y and 0.5 m along -x.
    yaw = torch.tensor([math.pi / 2, math.pi / 2, 0.0])  # where it looks later does not matter
    position = torch.tensor([[0.0, 0.0, 0.4], [-0.5, 2.0, 0.4], [7.0, 7.0, 0.4]])
    valid = torch.tensor([True, True, False])
    m = measure(toy_walk(3, yaw=yaw, root_pos_w=position, valid=valid), toy_robot)
    assert m["lateral_drift"] == pytest.approx(0.5, abs=1e-6)


def test_cost_of_transport_by_hand(toy_walk, toy_robot):
    # 2 N m at 3 rad/s drives with 6 W, 1 N m at -4 rad/s brakes and does not count.
    series = {
        "torque": torch.tensor([2.0, 1.0]).expand(20, 2),
        "joint_vel": torch.tensor([3.0, -4.0]).expand(20, 2),
    }
    ahead = torch.tensor([0.5, 0.0, 0.0]).expand(20, 3)
    # 6 W over 0.4 s, and 0.2 m with 30 N: 2.4 / 6
    m = measure(toy_walk(20, linvel_h=ahead, **series), toy_robot)
    assert m["cost_of_transport"] == pytest.approx(0.4)
    still = measure(toy_walk(20, linvel_h=0 * ahead, **series), toy_robot)
    assert math.isnan(still["cost_of_transport"])


def test_torque_percentile_is_relative_to_each_limit(toy_walk, toy_robot):
    strong = replace(toy_robot, torque_limit=torch.tensor([4.0, 8.0]))
    walk = toy_walk(torque=torch.tensor([2.0, -4.0]).expand(100, 2))
    assert measure(walk, strong)["torque_p95"] == pytest.approx(0.5)


def test_action_rate_by_hand(toy_walk, toy_robot):
    action = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.0]])  # changes: 0.25, 0.25
    assert measure(toy_walk(3, action=action), toy_robot)["action_rate"] == pytest.approx(0.25)
    # A change across the end of the episode is none.
    action[2] = 5.0
    cut = toy_walk(3, action=action, valid=torch.tensor([True, True, False]))
    assert measure(cut, toy_robot)["action_rate"] == pytest.approx(0.25)


def test_impact_is_the_peak_after_touchdown(toy_walk, toy_robot):
    force = torch.zeros(20, 2)
    force[3:8, 0] = torch.tensor([10.0, 20.0, 60.0, 30.0, 30.0])
    force[15, 0] = 900.0  # long after the strike
    assert measure(toy_walk(20, foot_force=force), toy_robot)["impact_p95"] == pytest.approx(2.0)
    still = measure(toy_walk(20, foot_force=0 * force), toy_robot)
    assert math.isnan(still["impact_p95"])
    early = toy_walk(20, foot_force=force, valid=torch.arange(20) < 5)  # ends before the peak
    assert measure(early, toy_robot)["impact_p95"] == pytest.approx(20 / 30)


def test_percentile_by_hand() -> None:
    # Rank 0.95 * 4 = 3.8 among 0 1 2 3 4
    assert percentile(torch.tensor([4.0, 0.0, 3.0, 1.0, 2.0]), 95.0) == pytest.approx(3.8)
    assert math.isnan(percentile(torch.tensor([]), 95.0))


def test_jerk_of_a_harmonic_is_its_own_whatever_its_size(toy_walk, toy_robot):
    # v = A cos(w t) over a whole period of 1 s: integral of (A w^2 cos)^2 is A^2 w^4 / 2.
    velocity = torch.zeros(1000, 2)
    velocity[:, 0] = torch.cos(2 * torch.pi * torch.arange(1000) * 0.001)

    def jerk(joint_vel: torch.Tensor) -> float:
        walk = replace(toy_walk(1000, joint_vel=joint_vel), ctrl_dt=0.001)
        return measure(walk, toy_robot)["jerk"]

    expected = math.log((2 * math.pi) ** 4 / 2)
    assert jerk(velocity) == pytest.approx(expected, abs=0.01)
    assert jerk(3.0 * velocity) == pytest.approx(expected, abs=0.01)
    assert jerk(velocity + 0.02 * torch.randn(1000, 2)) > expected + 5
    assert math.isnan(jerk(0.1 * velocity))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_number_leaves_nothing_measured(toy_walk, toy_robot, bad):
    velocity = torch.zeros(100, 2, 3)
    velocity[50, 0, 0] = bad
    m = measure(toy_walk(sole_linvel_w=velocity), toy_robot)
    assert m.keys() == METRICS.keys()
    assert all(math.isnan(value) for value in m.values())


def test_what_was_not_recorded_is_undefined_and_no_support_is_none(toy_walk, toy_robot):
    bare = replace(toy_walk(), torque=None, joint_target=None, support=None)
    m = measure(bare, toy_robot)
    needs = {
        "torque_p95",
        "torque_saturation",
        "envelope_saturation",
        "cost_of_transport",
        "joint_error",
    }
    assert all(math.isnan(m[name]) for name in needs)
    assert m["support_force_p90"] == m["support_force_saturation"] == 0.0
    names = ("load_mean", "alternation")
    assert measure(bare, toy_robot, names=names) == {name: m[name] for name in names}


def test_a_limit_says_how_it_is_missed() -> None:
    limit = Limit.parse({"min": 0.8, "max": 1.2}, "mine")
    assert [limit.holds(x) for x in (0.79, 0.8, 1.2, 1.21, math.nan)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert limit.violation(1.3) == "1.3 > 1.2" and str(limit) == "0.8 to 1.2"
    assert str(Limit(max=0.1)) == "<= 0.1" and str(Limit(min=0.1)) == ">= 0.1"
    for wrong in ({}, 0.1, {"most": 1}, {"max": "much"}, {"max": True}, {"min": 2, "max": 1}):
        with pytest.raises(UserError, match="mine"):
            Limit.parse(wrong, "mine")


def test_tracking_is_measured_against_the_command_of_each_step(
    robot: RobotSpec, walking: Walking
) -> None:
    """Straight ahead at 0.3 m/s for 8 s, commanded 0.2 m/s to the left and 0.1 rad/s as well."""
    commands = torch.tensor([0.3, 0.2, 0.1]).expand(500, 1, 3).clone()
    got = measure(replace(walking((0.3,)), commands=commands), robot, settle_s=2.0)
    assert got["velocity_error_1s"] == pytest.approx(0.0, abs=1e-6)
    assert got["lateral_error_1s"] == pytest.approx(0.2)
    assert got["yaw_rate_error_1s"] == pytest.approx(0.1)
    assert got["heading_drift"] == pytest.approx(math.degrees(0.1 * 399 * 0.02), rel=1e-4)
    commands[:, :, 0] = 0.3 + 0.1 * (torch.arange(500) % 2)[:, None]  # 0.35 in the mean
    got = measure(replace(walking((0.3,)), commands=commands), robot, settle_s=2.0)
    assert got["velocity_error"] == got["velocity_error_1s"] == pytest.approx(0.05, abs=1e-5)
    assert got["velocity_error_episode"] == pytest.approx(0.05, abs=1e-5)
    turning = torch.tensor([0.0, 0.0, 0.2]).expand(500, 1, 3).clone()
    force = torch.full((500, 1, 2), 16.0)
    got = measure(replace(walking((0.0,), foot_force=force), commands=turning), robot)
    assert got["stepping"] == 0.0
