"""Tests of wildrobot_torch/evaluation/metrics.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.metrics import METRICS, measure, score

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
    # (1 - 1) + 0.1 - 0.2 / 0.2 + 0: as far off as standing still.
    assert score({**metrics, "alternation": math.nan}, (0.1, 0.3)) == pytest.approx(-0.9)


def test_score_by_hand() -> None:
    metrics = {"fall_rate": 0.1, "survival": 0.95, "velocity_error": 0.05, "alternation": 0.9}
    # 0.9 + 0.95 - 0.25 + 0.45
    assert score(metrics, (0.3,)) == pytest.approx(2.05)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"fall_rate": 0.0}, {"fall_rate": 0.1}),
        ({"survival": 1.0}, {"survival": 0.9}),
        ({"velocity_error": 0.04}, {"velocity_error": 0.06}),
        ({"alternation": 1.0}, {"alternation": 0.9}),
        ({"alternation": 0.5}, {"alternation": math.nan}),
        ({"velocity_error": 0.06}, {"velocity_error": math.nan}),
    ],
)
def test_score_prefers_the_better(better: dict[str, float], worse: dict[str, float]) -> None:
    base = {"fall_rate": 0.05, "survival": 0.97, "velocity_error": 0.05, "alternation": 0.95}
    assert score(base | better, (0.1, 0.3)) > score(base | worse, (0.1, 0.3))
