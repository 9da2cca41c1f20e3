"""Tests of wildrobot_torch/evaluation/measures.py: numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from envs.frames import quat_from_euler
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.measures import (
    MEASURES,
    electrical_power,
    measured,
    recovery_times,
)

Walking = Callable[..., Recording]


def numbers(recording: Recording, robot: RobotSpec, settle_s: float = 2.0) -> dict[str, list]:
    return {name: x.tolist() for name, x in measured(recording, robot, settle_s).items()}


def test_a_perfect_walk_measures_as_it_was_drawn(robot: RobotSpec, walking: Walking) -> None:
    """10 s at 0.1 and 0.3 m/s, all torques 2 N m, knees that move at a speed that is not recorded.

    At rest 2 N m draw 4 (N m)^2 x 5.82 / 4.41 = 5.279 W in each of 8 servos.
    """
    found = numbers(walking(), robot)
    assert list(found) == list(MEASURES)
    power = 8 * 4 * 5.82 / 4.41
    expected = {
        "fallen": [0, 0],
        "lasted": [10, 10],
        "speed": [0.1, 0.3],
        "speed_error": [0, 0],
        "speed_error_share": [0, 0],
        "lateral_error": [0, 0],
        "turn_rate": [0, 0],
        "distance": [0.998, 2.994],  # 499 steps of 0.02 s
        "drift": [0, 0],
        "heading": [0, 0],
        "height_sd": [0, 0],
        "tilt": [0.2228, 0.2228],  # the home pose leans by 2 x 0.001944 rad
        "end_tilt": [0.2228, 0.2228],
        "end_rate": [0, 0],
        "start_tilt": [0.2228, 0.2228],
        "start_rate": [0, 0],
        "torque_mean": [2, 2],
        "torque_rms": [2, 2],
        "saturation": [0, 0],
        "power": [power, power],
        "energy_per_metre": [power / 0.1, power / 0.3],
        "transport": [power / 0.1 / robot.weight, power / 0.3 / robot.weight],
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-3), name
    undefined = set(MEASURES) - set(expected) - {"turn_error"}
    assert undefined == {
        "turn_share", "command_gain", "command_lag", "recovery_time", "start_ahead", "start_left",
    }  # fmt: skip
    assert all(math.isnan(x) for name in undefined for x in found[name])


def test_a_fall_ends_what_is_counted(robot: RobotSpec, walking: Walking) -> None:
    whole = walking()
    valid, velocity = whole.valid.clone(), whole.qvel.clone()
    valid[250:, 1] = False
    velocity[250:, 1, 0] = 99.0
    valid[50:, 0] = False  # before it has settled
    found = numbers(
        walking(valid=valid, qvel=velocity, terminated=torch.tensor([True, True])), robot
    )
    assert found["fallen"] == [1, 1]
    assert found["lasted"] == pytest.approx([1.0, 5.0])
    assert math.isnan(found["speed"][0]) and found["speed"][1] == pytest.approx(0.3)
    assert found["distance"] == pytest.approx([0.02 * 49 * 0.1, 0.02 * 249 * 0.3], abs=1e-4)


def test_path_and_posture_by_hand(robot: RobotSpec, walking: Walking) -> None:
    """The first robot turns by 0.5 rad, the second leans by 0.1 rad at the end; both rise by 1 cm
    in every other half second, whose standard deviation is 5 mm."""
    walk = walking()
    qpos, qvel = walk.qpos.clone(), walk.qvel.clone()
    zero = torch.zeros(500)
    turn = torch.linspace(0.0, 0.5, 500)
    qpos[:, 0, 3:7] = quat_from_euler(zero, zero, turn)
    qpos[-20:, 1, 3:7] = quat_from_euler(zero[:20], zero[:20] + 0.1, zero[:20])
    qvel[-20:, 1, 4] = 0.2
    qpos[:, 1, 1] = -0.3 * torch.sin(torch.linspace(0.0, torch.pi, 500))  # aside and back
    qpos[..., 2] += 0.01 * (torch.arange(500) // 25 % 2)[:, None]
    found = numbers(walking(qpos=qpos, qvel=qvel), robot)
    assert found["heading"] == pytest.approx([math.degrees(0.5), 0.0], abs=0.01)
    assert found["drift"] == pytest.approx([0.0, 0.3], abs=1e-3)
    assert found["end_tilt"] == pytest.approx([0.0, math.degrees(0.1)], abs=0.3)
    assert found["end_rate"] == pytest.approx([0.0, 0.2])
    assert found["height_sd"] == pytest.approx([0.005, 0.005], abs=1e-5)


def test_the_capture_point_of_a_start_by_hand(robot: RobotSpec, walking: Walking) -> None:
    """With the mass at 0.4 m and 9.81 m/s^2 a velocity counts for 0.202 s: the first robot leans
    forwards and goes on, the second leans to its right and goes to its left."""
    walk = walking()
    qpos, qvel = walk.qpos.clone(), torch.zeros_like(walk.qvel)
    tilt = torch.tensor([0.1])
    qpos[:1, 0, 3:7] = quat_from_euler(0.0 * tilt, tilt, 0.0 * tilt)
    qpos[:1, 1, 3:7] = quat_from_euler(tilt, 0.0 * tilt, 0.0 * tilt)
    qvel[0, 0, 0], qvel[0, 1, 1] = 0.3, 0.1
    found = numbers(walking(qpos=qpos, qvel=qvel, com_height=torch.full((500, 2), 0.4)), robot)
    lean, time = 0.4 * math.sin(0.1), math.sqrt(0.4 / robot.gravity)
    assert found["start_ahead"] == pytest.approx([lean + 0.3 * time, 0.0], abs=1e-6)
    assert found["start_left"] == pytest.approx([0.0, 0.1 * time - lean], abs=1e-6)


def test_effort_by_hand(toy_robot: RobotSpec, toy_walk: Walking) -> None:
    """Torques 0.6 and -1 N m; the second servo is at its limit of 1 N m.

    The first turns at 2 rad/s: 0.6 x 2 + 10 / 1 x 0.36 = 4.8 W; the second brakes at 3 rad/s:
    -3 + 10 = 7 W. 11.8 W at 0.3 m/s are 39.3 J/m, over 30 N 1.31.
    """
    torque = torch.tensor([0.6, -1.0]).expand(100, 2)
    speed = torch.tensor([2.0, 3.0]).expand(100, 2)
    found = numbers(toy_walk(torque=torque, joint_vel=speed), toy_robot, settle_s=0.0)
    assert found["torque_mean"] == pytest.approx([0.8])
    assert found["torque_rms"] == pytest.approx([1.0])
    assert found["saturation"] == pytest.approx([0.5])
    assert found["power"] == pytest.approx([11.8])
    assert found["energy_per_metre"] == pytest.approx([11.8 / 0.3])
    assert found["transport"] == pytest.approx([11.8 / 0.3 / 30])


def test_braking_gives_nothing_back(toy_robot: RobotSpec) -> None:
    torque, speed = torch.tensor([0.1, 0.0]), torch.tensor([-5.0, 5.0])
    assert float(electrical_power(torque, speed, toy_robot)) == 0.0  # -0.5 + 0.1 W


def test_recovery_by_hand() -> None:
    """Pushed in steps 10 to 15. The first robot leans until step 40, that is for 24 steps more; the
    second is 0.2 m/s too fast for good; the third is not pushed; the fourth is pushed twice."""
    disturbed = torch.zeros(300, 4, dtype=torch.bool)
    disturbed[10:16, [0, 1, 3]] = True
    disturbed[200:206, 3] = True
    tilt, error = torch.zeros(300, 4), torch.zeros(300, 4, 2)
    tilt[12:40, 0] = 0.3
    error[10:, 1, 0] = 0.2
    tilt[206:226, 3] = 0.25
    valid = torch.ones_like(disturbed)
    found = recovery_times(disturbed, valid, tilt, error, 0.02).tolist()
    assert found[0] == pytest.approx(0.48)
    assert found[1] == math.inf
    assert math.isnan(found[2])
    assert found[3] == pytest.approx(0.4)
    valid[240:, 3] = False  # a fall, before a second of calm
    assert recovery_times(disturbed, valid, tilt, error, 0.02)[3] == math.inf


def test_the_response_to_a_sine_by_hand(robot: RobotSpec, walking: Walking) -> None:
    """The velocity has 0.6 of the command's amplitude and is 30 degrees late."""
    time = 0.02 * torch.arange(500)
    commands = torch.zeros(500, 2, 3)
    commands[..., 0] = (0.3 + 0.2 * torch.sin(2 * torch.pi * 0.5 * time))[:, None]
    qvel = torch.zeros(500, 2, 14)
    late = 2 * torch.pi * 0.5 * time - math.radians(30.0)
    qvel[..., 0] = (0.25 + 0.12 * torch.sin(late))[:, None]
    found = numbers(replace(walking(qvel=qvel), commands=commands), robot)
    assert found["command_gain"] == pytest.approx([0.6, 0.6], abs=1e-4)
    assert found["command_lag"] == pytest.approx([30.0, 30.0], abs=0.01)


def test_turning_by_hand(robot: RobotSpec, walking: Walking) -> None:
    """0.3 of 0.5 rad/s to the left, 0.1 rad/s to the right in place of 0.5: 0.6 and 0.2 of it."""
    qvel = torch.zeros(500, 2, 14)
    qvel[:, 0, 5], qvel[:, 1, 5] = 0.3, -0.1
    qpos = walking().qpos
    qpos[..., 3:7] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    commands = torch.zeros(500, 2, 3)
    commands[..., 2] = torch.tensor([0.5, -0.5])
    found = numbers(replace(walking(qvel=qvel, qpos=qpos), commands=commands), robot)
    assert found["turn_share"] == pytest.approx([0.6, 0.2])
    assert found["turn_error"] == pytest.approx([0.2, 0.4])
    assert found["turn_rate"] == pytest.approx([0.3, -0.1])


def test_numbers_that_are_not_finite_measure_nothing(robot: RobotSpec, walking: Walking) -> None:
    torque = torch.full((500, 2, 8), 2.0)
    torque[300, 0, 3] = torch.nan
    found = numbers(walking(torque=torque), robot)
    assert math.isnan(found["distance"][0]) and math.isnan(found["power"][0])
    assert found["power"][1] > 0.0
    assert found["fallen"] == [0, 0]
