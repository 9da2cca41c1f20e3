"""From a robot's folder (MJCF, scenes, robot.yaml) to a compiled model and a RobotSpec.

robot.yaml and the MJCF each say things the other implies. They are held against each other here,
once, so that everything downstream can trust the RobotSpec.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import torch

from envs.description import (
    FILE_NAME,
    RobotDescription,
    RobotDescriptionError,
    read_description,
)
from envs.robot import LegGeometry, RobotSpec

__all__ = ["ROBOT_DIRECTORY", "RobotDescriptionError", "RobotModel", "load_robot", "scene_names"]

ROBOT_DIRECTORY = Path(__file__).parent / "assets" / "wildrobot"
"""The robot that ships with this package."""

SIDES = ("left", "right")
LEG_JOINTS = ("hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch")

MASS_TOLERANCE = 1e-6  # [kg]
RANGE_TOLERANCE = 1e-5  # [rad]
MIRROR_TOLERANCE = 1e-6  # [m]


@dataclass(frozen=True)
class RobotModel:
    """A robot in a scene."""

    spec: mujoco.MjSpec
    """Editable description; recompile it after a change."""
    model: mujoco.MjModel
    robot: RobotSpec
    directory: Path
    """Folder it was loaded from."""


def load_robot(directory: Path | str = ROBOT_DIRECTORY, scene: str = "flat") -> RobotModel:
    """The robot of `directory` in `scene`, compiled and checked against its robot.yaml.

    Args:
        directory: folder with robot.yaml and scene_<name>.xml files.
        scene: which scene_<name>.xml.

    Raises:
        RobotDescriptionError: a file is missing or unreadable, or robot.yaml and the compiled model
            do not describe the same robot.
    """
    directory = Path(directory)
    description = read_description(directory / FILE_NAME)
    scenes = scene_names(directory)
    if scene not in scenes:
        raise RobotDescriptionError(
            f"scene {scene!r} is not in {directory}; available: {', '.join(scenes) or 'none'}"
        )
    path = directory / f"scene_{scene}.xml"
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        model = spec.compile()
    except ValueError as error:
        raise RobotDescriptionError(
            f"{path} does not compile: {' '.join(str(error).split())}"
        ) from error
    return RobotModel(spec, model, build_robot(description, model), directory)


def scene_names(directory: Path | str = ROBOT_DIRECTORY) -> tuple[str, ...]:
    """Names of the scenes in `directory`, sorted."""
    files = sorted(Path(directory).glob("scene_*.xml"))
    return tuple(file.stem.removeprefix("scene_") for file in files)


def build_robot(description: RobotDescription, model: mujoco.MjModel) -> RobotSpec:
    """RobotSpec of the compiled `model`.

    Raises:
        RobotDescriptionError: the model is not the robot described.
    """
    _check_engine(model)
    _check_bodies(description, model)
    _check_actuators(description, model)
    _check_plates(description, model)
    _check_sensors(description, model)
    joint_ids = [model.joint(name).id for name in description.joints]
    names = tuple(description.joints)
    joints = description.joints.values()
    feet = list(description.feet)

    def values(numbers: object) -> torch.Tensor:
        return torch.as_tensor(np.array(numbers), dtype=torch.float32)

    robot = RobotSpec(
        name=description.name,
        root_body=model.body(description.root_body).id,
        joint_names=names,
        joint_qpos_adr=torch.as_tensor(model.jnt_qposadr[joint_ids]).long(),
        joint_qvel_adr=torch.as_tensor(model.jnt_dofadr[joint_ids]).long(),
        joint_range=values(model.jnt_range[joint_ids]),
        joint_max_velocity=values([joint.max_velocity for joint in joints]),
        home_qpos=values(_home(model)),
        kp=values(model.actuator_gainprm[:, 0]),
        kv=values(-model.actuator_biasprm[:, 2]),
        torque_limit=values(model.actuator_forcerange[:, 1]),
        mirror_index=torch.tensor([names.index(joint.mirror) for joint in joints]),
        mirror_sign=values([joint.mirror_sign for joint in joints]),
        action_sign=values([joint.action_sign for joint in joints]),
        plate_names=tuple(description.plates),
        plate_foot=torch.tensor([feet.index(foot) for foot in description.plates.values()]),
        mass=float(model.body_mass.sum()),
        gravity=float(np.linalg.norm(model.opt.gravity)),
        leg=measure_leg(description, model),
        sensors={
            name: slice(int(model.sensor(name).adr[0]), int(model.sensor(name).adr[0]) + size)
            for name, size in description.sensors.items()
        },
        digest=robot_digest(description, model),
    )
    _check_mirror(description, model)
    return robot


def measure_leg(description: RobotDescription, model: mujoco.MjModel) -> LegGeometry:
    """Left leg's dimensions, measured on the model at the zero pose with the root at the origin."""
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    data.qpos[3] = 1.0
    mujoco.mj_kinematics(model, data)
    hip_pitch, hip_roll, knee, ankle = (
        data.xanchor[model.joint(f"left_{name}").id] for name in LEG_JOINTS
    )
    foot = next(iter(description.feet))
    plates = [model.geom(name).id for name, owner in description.plates.items() if owner == foot]
    center, half = data.geom_xpos[plates], model.geom_size[plates]
    low, high = (center - half).min(0), (center + half).max(0)
    sole = data.site_xpos[model.site(description.feet[foot].site).id]
    if abs(sole[2] - low[2]) > MIRROR_TOLERANCE:
        raise RobotDescriptionError(
            f"site {description.feet[foot].site!r} is {sole[2] - low[2]:+.6f} m above the plates' "
            "underside at the zero pose; it must lie in it"
        )

    def point(position: np.ndarray) -> tuple[float, float, float]:
        return float(position[0]), float(position[1]), float(position[2])

    return LegGeometry(
        hip_pitch_pos=point(hip_pitch),
        hip_roll_pos=point(hip_roll),
        leg_y=float(sole[1]),
        thigh=float(np.hypot(*(hip_pitch - knee)[[0, 2]])),
        shank=float(np.hypot(*(knee - ankle)[[0, 2]])),
        ankle_height=float(ankle[2] - sole[2]),
        heel=float(low[0] - ankle[0]),
        toe=float(high[0] - ankle[0]),
        sole_width=float(high[1] - low[1]),
    )


def robot_digest(description: RobotDescription, model: mujoco.MjModel) -> str:
    """16 hex digits over everything that changes the robot's motion.

    Covered: masses, inertias, kinematics, joints, actuators, colliding geoms, `home`, simulation
    options, and the description's names and signs. Not covered: looks, sensors and the scene.
    Values are rounded to 1e-10, so the last bit of a compiler's arithmetic does not matter.
    """
    geoms = np.flatnonzero(
        ((model.geom_contype != 0) | (model.geom_conaffinity != 0)) & (model.geom_bodyid != 0)
    )
    bodies = np.flatnonzero(model.body_rootid != 0)  # the world and what is fixed to it: scene
    inertia = np.zeros((model.nbody, 3, 3))
    for body in bodies:  # principal axes are not unique; the tensor in body axes is
        axes = np.zeros(9)
        mujoco.mju_quat2Mat(axes, model.body_iquat[body])
        axes = axes.reshape(3, 3)
        inertia[body] = axes @ np.diag(model.body_inertia[body]) @ axes.T
    parts: dict[str, np.ndarray] = {"inertia": inertia[bodies], "home": _home(model)}
    for field in ("mass", "ipos", "pos", "quat", "parentid", "gravcomp"):
        parts[f"body_{field}"] = getattr(model, f"body_{field}")[bodies]
    for field in ("type", "pos", "axis", "range", "limited", "stiffness", "margin", "solref"):
        parts[f"jnt_{field}"] = getattr(model, f"jnt_{field}")
    parts["jnt_solimp"] = model.jnt_solimp
    for field in ("armature", "damping", "frictionloss", "solref", "solimp"):
        parts[f"dof_{field}"] = getattr(model, f"dof_{field}")
    for field in ("gainprm", "biasprm", "gear", "ctrlrange", "forcerange", "trnid", "dynprm"):
        parts[f"actuator_{field}"] = getattr(model, f"actuator_{field}")
    for field in ("type", "size", "pos", "quat", "friction", "condim", "margin", "gap"):
        parts[f"geom_{field}"] = getattr(model, f"geom_{field}")[geoms]
    for field in ("contype", "conaffinity", "solref", "solimp", "priority", "solmix"):
        parts[f"geom_{field}"] = getattr(model, f"geom_{field}")[geoms]
    for field in ("timestep", "gravity", "integrator", "solver", "cone", "impratio", "iterations"):
        parts[f"opt_{field}"] = np.asarray(getattr(model.opt, field))
    for field in ("ls_iterations", "tolerance", "density", "viscosity"):
        parts[f"opt_{field}"] = np.asarray(getattr(model.opt, field))
    # Warnings, resets and the like do not change motion; damping of the integrator does.
    parts["eulerdamp"] = np.asarray(model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_EULERDAMP)

    digest = hashlib.sha256(
        repr((description.joints, description.feet, description.plates)).encode()
    )
    for name in sorted(parts):
        rounded = np.round(parts[name].astype(np.float64), 10) + 0.0  # + 0.0 turns -0 into 0
        digest.update(name.encode() + repr(rounded.shape).encode() + rounded.tobytes())
    return digest.hexdigest()[:16]


def _home(model: mujoco.MjModel) -> np.ndarray:
    """Joint positions (nq,) of keyframe `home`."""
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home")
    if key < 0:
        raise RobotDescriptionError("the model has no keyframe 'home'; resets start there")
    return model.key_qpos[key].copy()


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
    left, right = (
        [model.site(foot.site).id for foot in description.feet.values()][i] for i in (0, 1)
    )
    rng = np.random.default_rng(0)
    data, mirrored = mujoco.MjData(model), mujoco.MjData(model)
    for name in joints:  # one joint at a time, so that the message can name it
        for each in (data, mirrored):
            each.qpos[:] = 0.0
            each.qpos[3] = 1.0
        for other, joint in joints.items():
            angle = rng.uniform(*joint.range) if other == name else 0.1 * rng.uniform(-1, 1)
            data.qpos[address[other]] = angle
            mirrored.qpos[address[joint.mirror]] = joint.mirror_sign * angle
        mujoco.mj_kinematics(model, data)
        mujoco.mj_kinematics(model, mirrored)
        for here, there in ((left, right), (right, left)):
            gap = data.site_xpos[here] * (1, -1, 1) - mirrored.site_xpos[there]
            if np.abs(gap).max() > MIRROR_TOLERANCE:
                raise RobotDescriptionError(
                    f"mirror map is not true of the kinematics: mirroring {name} misses the other "
                    f"foot by {1000 * np.abs(gap).max():.3f} mm; check mirror and mirror_sign"
                )


def _require(model: mujoco.MjModel, kind: mujoco.mjtObj, where: str, name: str) -> int:
    """Id of the object `name`; refused, with the names there are, if the model has none."""
    index = mujoco.mj_name2id(model, kind, name)
    if index < 0:
        word = kind.name.removeprefix("mjOBJ_").lower()
        raise RobotDescriptionError(f"{where}: the compiled model has no {word} {name!r}")
    return index
