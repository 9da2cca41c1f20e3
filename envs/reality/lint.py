"""Refuses, before physics starts, randomisation and faults that would change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import torch
from torch import Tensor

from envs.errors import UserError
from envs.reality.randomization import (
    TERMS,
    Term,
    columns,
    model_values,
    sliding_geoms,
)
from envs.reality.sensors import WHITE_NOISE
from envs.robot.spec import RobotSpec

if TYPE_CHECKING:
    from envs.config import LocomotionConfig

SERVO_FIELDS = ("actuator_forcerange",)
"""Fields of the engine's model that servos write in each update."""

BAM_FIELDS = ("dof_frictionloss", "dof_damping", "actuator_biasprm")
"""Fields that a servo of model bam has from its file, besides."""

_REMEDIES = {
    "voltage": "the servo model is ideal; set servo.model to envelope or bam",
    "switch": "no foot switch is observed; observe the profile switches",
    "imu": "no reading of the IMU is observed; observe the profile robot or switches",
    "gyro": "imu_angvel is not observed; observe the profile robot or switches",
    "gravity": "imu_gravity is not observed; observe the profile robot or switches",
    "heading": "no heading error is observed; observe the profile robot, with command.heading_hold",
    "encoder": "no reading of an encoder is observed; observe the profile robot or switches",
}


def require_effects(config: LocomotionConfig, robot: RobotSpec, model: mujoco.MjModel) -> None:
    """Refuse a term or a fault of a task that would change nothing in it.

    Args:
        config: the task.
        robot: the robot, on the CPU.
        model: its compiled model.

    Raises:
        UserError: names the first such setting, and says why it is idle.
    """
    readers = {"model", "floor", "servo", "command"} | config.observation.readers
    if not config.command.heading_hold:
        readers.discard("heading")
    if readers & {"gyro", "gravity", "heading"}:
        readers.add("imu")
    servo = config.servo.of(robot.servo).model
    if servo != "ideal":
        readers.add("voltage")
    ranges = config.randomization.active()
    for name, draw in ranges.items():
        term = TERMS[name]
        why = _REMEDIES[term.reader] if term.reader not in readers else None
        if servo == "bam" and (own := [f for f in term.model_fields if f in BAM_FIELDS]):
            why = f"a servo of model bam has {', '.join(own)} from its file"
        if why is None and term.reader == "model":
            why = idle_in_model(name, term, draw.bounds(term.neutral), robot, model)
        if why is not None:
            raise UserError(f"randomization.{name} changes nothing: {why}, or leave it out")
    if config.faults.burst_interval_s and not set(WHITE_NOISE) & set(ranges):
        raise UserError(
            f"faults.burst_interval_s is {config.faults.burst_interval_s} s, but there is no noise "
            f"to enlarge; set a range of randomization.{', '.join(WHITE_NOISE)}, or 0"
        )


def idle_in_model(
    name: str,
    term: Term,
    bounds: tuple[float, float],
    robot: RobotSpec,
    model: mujoco.MjModel,
) -> str | None:
    """Why a term with these bounds leaves the model as it is; None if it changes it."""
    if overwritten := [field for field in term.model_fields if field in SERVO_FIELDS]:
        return f"the servo writes {', '.join(overwritten)} itself; randomise strength"
    defaults = {field: _default(model, field) for field in term.model_fields}
    for value in bounds:
        drawn = {name: torch.full((1, columns(term, robot, model.nbody)), value)}
        changed = model_values(defaults, drawn, robot, sliding_geoms(model))
        if any(not torch.equal(changed[field][0], defaults[field]) for field in defaults):
            return None
    return f"this robot has nothing to {term.operation} in {', '.join(term.model_fields)}"


def _default(model: mujoco.MjModel, field: str) -> Tensor:
    owner = model.opt if field.startswith("opt.") else model
    return torch.from_numpy(getattr(owner, field.removeprefix("opt.")).copy())
