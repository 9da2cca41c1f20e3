"""One position servo for each joint, with the limits that its MJCF states."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np

from envs.robot.completion.work import Work
from envs.robot.description import FILE_NAME, JointDescription
from envs.robot.drives import Drive, drive_of

HELD_GROUP = 1
"""Actuator group of servos that hold home; the driven ones are in group 0."""


def servo_of(work: Work, model: mujoco.MjModel, name: str) -> Drive:
    """The position servo of a joint, with the gains and the torque that robot.yaml gives it."""
    told = work.description.joints.get(name)
    drive = drive_of(model, model.joint(name).id)
    remedy = (
        "give kp and kv of the servo under joints in robot.yaml"
        if told is not None
        else "put it under fixed"
    )
    if told is not None and told.kp is not None:
        drive = replace(drive, kp=told.kp, kv=told.kv or 0.0, targets=None)
    else:
        for index, law in zip(drive.actuators, drive.laws, strict=True):
            gain, bias = float(model.actuator_gainprm[index, 0]), model.actuator_biasprm[index]
            work.require(
                law in ("position", "velocity"),
                f"actuator of joint {name!r} is no position servo (its force is {gain:g} ctrl "
                f"{bias[0]:+g} {bias[1]:+g} q {bias[2]:+g} qd); {remedy}",
            )
            if law == "position" and (model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_NONE):
                time = float(model.actuator_dynprm[index, 0])
                work.notes.append(f"the time constant of {name}'s servo, {time:g} s, is left out")
        work.require(
            drive.laws.count("position") <= 1, f"joint {name!r} has two position servos; keep one"
        )
    work.require(drive.kp > 0.0, f"joint {name!r} has no servo; {remedy}")
    if told is not None and told.max_torque is not None:
        most, given = drive.torque, told.max_torque
        work.require(
            most is None or given <= most * (1 + 1e-4),
            f"joints.{name}.max_torque is {given:g} N m, more than the model's {most or 0:g} N m",
        )
        drive = replace(drive, torque=given)
    return drive


def set_joints(
    work: Work, model: mujoco.MjModel, servos: dict[str, Drive], home: dict[str, float]
) -> dict[str, JointDescription]:
    """One position servo for each joint, driven ones first; the joints with their limits."""
    joints: dict[str, JointDescription] = {}
    for name, told in work.description.joints.items():
        servo, index = servos[name], model.joint(name).id
        stops = tuple(map(float, model.jnt_range[index])) if model.jnt_limited[index] else None
        low, high = told.range or stops or servo.targets or (0.0, 0.0)
        work.require(low < high, f"joint {name!r} has no limits; give its range [rad] in "
                     f"{FILE_NAME}, or the MJCF a range")  # fmt: skip
        if stops is not None and told.range is not None:
            work.require(
                stops[0] - 1e-5 <= low and high <= stops[1] + 1e-5,
                f"joints.{name}.range is [{low:g}, {high:g}] rad, beyond the model's stops "
                f"[{stops[0]:.6f}, {stops[1]:.6f}] rad",
            )
        if servo.targets is not None:
            inner = max(low, servo.targets[0]), min(high, servo.targets[1])
            work.require(inner[0] < inner[1], f"joint {name!r} ranges over [{low:g}, {high:g}] rad "
                         f"and its servo over {list(servo.targets)}: nothing is left")  # fmt: skip
            if inner[0] > low + 1e-5 or inner[1] < high - 1e-5:
                work.notes.append(f"{name} goes from {inner[0]:.3f} to {inner[1]:.3f} rad, as far "
                                  "as its servo may be told")  # fmt: skip
            low, high = inner
        work.require(
            servo.torque is not None,
            f"joint {name!r} has a servo without a torque limit; give its max_torque in "
            f"{FILE_NAME}, or the MJCF a forcerange",
        )
        assert servo.torque is not None
        work.require(
            low - 1e-6 <= home[name] <= high + 1e-6,
            f"home puts {name} at {home[name]:.6f} rad, outside its range [{low:.6f}, {high:.6f}] "
            "rad",
        )
        if stops is None:
            joint = work.spec.joint(name)
            joint.limited, joint.range = True, _in_file_units(work.spec, low, high)
        torque = (-servo.torque, servo.torque)
        if model.jnt_actfrclimited[index]:  # the lower of both limits is the servo's
            work.spec.joint(name).actfrcrange = list(torque)
        bias = [0.0, -servo.kp, -servo.kv]
        _add_servo(work.spec, name, servo.kp, bias, torque, (low, high), 0)
        joints[name] = replace(told, range=(low, high), max_torque=servo.torque, kp=None, kv=None)
    for name in work.description.held:
        # Its target is part of the servo: there is nothing to be told.
        servo = servos[name]
        bias = [servo.kp * home[name], -servo.kp, -servo.kv]
        torque = None if servo.torque is None else (-servo.torque, servo.torque)
        _add_servo(work.spec, name, 0.0, bias, torque, None, HELD_GROUP)
    if work.description.held:
        work.notes.append(f"held at home by their servos: {', '.join(work.description.held)}")
    return joints


def _in_file_units(spec: mujoco.MjSpec, low: float, high: float) -> list[float]:
    factor = np.degrees(1.0) if spec.compiler.degree else 1.0
    return [low * factor, high * factor]


def _add_servo(
    spec: mujoco.MjSpec, joint: str, gain: float, bias: list[float],
    torque: tuple[float, float] | None, targets: tuple[float, float] | None, group: int,
) -> None:  # fmt: skip
    """An actuator of which no field is left to the file's defaults."""
    spec.add_actuator(
        name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, gear=[1, 0, 0, 0, 0, 0],
        gaintype=mujoco.mjtGain.mjGAIN_FIXED, gainprm=[gain] + [0.0] * 9,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE, biasprm=[*bias] + [0.0] * 7,
        dyntype=mujoco.mjtDyn.mjDYN_NONE, dynprm=[1.0] + [0.0] * 9,
        ctrllimited=targets is not None, ctrlrange=list(targets or (0.0, 0.0)), inheritrange=0.0,
        forcelimited=torque is not None, forcerange=list(torque or (0.0, 0.0)),
        actlimited=False, actdim=-1, delay=0.0, nsample=0, group=group,
    )  # fmt: skip
    made = spec.actuators[-1]
    for name in ("armature", "damping"):
        value = np.zeros_like(np.asarray(getattr(made, name), dtype=float))
        setattr(made, name, value if value.ndim else 0.0)
