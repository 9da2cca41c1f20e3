"""A stranger's MJCF, completed: what its robot.yaml needs and the file has not is added in memory.

A model of this project has a floor, soles and an IMU as sites, sensors for all that is measured,
servos in the order of the policy, and a keyframe `home`. Other people's models have some of it, in
their own words. `complete` turns theirs into ours by MuJoCo's model editing and says what it did.
The file is not changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco

from envs.robot.completion.home import add_home, home_of, posture_at
from envs.robot.completion.places import add_floor, add_imu, add_soles, with_legs
from envs.robot.completion.servos import servo_of, set_joints
from envs.robot.completion.tree import drop_tendons, fix_joints, turn_root
from envs.robot.completion.work import Work
from envs.robot.consistency import sensor_words
from envs.robot.description import RobotDescription
from envs.robot.soles import colliding_geoms
from envs.robot.spec import ServoSpec


@dataclass(frozen=True)
class Completed:
    """A model with all that this project needs, and its description with nothing left open."""

    model: mujoco.MjModel
    description: RobotDescription
    notes: tuple[str, ...]
    """What was added, derived or tolerated; a line each."""


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
    work = Work(spec, description, where)
    _set_options(spec)
    _check_root(work)
    add_floor(work)  # at once: pairs and sensors of the file may name it
    model = spec.compile()
    _check_names(work, model)
    home, root = home_of(work, model)
    servos = {
        name: servo_of(work, model, name) for name in (*description.joints, *description.held)
    }
    for kind in (spec.keys, spec.sensors, spec.actuators):
        for element in list(kind):
            spec.delete(element)
    drop_tendons(work)
    fix_joints(work, model, home)
    root = turn_root(work, root)
    joints = set_joints(work, model, servos, home)
    lay_ground(spec)
    work.description = replace(work.description, joints=joints)
    model = spec.compile()
    posture = posture_at(model, work.description, home, root)
    add_soles(work, model, posture)
    add_imu(work, model)
    work.description = with_legs(work, model)
    work.description = _with_servo(work.description)
    _add_sensors(work)
    model = spec.compile()
    add_home(work, model, posture, root)
    model = spec.compile()
    _report_contacts(work, model)
    work.description = replace(work.description, mass=float(model.body_mass.sum()))
    if (mass := description.mass) is not None:
        found = float(model.body_mass.sum())
        work.require(abs(mass - found) <= 1e-4 * found, f"mass is {mass:g} kg, and {found:.7g} kg "
                     "in the compiled model")  # fmt: skip
    return Completed(model, work.description, tuple(work.notes))


def _set_options(spec: mujoco.MjSpec) -> None:
    """What this project needs of the solver, whoever wrote the file."""
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE


def _check_root(work: Work) -> None:
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


def _check_names(work: Work, model: mujoco.MjModel) -> None:
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


def _add_sensors(work: Work) -> None:
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


def _report_contacts(work: Work, model: mujoco.MjModel) -> None:
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
