"""A stranger's MJCF, completed: what its robot.yaml needs and the file has not is added in memory.

A model of this project has a floor, soles and an IMU as sites, sensors for all that is measured,
servos in the order of the policy, and a keyframe `home`. Other people's models have some of it, in
their own words. `complete` turns theirs into ours by MuJoCo's model editing and says what it did.
The file is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import mujoco
import numpy as np

from envs.robot.consistency import IMU_SITE, ROOT_SITE, sensor_words
from envs.robot.description import (
    FILE_NAME,
    FootDescription,
    JointDescription,
    RobotDescription,
    RobotDescriptionError,
)
from envs.robot.legs import joints_above
from envs.robot.soles import colliding_geoms, lowest_point
from envs.robot.spec import FEET, SIDES, ServoSpec

FLOOR = "floor"
HELD_GROUP = 1
"""Actuator group of servos that hold home; the driven ones are in group 0."""

BURIED, FLOATING = 0.01, 0.02
"""Depth of the soles under the floor that a keyframe `home` is lifted by, and height over it that
is left as it is [m]."""
TURNED = np.radians(5.0)
"""An IMU's site that is turned by more than this against the root is given the root's axes."""

Array = np.ndarray
Notes = list[str]


@dataclass(frozen=True)
class Completed:
    """A model with all that this project needs, and its description with nothing left open."""

    model: mujoco.MjModel
    description: RobotDescription
    notes: tuple[str, ...]
    """What was added, derived or tolerated; a line each."""


@dataclass(frozen=True)
class _Servo:
    """What drives a joint, in the joint's own units."""

    kp: float
    kv: float
    torque: float | None
    """Largest [N m]; None without a limit."""
    targets: tuple[float, float] | None
    """Lowest and highest target [rad]; None without a limit."""


@dataclass
class _Work:
    """A model on its way to be completed."""

    spec: mujoco.MjSpec
    description: RobotDescription
    where: Path
    """robot.yaml, for messages."""
    notes: Notes = field(default_factory=list)

    def require(self, condition: object, message: str) -> None:
        if not condition:
            raise RobotDescriptionError(f"{self.where}: {message}")


def open_model(path: Path, notes: Notes | None = None) -> mujoco.MjSpec:
    """The editable model in an MJCF file, with a name for every body, joint and colliding geom.

    Meshes and textures whose files are missing are left out where they are for the eye only. A body
    without a name becomes `body<number>`, a joint `<body>_joint`, a geom `<body>_geom`; a number
    is appended where that is taken.

    Raises:
        RobotDescriptionError: no such file, or none that can be parsed.
    """
    notes = [] if notes is None else notes
    if not path.is_file():
        raise RobotDescriptionError(f"{path}: no such file; give the robot's MJCF")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise RobotDescriptionError(
            f"{path} cannot be read as MJCF: {' '.join(str(error).split())}"
        ) from error
    _drop_missing_files(spec, notes)
    _name_all(spec)
    return spec


def complete(
    spec: mujoco.MjSpec,
    description: RobotDescription,
    where: Path,
    lay_ground: Callable[[mujoco.MjSpec], None] = lambda spec: None,
) -> Completed:
    """Complete a model that `open_model` read; `spec` is changed.

    Args:
        spec: the model.
        description: of the robot, with `model`.
        where: its robot.yaml, for messages.
        lay_ground: replaces the floor, once there is one.

    Raises:
        RobotDescriptionError: model and description contradict each other, or something that only
            the user knows is missing.
    """
    work = _Work(spec, description, where)
    _set_options(spec)
    _check_root(work)
    model = spec.compile()
    _check_names(work, model)
    home, root = _home_of(work, model)
    servos = {
        name: _servo_of(work, model, name) for name in (*description.joints, *description.held)
    }
    for kind in (spec.keys, spec.sensors, spec.actuators):
        for element in list(kind):
            spec.delete(element)
    _fix_joints(work, model, home)
    root = _turn_root(work, root)
    joints = _set_joints(work, model, servos, home)
    _add_floor(work)
    lay_ground(spec)
    work.description = replace(work.description, joints=joints)
    model = spec.compile()
    posture = _posture(model, work.description, home, root)
    _add_soles(work, model, posture)
    _add_imu(work, model)
    work.description = _with_legs(work, model)
    work.description = _with_servo(work.description)
    _add_sensors(work)
    model = spec.compile()
    _add_home(work, model, posture, root)
    model = spec.compile()
    _report_contacts(work, model)
    work.description = replace(work.description, mass=float(model.body_mass.sum()))
    if (mass := description.mass) is not None:
        found = float(model.body_mass.sum())
        work.require(abs(mass - found) <= 1e-4 * found, f"mass is {mass:g} kg, and {found:.7g} kg "
                     "in the compiled model")  # fmt: skip
    return Completed(model, work.description, tuple(work.notes))


# Reading the file


def _drop_missing_files(spec: mujoco.MjSpec, notes: Notes) -> None:
    """Take out what is for the eye only and whose file is not there."""

    def missing(file: str, folder: str) -> bool:
        base = Path(spec.modelfiledir)
        return bool(file) and not any((base / f / file).is_file() for f in (folder, ""))

    lost = {mesh.name or Path(mesh.file).stem: mesh for mesh in spec.meshes
            if missing(mesh.file, spec.meshdir)}  # fmt: skip
    shown = [geom for geom in spec.geoms if geom.meshname in lost]
    needed = {geom.meshname for geom in shown if geom.contype or geom.conaffinity}
    for geom in shown:
        if geom.meshname not in needed:
            spec.delete(geom)
    for name, mesh in lost.items():
        if name not in needed:
            spec.delete(mesh)
    if dropped := len(lost) - len(needed & set(lost)):
        notes.append(f"{dropped} meshes for the eye are left out: their files are not there")
    for texture in [t for t in spec.textures if missing(t.file, spec.texturedir)]:
        for material in spec.materials:
            material.textures = ["" if name == texture.name else name for name in material.textures]
        spec.delete(texture)


def _name_all(spec: mujoco.MjSpec) -> None:
    for number, body in enumerate(spec.bodies):
        if not body.name and number:
            body.name = _free(f"body{number}", {other.name for other in spec.bodies})
    for kind, elements in (("joint", spec.joints), ("geom", spec.geoms)):
        taken = {element.name for element in elements}
        for element in elements:
            if not element.name:
                element.name = _free(f"{element.parent.name}_{kind}", taken)
                taken.add(element.name)


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name2, name3, ... that is not taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found


def _set_options(spec: mujoco.MjSpec) -> None:
    """What this project needs of the solver, whoever wrote the file."""
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE


# Names


def _check_root(work: _Work) -> None:
    spec, root = work.spec, work.description.root
    free = [j for j in spec.joints if j.type == mujoco.mjtJoint.mjJNT_FREE]
    work.require(free, "the model has no free joint: its base cannot fall; put <freejoint/> into "
                 f"the body {root.body!r}")  # fmt: skip
    body = spec.body(root.body)
    work.require(body is not None, f"root.body is {root.body!r}; allowed: the body with the free "
                 f"joint, {free[0].parent.name!r}")  # fmt: skip
    own = [joint for joint in free if joint.parent.name == root.body]
    work.require(own, f"root.body {root.body!r} has no free joint; {free[0].parent.name!r} has one")
    joint = own[0]
    work.require(root.joint in (None, joint.name), f"root.joint is {root.joint!r}; the free joint "
                 f"of {root.body!r} is {joint.name!r}")  # fmt: skip
    work.description = replace(work.description, root=replace(root, joint=joint.name))


def _check_names(work: _Work, model: mujoco.MjModel) -> None:
    description = work.description
    hinges = [
        model.joint(index).name
        for index in range(model.njnt)
        if model.jnt_type[index] != mujoco.mjtJoint.mjJNT_FREE
    ]
    listed = (*description.joints, *description.held, *description.fixed)
    for name in listed:
        work.require(name in hinges, f"the model has no joint {name!r}; it has {', '.join(hinges)}")
    for name in hinges:
        work.require(
            name in listed,
            f"the model's joint {name!r} is not mentioned; put it under joints (the policy drives "
            "it), held (its servo holds it at home) or fixed (it is taken out)",
        )
    for name in (*description.joints, *description.held):
        kind = model.jnt_type[model.joint(name).id]
        work.require(kind == mujoco.mjtJoint.mjJNT_HINGE, f"joint {name!r} is no hinge; put it "
                     "under fixed")  # fmt: skip
    for name in description.home or {}:
        work.require(name in hinges, f"home has {name!r}; allowed: {', '.join(hinges)}")
    bodies = [model.body(index).name for index in range(1, model.nbody)]
    for foot, told in description.feet.items():
        work.require(told.body in bodies, f"feet.{foot}.body is {told.body!r}; the model has "
                     f"{', '.join(bodies)}")  # fmt: skip
        geoms = colliding_geoms(model, model.body(told.body).id)
        work.require(len(geoms), f"feet.{foot}: body {told.body!r} has no geometry that collides; "
                     "give it a box, a capsule, spheres or a mesh under the sole")  # fmt: skip


# Home


def _home_of(work: _Work, model: mujoco.MjModel) -> tuple[dict[str, float], Array | None]:
    """Home angle of every hinge, and the root's pose (7,) where a keyframe has it."""
    told = work.description.home
    hinges = [i for i in range(model.njnt) if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE]
    if told is not None:
        return {model.joint(i).name: float(told.get(model.joint(i).name, 0.0))
                for i in hinges}, None  # fmt: skip
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home")
    names = ", ".join(model.key(i).name for i in range(model.nkey)) or "none"
    work.require(key >= 0, f"there is no home pose: give home in {FILE_NAME}, joint -> angle, "
                 f"or the MJCF a keyframe 'home' (it has {names})")  # fmt: skip
    qpos = model.key_qpos[key]
    free = model.jnt_qposadr[model.joint(work.description.root.joint).id]
    return {model.joint(i).name: float(qpos[model.jnt_qposadr[i]])
            for i in hinges}, qpos[free : free + 7].copy()  # fmt: skip


def _posture(
    model: mujoco.MjModel, description: RobotDescription, home: dict[str, float],
    root: Array | None,
) -> mujoco.MjData:  # fmt: skip
    """Home with the root at the origin, upright or as the keyframe has it; positions only."""
    data = mujoco.MjData(model)
    start = model.jnt_qposadr[model.joint(description.root.joint).id]
    data.qpos[start : start + 7] = [0, 0, 0, 1, 0, 0, 0]
    if root is not None:
        data.qpos[start + 3 : start + 7] = root[3:]
    for index in range(model.njnt):
        if model.jnt_type[index] != mujoco.mjtJoint.mjJNT_FREE:
            data.qpos[model.jnt_qposadr[index]] = home[model.joint(index).name]
    mujoco.mj_kinematics(model, data)
    return data


def _add_home(
    work: _Work, model: mujoco.MjModel, posture: mujoco.MjData, root: Array | None
) -> None:
    """Keyframe `home`: as it was where its soles are on the floor; else the soles are put there."""
    description = work.description
    data = mujoco.MjData(model)
    data.qpos[:] = posture.qpos
    start = model.jnt_qposadr[model.joint(description.root.joint).id]
    sites = [model.site(foot.site).id for foot in description.feet.values()]
    if root is not None:
        data.qpos[start : start + 3] = root[:3]
    mujoco.mj_kinematics(model, data)
    if root is None:
        # Upright joints may leave the soles at an angle, which then is the root's.
        up = data.site_xmat[sites].reshape(-1, 3, 3)[:, :, 2].mean(0)
        pitch = float(np.arctan2(up[0], up[2]))
        if abs(pitch) > 1e-6:
            data.qpos[start + 3 : start + 7] = [np.cos(pitch / 2), 0, -np.sin(pitch / 2), 0]
            mujoco.mj_kinematics(model, data)
            work.notes.append(f"home leans by {np.degrees(-pitch):+.2f} deg, so that its soles are "
                              "level")  # fmt: skip
    lowest = float(data.site_xpos[sites, 2].min())
    if root is not None:
        work.require(
            lowest >= -BURIED,
            f"keyframe 'home' puts a sole {-1000 * lowest:.1f} mm under the floor; raise its root, "
            f"or give home in {FILE_NAME} and the root's height follows",
        )
        if -0.002 <= lowest <= FLOATING:
            lowest = 0.0
        else:
            way = "lowered" if lowest > 0.0 else "raised"
            work.notes.append(
                f"keyframe home is {way} by {1000 * abs(lowest):.1f} mm: its soles are on the "
                "floor now"
            )
    data.qpos[start + 2] -= lowest
    ctrl = [data.joint(name).qpos[0] for name in description.joints] + [0.0] * len(description.held)
    work.spec.add_key(name="home", qpos=data.qpos.tolist(), ctrl=ctrl)


# Joints and servos


def _servo_of(work: _Work, model: mujoco.MjModel, name: str) -> _Servo:
    """The position servo of a joint, gear and all, with the limits that its MJCF states."""
    told = work.description.joints.get(name)
    joint = model.joint(name).id
    driving = [
        index
        for index in range(model.nactuator)
        if model.actuator_trnid[index, 0] == joint
        and int(model.actuator_trntype[index])
        in (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
    ]
    torque = targets = None
    if model.jnt_actfrclimited[joint]:
        torque = float(np.abs(model.jnt_actfrcrange[joint]).min())
    kp = kv = 0.0
    remedy = (
        "give kp and kv of the servo under joints in robot.yaml"
        if told is not None
        else "put it under fixed"
    )
    for index in driving:
        gear = float(model.actuator_gear[index, 0])
        gain, bias = float(model.actuator_gainprm[index, 0]), model.actuator_biasprm[index]
        if model.actuator_forcelimited[index]:
            most = abs(gear) * float(np.abs(model.actuator_forcerange[index]).min())
            torque = most if torque is None else min(torque, most)
        if told is not None and told.kp is not None:
            # A motor's torque is what it may be told.
            pushes = model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_NONE
            if pushes and model.actuator_ctrllimited[index]:
                span = float(np.abs(model.actuator_ctrlrange[index]).min())
                most = abs(gear * gain) * span
                torque = most if torque is None else min(torque, most)
            continue
        affine = (
            model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_FIXED
            and model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_AFFINE
        )
        position = affine and gain > 0 and bias[0] == 0 and bias[1] == -gain and bias[2] <= 0
        velocity = affine and gain > 0 and bias[0] == 0 and bias[1] == 0 and bias[2] == -gain
        work.require(position or velocity, f"actuator of joint {name!r} is no position servo "
                     f"(its force is {gain:g} ctrl {bias[0]:+g} {bias[1]:+g} q {bias[2]:+g} qd); "
                     f"{remedy}")  # fmt: skip
        if velocity:  # a servo written as two actuators
            kv += gear**2 * gain
            continue
        work.require(kp == 0.0, f"joint {name!r} has two position servos; keep one")
        kp, kv = gear**2 * gain, kv - gear**2 * float(bias[2])
        if model.actuator_ctrllimited[index]:
            low, high = sorted(model.actuator_ctrlrange[index] / gear)
            targets = (float(low), float(high))
        if model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_NONE:
            time = float(model.actuator_dynprm[index, 0])
            work.notes.append(f"the time constant of {name}'s servo, {time:g} s, is left out")
    if told is not None and told.kp is not None:
        kp, kv = told.kp, told.kv or 0.0
    work.require(kp > 0.0, f"joint {name!r} has no servo; {remedy}")
    if told is not None and told.max_torque is not None:
        most, given = torque, told.max_torque
        work.require(most is None or given <= most * (1 + 1e-4), f"joints.{name}.max_torque is "
                     f"{given:g} N m, more than the model's {most or 0:g} N m")  # fmt: skip
        torque = given
    return _Servo(kp, kv, torque, targets)


def _set_joints(
    work: _Work, model: mujoco.MjModel, servos: dict[str, _Servo], home: dict[str, float]
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


def _fix_joints(work: _Work, model: mujoco.MjModel, home: dict[str, float]) -> None:
    """Take joints out of the model: their bodies stay where home has them."""
    fixed = work.description.fixed
    if not fixed:
        return
    spec = work.spec
    for body in list(spec.bodies):
        own = list(body.joints)
        if not (gone := [joint for joint in own if joint.name in fixed]):
            continue
        work.require(
            own[: len(gone)] == gone or len(own) == len(gone),
            f"fixed has {gone[0].name!r}, but another joint of body {body.name!r} is in front of "
            "it; hold it, or give it a body of its own",
        )
        index = model.body(body.name).id
        pos, quat = model.body_pos[index].copy(), model.body_quat[index].copy()
        for joint in gone:
            number = model.joint(joint.name).id
            kind = model.jnt_type[number]
            angle = home[joint.name] - float(model.qpos0[model.jnt_qposadr[number]])
            axis, anchor = model.jnt_axis[number], model.jnt_pos[number]
            if kind == mujoco.mjtJoint.mjJNT_SLIDE:
                pos = pos + _rotated(axis * angle, quat)
                continue
            work.require(kind == mujoco.mjtJoint.mjJNT_HINGE, f"fixed has {joint.name!r}, which is "
                         "neither a hinge nor a slide")  # fmt: skip
            turn = np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, axis, angle)
            pos = pos + _rotated(anchor - _rotated(anchor, turn), quat)
            quat = _product(quat, turn)
        frame = body.parent.add_frame()
        body.set_frame(frame)
        body.pos, body.quat = pos, quat
        body.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
        for joint in gone:
            spec.delete(joint)
    for equality in list(spec.equalities):
        if {equality.name1, equality.name2} & set(fixed):
            spec.delete(equality)
    work.description = replace(work.description, fixed=())
    work.notes.append(f"taken out of the model, at home: {', '.join(fixed)}")


# Frames


def _turn_root(work: _Work, root: Array | None) -> Array | None:
    """Let the root body's x be forward and its z up; the keyframe's pose of it, likewise."""
    told = work.description.root
    forward, up = np.array(told.forward, float), np.array(told.up, float)
    for name, axis in (("forward", forward), ("up", up)):
        work.require(np.linalg.norm(axis) > 1e-6, f"root.{name} is {list(axis)}; give a direction")
    up = up / np.linalg.norm(up)
    forward = forward - up * (forward @ up)
    work.require(np.linalg.norm(forward) > 1e-3, "root.forward and root.up are the same direction")
    forward = forward / np.linalg.norm(forward)
    axes = np.stack([forward, np.cross(up, forward), up], axis=1)  # new axes in the old ones
    if np.abs(axes - np.eye(3)).max() < 1e-9:
        return root
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    inverse = quat * [1, -1, -1, -1]
    body = work.spec.body(told.body)
    frames = [frame for frame in body.frames if frame.frame is None]
    inner = body.add_frame(quat=inverse)
    for frame in frames:
        frame.set_frame(inner)
    for element in (*body.geoms, *body.sites, *body.cameras, *body.lights, *body.bodies):
        direct = element.parent is None or element.parent.name == body.name
        if direct and element.frame is None and element.name != body.name:
            element.set_frame(inner)
    if body.explicitinertial:
        body.ipos = _rotated(np.array(body.ipos), inverse)
        if np.isfinite(body.fullinertia[0]):
            xx, yy, zz, xy, xz, yz = body.fullinertia
            tensor = axes.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ axes
            body.fullinertia = [*tensor.diagonal(), tensor[0, 1], tensor[0, 2], tensor[1, 2]]
        else:
            body.iquat = _product(inverse, np.array(body.iquat))
    body.quat = _product(np.array(body.quat), quat)
    work.notes.append(f"root {told.body} is turned: forward is its {list(told.forward)}, up its "
                      f"{list(told.up)}")  # fmt: skip
    if root is None:
        return None
    return np.concatenate([root[:3], _product(root[3:], quat)])


def _rotated(vector: Array, quat: Array) -> Array:
    result = np.zeros(3)
    mujoco.mju_rotVecQuat(result, np.asarray(vector, float), np.asarray(quat, float))
    return result


def _product(a: Array, b: Array) -> Array:
    result = np.zeros(4)
    mujoco.mju_mulQuat(result, np.asarray(a, float), np.asarray(b, float))
    return result


def _add_floor(work: _Work) -> None:
    """The plane that the scene has, called `floor`, or a new one."""
    spec, name = work.spec, FLOOR
    planes = [g for g in spec.geoms if g.type == mujoco.mjtGeom.mjGEOM_PLANE
              and g.parent.name == "world"]  # fmt: skip
    named = spec.geom(name)
    if named is not None and named.parent.name == "world":
        return
    if named is not None:
        named.name = _free(f"{name}_of_robot", {geom.name for geom in spec.geoms})
    if planes:
        planes[0].name = name
        return
    bits = 1
    for geom in spec.geoms:
        bits |= geom.contype | geom.conaffinity
    spec.worldbody.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], contype=bits,
        conaffinity=bits, condim=3, friction=[1.0, 0.005, 0.0001], pos=[0, 0, 0], priority=0,
        rgba=[0.85, 0.86, 0.87, 1.0],
    )  # fmt: skip
    work.notes.append("a level floor is added")


def _add_soles(work: _Work, model: mujoco.MjModel, posture: mujoco.MjData) -> None:
    """A site in the plane of each sole; `posture` is home with the root at the origin."""
    feet: dict[str, FootDescription] = {}
    taken = {site.name for site in work.spec.sites}
    for foot, told in work.description.feet.items():
        body = model.body(told.body).id
        if told.site is not None:
            work.require(told.site in taken, f"feet.{foot}.site is {told.site!r}; the model has "
                         f"{', '.join(filter(None, taken)) or 'none'}")  # fmt: skip
            work.require(model.site_bodyid[model.site(told.site).id] == body,
                         f"feet.{foot}.site {told.site!r} is not on {told.body!r}")  # fmt: skip
            feet[foot] = told
            continue
        name = _free(f"{foot}_sole", taken)
        if told.sole is not None:
            pos, quat = np.array(told.sole.pos), np.array(told.sole.quat)
        else:
            pos, quat = _sole_at_home(work, model, posture, foot, body)
            shown = ", ".join(f"{1000 * value:.1f}" for value in pos)
            work.notes.append(f"{foot}: the sole is found at [{shown}] mm of {told.body}")
        work.spec.body(told.body).add_site(
            name=name, pos=pos, quat=quat, size=[0.005, 0.005, 0.005], group=4
        )
        feet[foot] = replace(told, site=name)
    plates = work.description.plates
    for plate, foot in (plates or {}).items():
        geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, plate)
        found = colliding_geoms(model, model.body(feet[foot].body).id)
        allowed = ", ".join(model.geom(int(index)).name for index in found)
        work.require(geom in found, f"plates.{plate} is no geom of {foot} that collides; allowed: "
                     f"{allowed}")  # fmt: skip
    work.description = replace(work.description, feet=feet)


def _sole_at_home(
    work: _Work, model: mujoco.MjModel, posture: mujoco.MjData, foot: str, body: int
) -> tuple[Array, Array]:
    """Place and axes of a sole in its body: under the last joint, level when the robot stands."""
    joints = joints_above(model, body)
    ankle = posture.xanchor[joints[-1]]
    point = np.array([ankle[0], ankle[1], lowest_point(model, posture, body)])
    axes = posture.xmat[body].reshape(3, 3)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(axes.T).ravel())
    return axes.T @ (point - posture.xpos[body]), quat


def _add_imu(work: _Work, model: mujoco.MjModel) -> None:
    """Site `imu`, and site `root` at the root body's origin."""
    spec, told = work.spec, work.description.imu
    root = work.description.root.body
    body, pos, quat = root, np.zeros(3), np.array([1.0, 0, 0, 0])
    if told is not None:
        zero = mujoco.MjData(model)
        zero.qpos[:] = 0.0
        start = model.jnt_qposadr[model.joint(work.description.root.joint).id]
        zero.qpos[start + 3] = 1.0
        mujoco.mj_kinematics(model, zero)
        if told.site is not None:
            site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, told.site)
            names = ", ".join(filter(None, (model.site(i).name for i in range(model.nsite))))
            work.require(site >= 0, f"imu.site is {told.site!r}; the model has {names or 'none'}")
            body = model.body(model.site_bodyid[site]).name
            pos, axes = model.site_pos[site], zero.site_xmat[site].reshape(3, 3)
            given = np.arccos(np.clip((np.trace(axes) - 1) / 2, -1, 1)) <= TURNED
            quat = model.site_quat[site] if given else None
            if not given:
                work.notes.append(f"imu: site {told.site} is turned; its readings are given in the "
                                  "root's axes, as a calibrated one's are")  # fmt: skip
        else:
            body, pos, quat = told.body, np.array(told.pos), told.quat
            names = [model.body(i).name for i in range(1, model.nbody)]
            work.require(body in names, f"imu.body is {body!r}; the model has {', '.join(names)}")
        if quat is None:
            quat, inverse = np.zeros(4), zero.xmat[model.body(body).id].reshape(3, 3).T
            mujoco.mju_mat2Quat(quat, np.ascontiguousarray(inverse).ravel())
    places = {IMU_SITE: (body, pos, quat), ROOT_SITE: (root, np.zeros(3), [1.0, 0, 0, 0])}
    for name, (owner, where, axes) in places.items():
        if (other := spec.site(name)) is not None:
            other.name = _free(f"{name}_of_robot", {site.name for site in spec.sites})
        small = [0.005, 0.005, 0.005]
        spec.body(owner).add_site(name=name, pos=where, quat=axes, size=small, group=4)
    if body != root:
        work.notes.append(f"imu: on {body}, which the joints between turn against the root")
    moved = {str(foot.site) for foot in work.description.feet.values()} & set(places)
    work.require(not moved, f"a sole's site may not be called {', '.join(moved)}")


def _with_legs(work: _Work, model: mujoco.MjModel) -> RobotDescription:
    """The description with the joints of each leg, which are those above the foot."""
    description = work.description
    legs = description.legs or {}
    found: dict[str, tuple[str, ...]] = {}
    for side, foot in zip(SIDES, FEET, strict=True):
        above = joints_above(model, model.body(description.feet[foot].body).id)
        names = [model.joint(index).name for index in above]
        driven = tuple(name for name in names if name in description.joints)
        found[side] = legs.get(side, driven)
    left, right = (set(found[side]) for side in SIDES)
    shared = left & right if not legs else set()
    found = {side: tuple(n for n in leg if n not in shared) for side, leg in found.items()}
    listed = "; ".join(f"{side}: {', '.join(leg) or 'none'}" for side, leg in found.items())
    work.require(
        all(found.values()),
        f"one foot hangs on no joint of its own: a biped has two legs ({listed})",
    )
    return replace(description, legs=found)


def _with_servo(description: RobotDescription) -> RobotDescription:
    if description.servo is not None:
        return description
    joints = description.joints.values()
    servo = ServoSpec(
        model="ideal",
        stall_torque=max(joint.max_torque or 0.0 for joint in joints),
        no_load_speed=max(joint.max_velocity for joint in joints),
        voltage=1.0,
    )
    return replace(description, servo=servo)


# Sensors


def _add_sensors(work: _Work) -> None:
    """Sensors of this project; the file's own are gone, nothing of the physics needs them."""
    kinds, objects = mujoco.mjtSensor, mujoco.mjtObj
    for name, (kind, of, ref) in sensor_words(work.description).items():
        values: dict[str, object] = {"type": getattr(kinds, f"mjSENS_{kind.upper()}")}
        for key, who in (("obj", of), ("ref", ref)):
            if who is not None:
                values[f"{key}type"] = getattr(objects, f"mjOBJ_{who[0].upper()}")
                values[f"{key}name"] = who[1]
        if kind == "contact":  # found and force, added up over all contacts
            values["intprm"] = [3, 3, 1]
        work.spec.add_sensor(name=name, **values)


def _report_contacts(work: _Work, model: mujoco.MjModel) -> None:
    """Say which parts of the robot touch each other at home."""
    data = mujoco.MjData(model)
    data.qpos[:] = model.key("home").qpos
    mujoco.mj_forward(model, data)
    touching: dict[str, float] = {}
    for contact in data.contact[: data.ncon]:
        pair = [int(model.geom_bodyid[geom]) for geom in contact.geom]
        if all(model.body_rootid[body] != 0 for body in pair) and contact.dist < 0.0:
            words = " and ".join(sorted(model.body(body).name for body in pair))
            touching[words] = min(touching.get(words, 0.0), float(contact.dist))
    for words, depth in touching.items():
        work.notes.append(f"at home {words} touch, {-1000 * depth:.2f} mm deep")


def described(notes: Iterable[str]) -> str:
    """The notes as lines for a terminal."""
    return "\n".join(f"  {note}" for note in notes)
