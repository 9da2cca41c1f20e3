"""Servos: the torque that a position servo really has, its gap, its spring and its encoder.

The engine's servo is ideal: torque = clip(kp (ctrl - q) - kv qd, limits). `drive` turns the servo's
own target into the engine's `ctrl` and limits, so that this torque is what the real servo's would
be. It is a pure function of tensors, is called `UPDATES_PER_STEP` times in a control step, and is
the same for both engines.

    target -> zero error -> position controller -> torque limit of the law -> gap -> spring -> joint
                                  ^ encoder, on the motor's side of gap and spring
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from envs.errors import UserError
from envs.robot.bam import BamServo
from envs.robot.spec import RobotSpec, ServoSpec
from envs.settings import NonNegativeFloat, check

UPDATES_PER_STEP = 5
"""Number of times servos and the harness are computed in a control step; divides the decimation."""

COPPER = 0.00393
"""Growth of copper's resistance [1/K] at 20 C; the windings' torque at rest falls with it."""


@dataclass(frozen=True, kw_only=True)
class ServoConfig:
    """Which servo is simulated; null takes the value of robot.yaml."""

    model: Literal["robot", "ideal", "envelope", "bam"] = "robot"
    """The servo's law: robot is that of robot.yaml; ideal has the same torque limit at all speeds;
    envelope has a limit that falls with speed; bam has the motor and the friction of the BAM file
    that robot.yaml names."""
    count: NonNegativeFloat | None = None
    """Smallest step of readings and targets [rad]; 0 for none."""
    deadband: NonNegativeFloat | None = None
    """A target nearer than this to the last one is not sent [rad]."""
    travel_time: NonNegativeFloat | None = None
    """Time in which the servo's own target travels to a new one [s]."""

    def __post_init__(self) -> None:
        check(self)

    def of(self, servo: ServoSpec) -> ServoConfig:
        """The same with nothing left to robot.yaml. An ideal servo has no steps unless given.

        Raises:
            UserError: the model is bam, and robot.yaml names no file for it.
        """
        model = servo.model if self.model == "robot" else self.model
        if model == "bam" and servo.bam is None:
            raise UserError(
                "servo.model is bam, but the robot's robot.yaml names no file of BAM parameters; "
                "name one in its servo.bam"
            )

        def value(name: str) -> float:
            own = getattr(self, name)
            return own if own is not None else 0.0 if model == "ideal" else getattr(servo, name)

        return ServoConfig(
            model=model,
            count=value("count"),
            deadband=value("deadband"),
            travel_time=value("travel_time"),
        )


@dataclass(frozen=True)
class Drive:
    """What the engine is given for E robots of J joints."""

    ctrl: Tensor
    """(E, J) [rad]: target of the engine's ideal servo."""
    limits: Tensor
    """(E, J, 2) [N m]: lowest and highest torque."""
    motor: Tensor
    """(E, J) [rad]: the motor's side of the gap, as a joint angle."""
    encoder_offset: Tensor
    """(E, J) [rad]: what the encoder sees minus the joint's angle, before counts and zero error."""


def torque_limit(
    speed: Tensor, drawn: Mapping[str, Tensor], robot: RobotSpec, model: str
) -> Tensor:
    """Largest torque (E, J) [N m] in a direction in which the joint moves at `speed` (E, J).

    A motor on a voltage V has torque stall (V / rated - speed / no_load), cut at the limit of the
    servo's electronics, `max_torque`; warm windings have less torque at rest and the same speed
    without load. Speeds are [rad/s], negative while the motor brakes. Beyond its speed without load
    a motor of model bam brakes, because its back-EMF is above the supply: the value is negative.
    """
    most = robot.torque_limit.expand_as(speed)
    limit = most
    if model != "ideal":
        voltage = drawn.get("voltage", 1.0)
        stall = robot.servo.stall_torque / heating(drawn)
        line = stall * (voltage - speed / robot.servo.no_load_speed)
        limit = torch.minimum(most, line)
        limit = torch.maximum(limit, -most) if model == "bam" else limit.clamp(min=0.0)
    return limit * drawn["strength"] if "strength" in drawn else limit


def heating(drawn: Mapping[str, Tensor]) -> float | Tensor:
    """Resistance of the windings over that at 25 C, (E, J) or 1."""
    return 1.0 + COPPER * drawn["temperature"] if "temperature" in drawn else 1.0


def with_motor(robot: RobotSpec, bam: BamServo) -> RobotSpec:
    """The robot with the motor of a BAM file: torque = kt / R (volts - kt speed).

    The volts are in proportion to the position error, so that the stiffness at rest is `kp`, and
    the supply limits them. So the torque is kp error - kt^2 / R speed, within an envelope.
    """
    kt, ohms, volts = bam.torque_constant, bam.resistance, robot.servo.voltage
    servo = replace(robot.servo, stall_torque=kt * volts / ohms, no_load_speed=volts / kt)
    return replace(robot, servo=servo, kv=torch.full_like(robot.kv, kt**2 / ohms))


def drive(
    target: Tensor,
    joint_pos: Tensor,
    joint_vel: Tensor,
    motor: Tensor,
    limp: Tensor | None,
    drawn: dict[str, Tensor],
    *,
    robot: RobotSpec,
    model: str,
    dt: float,
) -> Drive:
    """What the engine is given until the next update.

    The motor has no inertia of its own within the gap (the joint's armature has it): it moves there
    at its speed without load until a side of the gap stops it, and pushes that side alone. A limp
    motor stays where it is until the joint carries it along.

    Args:
        target: (E, J) [rad], the servo's own target.
        joint_pos: (E, J) [rad].
        joint_vel: (E, J) [rad/s].
        motor: (E, J) [rad], `Drive.motor` of the last update.
        limp: (E, J) bool, servos without torque; None for none.
        drawn: terms of this episode by name, see `envs.reality.randomization`.
        robot: the robot.
        model: the servo's law; for bam `robot` is one `with_motor`.
        dt: time until the next update [s].
    """
    high = torque_limit(joint_vel, drawn, robot, model)
    low = -torque_limit(-joint_vel, drawn, robot, model)
    if "zero_error" in drawn:
        target = target + drawn["zero_error"]
    if "backlash" in drawn:
        half = 0.5 * drawn["backlash"]
        reach = robot.servo.no_load_speed * dt
        step = (target - motor).clamp(-reach, reach)
        if limp is not None:
            step = step * ~limp
        motor = torch.minimum(torch.maximum(motor + step, joint_pos - half), joint_pos + half)
        # The motor ahead of the joint pushes it forwards, the motor behind it backwards.
        high = high.clamp(min=0.0) * (motor >= joint_pos + half - 1e-6)
        low = low.clamp(max=0.0) * (motor <= joint_pos - half + 1e-6)
    else:
        motor = joint_pos
    error = target - motor
    if "gain" in drawn:
        error = error * drawn["gain"]
    if model == "bam":
        # The firmware sets a share of the supply's voltage; resistance turns volts into torque.
        heat = heating(drawn)
        error = error * drawn.get("voltage", 1.0) / heat
        error = error + robot.kv / robot.kp * (1.0 - 1.0 / heat) * joint_vel
    offset = motor - joint_pos
    if "compliance" in drawn:
        gain = robot.kp * drawn["gain"] if "gain" in drawn else robot.kp
        error = error / (1.0 + gain * drawn["compliance"])
        torque = robot.kp * error - robot.kv * joint_vel
        torque = torch.minimum(torch.maximum(torque, low), high)
        offset = offset + torque * drawn["compliance"]
    if limp is not None:
        high, low = high * ~limp, low * ~limp
    return Drive(joint_pos + error, torch.stack([low, high], dim=-1), motor, offset)
