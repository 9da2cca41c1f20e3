"""Holding robot.yaml against the compiled model, so that everything downstream can trust both."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.robot.description import FILE_NAME, RobotDescription, RobotDescriptionError

SIDES = ("left", "right")
FEET = ("left_foot", "right_foot")
LEG_JOINTS = ("hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch")

MASS_TOLERANCE = 1e-6  # [kg]
RANGE_TOLERANCE = 1e-5  # [rad]
LENGTH_TOLERANCE = 1e-6  # [m]


def check_consistency(description: RobotDescription, model: mujoco.MjModel) -> None:
    """Refuse a compiled model that is not the robot described.

    Raises:
        RobotDescriptionError: the first mismatch found.
    """
    _check_engine(model)
    _check_bodies(description, model)
    _check_actuators(description, model)
    _check_plates(description, model)
    _check_sensors(description, model)
    _check_mirror(description, model)
    _check_home(model)


def _check_engine(model: mujoco.MjModel) -> None:
    dense = model.opt.jacobian == mujoco.mjtJacobian.mjJAC_DENSE or (
        model.opt.jacobian == mujoco.mjtJacobian.mjJAC_AUTO and model.nv < 60
    )
    if mujoco.__version__ == "4.0.0" and not dense:
        raise RobotDescriptionError(
            f"the model (nv {model.nv}) uses sparse Jacobians, with which mujoco 4.0.0 computes a "
            'wrong Newton Hessian; set <option jacobian="dense"/>'
        )


def _check_bodies(description: RobotDescription, model: mujoco.MjModel) -> None:
    _require(model, mujoco.mjtObj.mjOBJ_BODY, "root.body", description.root_body)
    root = model.body(description.root_body)
    joint = _require(model, mujoco.mjtObj.mjOBJ_JOINT, "root.joint", description.root_joint)
    if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE or model.jnt_bodyid[joint] != root.id:
        raise RobotDescriptionError(
            f"root.joint {description.root_joint!r} is not the free joint of body "
            f"{description.root_body!r}"
        )
    if model.jnt_qposadr[joint] != 0:
        raise RobotDescriptionError(f"root.joint {description.root_joint!r} is not first in qpos")
    mass = float(model.body_mass.sum())
    if abs(mass - description.mass) > MASS_TOLERANCE:
        raise RobotDescriptionError(
            f"mass is {description.mass} kg in {FILE_NAME} and {mass:.7f} kg in the compiled model"
        )
    if tuple(description.feet) != FEET:
        raise RobotDescriptionError(
            f"feet are {', '.join(description.feet)}; need {', '.join(FEET)}"
        )
    for name, foot in description.feet.items():
        body = _require(model, mujoco.mjtObj.mjOBJ_BODY, f"feet.{name}.body", foot.body)
        site = _require(model, mujoco.mjtObj.mjOBJ_SITE, f"feet.{name}.site", foot.site)
        if model.site_bodyid[site] != body:
            raise RobotDescriptionError(
                f"feet.{name}.site {foot.site!r} is on body "
                f"{model.body(model.site_bodyid[site]).name!r}, not on {foot.body!r}"
            )


def _check_actuators(description: RobotDescription, model: mujoco.MjModel) -> None:
    expected = [f"{side}_{joint}" for side in SIDES for joint in LEG_JOINTS]
    for name in expected:
        if name not in description.joints:
            raise RobotDescriptionError(f"joints: {name!r} is missing")
    order = [model.actuator(index).name for index in range(model.nu)]
    for name, joint in description.joints.items():
        index = _require(model, mujoco.mjtObj.mjOBJ_JOINT, "joints", name)
        if name not in order:
            raise RobotDescriptionError(f"joints: {name!r} has no actuator of that name")
        actuator = order.index(name)
        if (
            model.actuator_trntype[actuator] != mujoco.mjtTrn.mjTRN_JOINT
            or model.actuator_trnid[actuator, 0] != index
        ):
            raise RobotDescriptionError(f"actuator {name!r} does not drive the joint {name!r}")
        low, high = (float(limit) for limit in model.jnt_range[index])
        if max(abs(low - joint.range[0]), abs(high - joint.range[1])) > RANGE_TOLERANCE:
            raise RobotDescriptionError(
                f"joints.{name}.range is {list(joint.range)} rad in {FILE_NAME} and "
                f"[{low:.6f}, {high:.6f}] rad in the compiled model"
            )
        kp, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator]
        force = model.actuator_forcerange[actuator]
        if kp <= 0.0 or bias[1] != -kp or force[1] <= 0.0 or force[0] != -force[1]:
            raise RobotDescriptionError(
                f"actuator {name!r} is no position servo with a symmetric force range"
            )
    for index in range(model.njnt):
        name = model.joint(index).name
        if name not in (description.root_joint, *description.joints):
            raise RobotDescriptionError(f"joints: the compiled model's joint {name!r} is missing")
    if order != list(description.joints):
        raise RobotDescriptionError(
            f"joints must be in the order of the actuators; the compiled model has "
            f"{', '.join(order)}"
        )


def _check_plates(description: RobotDescription, model: mujoco.MjModel) -> None:
    for plate, foot in description.plates.items():
        geom = _require(model, mujoco.mjtObj.mjOBJ_GEOM, "plates", plate)
        body = description.feet[foot].body
        if model.geom_bodyid[geom] != model.body(body).id:
            raise RobotDescriptionError(
                f"plates.{plate} is on body {model.body(model.geom_bodyid[geom]).name!r}, "
                f"not on {body!r}, the body of {foot!r}"
            )
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_BOX or model.geom_contype[geom] == 0:
            raise RobotDescriptionError(f"plates.{plate} is no box that collides")
    _require(model, mujoco.mjtObj.mjOBJ_GEOM, "the scene's floor", "floor")


def _check_sensors(description: RobotDescription, model: mujoco.MjModel) -> None:
    required = {"imu_gyro": 3, "imu_accel": 3, "imu_quat": 4, "root_linvel_b": 3, "com_pos": 3}
    required |= {f"{plate}_contact": 4 for plate in description.plates}
    required |= {f"{joint}_torque": 1 for joint in description.joints}
    for foot in description.feet:
        required |= {f"{foot}_pos": 3, f"{foot}_quat": 4, f"{foot}_linvel": 3, f"{foot}_angvel": 3}
    for name, size in required.items():
        if description.sensors.get(name) != size:
            raise RobotDescriptionError(
                f"sensors.{name} is {description.sensors.get(name, 'missing')}; measurements need "
                f"it with {size} values"
            )
    for name, size in description.sensors.items():
        index = _require(model, mujoco.mjtObj.mjOBJ_SENSOR, "sensors", name)
        if model.sensor_dim[index] != size:
            raise RobotDescriptionError(
                f"sensors.{name} has {size} values in {FILE_NAME} and {model.sensor_dim[index]} "
                "in the compiled model"
            )


def _check_mirror(description: RobotDescription, model: mujoco.MjModel) -> None:
    """Refuse a mirror map under which a mirrored pose does not mirror the feet."""
    joints = description.joints
    address = {name: int(model.jnt_qposadr[model.joint(name).id]) for name in joints}
    left, right = (model.site(foot.site).id for foot in description.feet.values())
    data, mirrored = mujoco.MjData(model), mujoco.MjData(model)
    for name, joint in joints.items():  # one at a time, so that the message can name it
        for each in (data, mirrored):
            each.qpos[:] = 0.0
            each.qpos[3] = 1.0
        angle = 0.75 * joint.range[0] + 0.25 * joint.range[1]
        data.qpos[address[name]] = angle
        mirrored.qpos[address[joint.mirror]] = joint.mirror_sign * angle
        mujoco.mj_kinematics(model, data)
        mujoco.mj_kinematics(model, mirrored)
        for here, there in ((left, right), (right, left)):
            gap = data.site_xpos[here] * (1, -1, 1) - mirrored.site_xpos[there]
            if np.abs(gap).max() > LENGTH_TOLERANCE:
                raise RobotDescriptionError(
                    f"mirror map is not true of the kinematics: mirroring {name} misses the other "
                    f"foot by {1000 * np.abs(gap).max():.3f} mm; check mirror and mirror_sign"
                )


def _check_home(model: mujoco.MjModel) -> None:
    key = _require(model, mujoco.mjtObj.mjOBJ_KEY, "resets", "home")
    for index in range(model.njnt):
        angle, (low, high) = model.key_qpos[key, model.jnt_qposadr[index]], model.jnt_range[index]
        if model.jnt_limited[index] and not low <= angle <= high:
            raise RobotDescriptionError(
                f"keyframe 'home' puts {model.joint(index).name} at {angle:.6f} rad, outside its "
                f"range [{low:.6f}, {high:.6f}] rad"
            )


def _require(model: mujoco.MjModel, kind: mujoco.mjtObj, where: str, name: str) -> int:
    """Id of the object `name`; if there is none, refused with the names there are."""
    index = mujoco.mj_name2id(model, kind, name)
    if index < 0:
        word = kind.name.removeprefix("mjOBJ_").lower()
        count = {"body": model.nbody, "joint": model.njnt, "geom": model.ngeom, "site": model.nsite}
        count |= {"sensor": model.nsensor, "key": model.nkey}
        names = [mujoco.mj_id2name(model, kind, each) for each in range(count[word])]
        raise RobotDescriptionError(
            f"{where}: the compiled model has no {word} {name!r}; it has "
            f"{', '.join(each for each in names if each) or 'none'}"
        )
    return index
