"""The safety layer: who may hold it, when it lets a robot move, and what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.drill import DT, HIGH, HOME, LOW, NAMES, ScriptedRobot, contract
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.safety import NotReadyError, SafeRobot


def held(robot: Any, calibration: Calibration | None = None) -> SafeRobot:
    calibration = calibration or Calibration.identity(NAMES)
    return SafeRobot(robot, calibration, contract(), SafetyLimits.load())


def ticks(safe: SafeRobot, robot: ScriptedRobot, count: int, targets: Array = HOME) -> None:
    for _ in range(count):
        safe.read()
        safe.apply(targets, robot.now)
        robot.pass_time(DT)


def test_holding_a_robot_moves_nothing() -> None:
    robot = ScriptedRobot()
    safe = held(robot)
    assert safe.state == "off" and safe.not_ready
    with pytest.raises(NotReadyError, match="no sample"):
        safe.arm()
    ticks(safe, robot, 20)
    assert not robot.written and not safe.not_ready and not safe.events


def test_hardware_calibration_and_policy_must_be_of_one_robot() -> None:
    robot, made = ScriptedRobot(), contract()
    other = Calibration.identity(("knee", "hip", "ankle", "toe"))
    with pytest.raises(UserError, match="calibrate this robot"):
        held(robot, other)
    swapped = replace(Calibration.identity(NAMES), order=(1, 0, 2, 3))
    with pytest.raises(UserError, match="servo 1 moves hip, the hardware calls it knee"):
        held(robot, swapped)
    few = Calibration.identity(NAMES[:3])
    made = replace(made, joint_names=NAMES[:3])
    with pytest.raises(UserError, match="has 4 servos"):
        SafeRobot(robot, few, made, SafetyLimits.load())


def test_what_is_latched_needs_a_reset_and_the_gate_again() -> None:
    robot = ScriptedRobot()
    safe = held(robot)
    with pytest.raises(NotReadyError, match="only a released robot"):
        safe.reset()
    ticks(safe, robot, 10)
    safe.arm()
    with pytest.raises(NotReadyError, match="ready"):
        safe.arm()
    ticks(safe, robot, 150)
    assert safe.state == "running"
    robot.pitch = math.radians(70.0)
    safe.read()
    assert safe.state == "damped" and robot.released
    robot.pitch = 0.0
    sent = len(robot.written)
    ticks(safe, robot, 50)
    assert safe.state == "damped" and len(robot.written) == sent and robot.released > 50
    with pytest.raises(NotReadyError, match="reset it first"):
        safe.arm()
    safe.reset()
    with pytest.raises(NotReadyError, match="cannot start"):
        safe.arm()
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 150)
    assert safe.state == "running"
    last = next(event for event in safe.events if event.response == "released")
    assert (last.rule, last.limit) == ("tilted", 60.0)
    assert last.value == pytest.approx(70.0) and "limit 60" in str(last)
    safe.close()
    assert safe.state == "damped"


def test_while_it_gets_ready_only_the_first_request_counts() -> None:
    robot = ScriptedRobot()
    safe = held(robot)
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 1, HOME + 0.1)
    ticks(safe, robot, 110, HOME - 0.1)
    assert safe.state == "ready"
    assert robot.written[-1] == pytest.approx(HOME + 0.1)


def test_servos_get_their_own_order_signs_and_zeros() -> None:
    class Mounted(ScriptedRobot):
        """Its knee and hip servos are exchanged, the toe's turns the other way."""

        joint_names = ("knee", "hip", "ankle", "toe")

        def read(self) -> Sample:
            sample = super().read()
            position = sample.position[[1, 0, 2, 3]] * np.array([1, 1, 1, -1]) + 0.1
            return replace(sample, position=position)

        def write(self, targets: Array) -> None:
            self.raw = targets
            joint_pos = (targets - 0.1) * np.array([1, 1, 1, -1])
            super().write(joint_pos[[1, 0, 2, 3]])

    robot = Mounted()
    calibration = replace(
        Calibration.identity(NAMES),
        order=(1, 0, 2, 3), sign=np.array([1.0, 1.0, 1.0, -1.0]), zero=np.full(4, 0.1),
    )  # fmt: skip
    safe = held(robot, calibration)
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 200, np.array([0.2, 0.4, -0.2, 0.3]))
    assert safe.state == "running"
    assert robot.raw == pytest.approx([0.5, 0.3, -0.1, -0.2])
    assert robot.position == pytest.approx([0.2, 0.4, -0.2, 0.3])


def test_what_servos_do_not_report_is_said_and_stops_nothing() -> None:
    class Plain(ScriptedRobot):
        def read(self) -> Sample:
            nothing = np.full(len(NAMES), np.nan)
            return replace(super().read(), voltage=nothing, temperature=nothing)

    robot = Plain()
    safe = held(robot)
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 150)
    assert safe.state == "running"
    said = [event.what for event in safe.events if event.response == "warned"]
    assert said == ["no voltage is reported", "no temperature is reported"]


def test_targets_are_within_every_limit_whatever_is_requested() -> None:
    random, robot = np.random.default_rng(0), ScriptedRobot()
    safe, limits = held(robot), SafetyLimits.load()
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 150)
    last = robot.written[-1]
    for _ in range(500):
        read = safe.read().joint_pos
        size = 10.0 ** random.uniform(-3, 6)
        safe.apply(size * random.standard_normal(4), robot.now)
        sent = robot.written[-1]
        assert (sent >= LOW).all() and (sent <= HIGH).all()
        torque = limits.servo_gain_nm_rad * np.abs(sent - read)
        assert torque.max() <= limits.torque_nm + 1e-9
        assert np.abs(sent - last).max() <= limits.servo_speed_rad_s * DT + 1e-9
        last = sent
        robot.pass_time(DT)
    assert safe.state == "running"


def test_a_nudge_moves_one_joint_and_brings_it_back() -> None:
    robot = ScriptedRobot()
    safe = held(robot)
    ticks(safe, robot, 10)
    begun, angle = robot.position.copy(), math.radians(2.0)
    moved, seen = safe.nudge(1, angle, robot.pass_time, lambda: robot.position.copy())
    assert safe.state == "ready"
    assert moved == pytest.approx([0.0, angle, 0.0, 0.0], abs=0.005)
    assert seen - begun == pytest.approx([0.0, angle, 0.0, 0.0], abs=0.005)
    assert robot.position == pytest.approx(begun, abs=0.005)
    speed = np.abs(np.diff(np.array(robot.written), axis=0)).max() / DT
    assert speed < 0.2
    with pytest.raises(UserError, match="allowed: 3 to either side"):
        safe.nudge(1, math.radians(3.1), robot.pass_time, lambda: None)
    safe.let_go()
    assert safe.state == "off" and robot.released == 1
    with pytest.raises(NotReadyError):
        safe.let_go()
    with pytest.raises(NotReadyError, match="cannot start"):
        safe.nudge(1, angle, robot.pass_time, lambda: None)


def test_the_rules_hold_during_a_nudge() -> None:
    robot = ScriptedRobot()
    safe = held(robot)
    ticks(safe, robot, 10)

    def fall(seconds: float) -> None:
        robot.pass_time(seconds)
        robot.pitch = math.radians(61.0)

    with pytest.raises(NotReadyError, match="tilted"):
        safe.nudge(0, 0.03, fall, lambda: None)
    assert safe.state == "damped" and robot.released


class Stuck(ScriptedRobot):
    """Its first joint is always read at home, at the time it is."""

    def read(self) -> Sample:
        sample = super().read()
        position = sample.position.copy()
        position[0] = HOME[0]
        return replace(sample, position=position)


def test_a_joint_may_stay_where_it_is_until_it_is_asked_to_move() -> None:
    robot = Stuck()
    safe = held(robot)
    ticks(safe, robot, 10)
    safe.arm()
    ticks(safe, robot, 250)
    away = HOME.copy()
    away[0] += 0.2
    ticks(safe, robot, 8, away)  # 0.16 s after it stood still for seconds
    assert safe.state == "running"
    ticks(safe, robot, 10, away)
    assert safe.state == "damped" and safe.events[-1].rule == "joints_frozen"
