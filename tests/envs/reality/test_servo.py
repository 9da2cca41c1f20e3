"""Servo laws against hand-worked numbers.

The packaged robot's servo: kp 21.1 N m/rad, kv 0.5 N m s/rad, at most 4 N m; stall torque 4.41 N m,
5.82 rad/s without load.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from envs.reality.servo import Drive, ServoConfig, drive, torque_limit, with_motor
from envs.robot.bam import BamServo
from envs.robot.spec import RobotSpec


def joints(value: float) -> Tensor:
    """The same value (1, 8) for each joint."""
    return torch.full((1, 8), value)


def limit(robot: RobotSpec, speed: float, **drawn: float) -> float:
    """Torque limit [N m] of the envelope at a speed [rad/s]."""
    terms = {name: joints(value) for name, value in drawn.items()}
    return torque_limit(joints(speed), terms, robot, "envelope")[0, 0].item()


@pytest.mark.parametrize(
    ("speed", "torque"),
    [
        (0.0, 4.0),  # 4.41 at rest, of which the electronics allow 4
        (0.5411, 4.0),  # the knee: 4.41 (1 - 0.5411 / 5.82) = 4.0
        (1.164, 3.528),  # 4.41 * 0.8
        (2.91, 2.205),  # half the speed, half the stall torque
        (5.82, 0.0),
        (9.0, 0.0),
        (-3.0, 4.0),  # braking
    ],
)
def test_envelope_at_nominal_voltage(robot: RobotSpec, speed: float, torque: float) -> None:
    assert limit(robot, speed) == pytest.approx(torque, abs=1e-4)


@pytest.mark.parametrize(
    ("speed", "drawn", "torque"),
    [
        (0.0, {"voltage": 0.9}, 3.969),  # 4.41 * 0.9
        (2.91, {"voltage": 0.9}, 1.764),  # 4.41 (0.9 - 0.5)
        (5.238, {"voltage": 0.9}, 0.0),  # 0.9 * 5.82
        (0.0, {"voltage": 1.1}, 4.0),
        (5.82, {"voltage": 1.1}, 0.441),
        (0.0, {"temperature": 40.0}, 3.8109),  # 4.41 / (1 + 0.00393 * 40)
        (2.91, {"temperature": 40.0}, 1.9055),
        (0.0, {"strength": 0.5}, 2.0),
        (2.91, {"strength": 0.5}, 1.1025),
    ],
)
def test_envelope_with_terms(
    robot: RobotSpec, speed: float, drawn: dict[str, float], torque: float
) -> None:
    assert limit(robot, speed, **drawn) == pytest.approx(torque, abs=2e-4)


def test_ideal_limit_is_the_same_at_all_speeds(robot: RobotSpec) -> None:
    assert (torque_limit(joints(9.0), {}, robot, "ideal") == 4.0).all()


def driven(
    robot: RobotSpec,
    *,
    target: float = 0.0,
    position: float = 0.0,
    speed: float = 0.0,
    motor: float = 0.0,
    limp: bool = False,
    model: str = "ideal",
    **drawn: float,
) -> tuple[Drive, float]:
    """What the engine is given, and the torque [N m] that its ideal servo then has."""
    terms = {name: joints(value) for name, value in drawn.items()}
    off = torch.ones(1, 8, dtype=torch.bool) if limp else None
    result = drive(
        joints(target), joints(position), joints(speed), joints(motor), off, terms,
        robot=robot, model=model, dt=0.004,
    )  # fmt: skip
    torque = robot.kp * (result.ctrl - position) - robot.kv * speed
    low, high = result.limits.unbind(-1)
    return result, torch.minimum(torch.maximum(torque, low), high)[0, 0].item()


def test_ideal_servo_is_the_engines(robot: RobotSpec) -> None:
    _, torque = driven(robot, target=0.1, speed=1.0)
    assert torque == pytest.approx(21.1 * 0.1 - 0.5, abs=1e-5)
    assert driven(robot, target=1.0)[1] == pytest.approx(4.0)
    assert driven(robot, target=-1.0)[1] == pytest.approx(-4.0)


def test_envelope_limits_the_direction_of_motion_and_not_the_brake(robot: RobotSpec) -> None:
    """At 2.91 rad/s forwards: 2.205 N m forwards, 4 N m backwards."""
    limits = driven(robot, speed=2.91, model="envelope")[0].limits
    assert limits[0, 0].tolist() == pytest.approx([-4.0, 2.205], abs=1e-4)
    limits = driven(robot, speed=-2.91, model="envelope")[0].limits
    assert limits[0, 0].tolist() == pytest.approx([-2.205, 4.0], abs=1e-4)


def test_gain_and_zero_error(robot: RobotSpec) -> None:
    assert driven(robot, target=0.1, gain=0.8)[1] == pytest.approx(0.8 * 2.11, abs=1e-5)
    assert driven(robot, target=0.1, zero_error=0.05)[1] == pytest.approx(21.1 * 0.15, abs=1e-5)


def test_a_joint_is_free_within_its_gap(robot: RobotSpec) -> None:
    """Gap of 0.2 rad; the motor travels 5.82 rad/s * 4 ms = 0.0233 rad and touches no side."""
    result, torque = driven(robot, target=1.0, backlash=0.2)
    assert torque == 0.0
    assert result.motor[0, 0].item() == pytest.approx(0.02328, abs=1e-5)
    # The encoder is on the motor.
    assert result.encoder_offset[0, 0].item() == pytest.approx(0.02328, abs=1e-5)


def test_a_motor_at_the_end_of_its_gap_pushes_one_way(robot: RobotSpec) -> None:
    """A motor 0.01 rad ahead pushes forwards with kp (target - motor), and never pulls."""
    result, torque = driven(robot, target=0.06, motor=0.01, backlash=0.02)
    assert torque == pytest.approx(21.1 * 0.05, abs=1e-5)
    assert result.limits[0, 0].tolist() == pytest.approx([0.0, 4.0])
    # The joint flies ahead of its target: the ideal servo would pull back with 0.84 N m.
    assert driven(robot, target=0.06, motor=0.01, speed=4.0, backlash=0.02)[1] == 0.0
    result, torque = driven(robot, target=-0.06, motor=-0.01, backlash=0.02)
    assert torque == pytest.approx(-21.1 * 0.05, abs=1e-5)
    assert result.limits[0, 0].tolist() == pytest.approx([-4.0, 0.0])


def test_a_joint_carries_its_motor_along(robot: RobotSpec) -> None:
    """A joint that moved away 0.5 rad has the motor at the near side of the gap."""
    result, _ = driven(robot, position=0.5, motor=0.0, backlash=0.02)
    assert result.motor[0, 0].item() == pytest.approx(0.49, abs=1e-6)


def test_a_limp_motor_stays_where_it_is(robot: RobotSpec) -> None:
    result, torque = driven(robot, target=1.0, limp=True, backlash=0.2)
    assert torque == 0.0 and result.motor[0, 0].item() == 0.0
    assert driven(robot, target=1.0, limp=True)[1] == 0.0


def test_compliance_is_a_spring_behind_the_encoder(robot: RobotSpec) -> None:
    """0.02 rad/(N m): stiffness 21.1 / (1 + 21.1 * 0.02) = 14.838; the encoder sees the motor."""
    result, torque = driven(robot, target=0.1, compliance=0.02)
    assert torque == pytest.approx(1.4838, abs=1e-4)
    encoder = result.encoder_offset[0, 0].item()
    assert encoder == pytest.approx(1.4838 * 0.02, abs=1e-5)
    # The controller's own law, with what its encoder says.
    assert torque == pytest.approx(21.1 * (0.1 - encoder), abs=1e-4)
    # At the limit the spring is wound by 4 N m.
    result, torque = driven(robot, target=1.0, compliance=0.02)
    assert torque == pytest.approx(4.0)
    assert result.encoder_offset[0, 0].item() == pytest.approx(0.08, abs=1e-6)


def test_config_takes_the_robots_numbers_where_it_has_none(robot: RobotSpec) -> None:
    own = ServoConfig(model="robot").of(robot.servo)
    assert own.model == "envelope"
    assert own.count == pytest.approx(0.24 * torch.pi / 180, abs=1e-6)
    assert own.deadband == pytest.approx(0.72 * torch.pi / 180, abs=1e-6)
    assert own.travel_time == 0.02
    ideal = ServoConfig(model="ideal", deadband=0.01).of(robot.servo)
    assert (ideal.count, ideal.deadband, ideal.travel_time) == (0.0, 0.01, 0.0)


# BAM: kt 2 N m/A, 4 ohm, 12 V: 6 N m at rest, 6 rad/s without load, back-EMF kt^2 / R = 1.


@pytest.fixture
def bam_servo(robot: RobotSpec) -> RobotSpec:
    """The robot with this motor, and electronics that allow 5 N m."""
    strong = replace(
        robot,
        servo=replace(robot.servo, voltage=12.0),
        torque_limit=torch.full_like(robot.torque_limit, 5.0),
    )
    return with_motor(strong, BamServo(2.0, 4.0, armature=0.02, viscous=0.0, coulomb=0.0))


@pytest.mark.parametrize(
    ("state", "torque"),
    [
        ({"target": 0.1}, 2.11),
        ({"target": 0.1, "speed": 1.0}, 2.11 - 1.0),
        ({"target": 1.0}, 5.0),  # 6 N m, of which the electronics allow 5
        ({"target": 1.0, "speed": 3.0}, 3.0),  # full voltage: 6 (1 - 3 / 6)
        ({"target": 1.0, "speed": 6.0}, 0.0),
        ({"target": 1.0, "speed": 7.0}, -1.0),  # back-EMF above the supply
        ({"target": -1.0, "speed": 3.0}, -5.0),  # braking with full voltage: -9
        ({"target": 0.1, "voltage": 0.5}, 1.055),  # half the volts for the same error
        ({"target": 1.0, "voltage": 0.5}, 3.0),
        ({"target": 1.0, "speed": 3.0, "voltage": 0.5}, 0.0),
        # 100 K: 1.393 times the resistance.
        ({"target": 0.1, "temperature": 100.0}, 2.11 / 1.393),
        ({"target": 0.1, "speed": 1.0, "temperature": 100.0}, 1.11 / 1.393),
        ({"target": 1.0, "temperature": 100.0}, 6.0 / 1.393),
        ({"target": 1.0, "limp": True}, 0.0),
    ],
)
def test_bam_voltage_law(bam_servo: RobotSpec, state: dict[str, Any], torque: float) -> None:
    assert driven(bam_servo, model="bam", **state)[1] == pytest.approx(torque, abs=1e-4)


def test_a_bam_motor_in_its_gap_never_pulls(bam_servo: RobotSpec) -> None:
    """Beyond its speed without load it would brake, but it only touches the side it pushes."""
    _, torque = driven(bam_servo, model="bam", target=1.0, motor=0.01, speed=7.0, backlash=0.02)
    assert torque == 0.0
