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

from envs.robot.consistency import LEG_JOINTS, LENGTH_TOLERANCE, check_consistency
from envs.robot.description import (
    FILE_NAME,
    RobotDescription,
    RobotDescriptionError,
    read_description,
)
from envs.robot.spec import LegGeometry, RobotSpec

__all__ = ["ROBOT_DIRECTORY", "RobotDescriptionError", "RobotModel", "load_robot", "scene_names"]

ROBOT_DIRECTORY = Path(__file__).parents[1] / "assets" / "wildrobot"
"""The robot that ships with this package."""


@dataclass(frozen=True)
class RobotModel:
    """A robot in a scene."""

    spec: mujoco.MjSpec
    """Editable description; recompile it after a change."""
    model: mujoco.MjModel
    robot: RobotSpec
    directory: Path
    """Folder it was loaded from."""
    scene: str
    """Name of the scene in it."""


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
    return RobotModel(spec, model, build_robot(description, model), directory, scene)


def scene_names(directory: Path | str = ROBOT_DIRECTORY) -> tuple[str, ...]:
    """Names of the scenes in `directory`, sorted."""
    files = sorted(Path(directory).glob("scene_*.xml"))
    return tuple(file.stem.removeprefix("scene_") for file in files)


def build_robot(description: RobotDescription, model: mujoco.MjModel) -> RobotSpec:
    """RobotSpec of the compiled `model`.

    Raises:
        RobotDescriptionError: the model is not the robot described.
    """
    check_consistency(description, model)
    joint_ids = [model.joint(name).id for name in description.joints]
    names = tuple(description.joints)
    joints = description.joints.values()
    feet = list(description.feet)

    def values(numbers: object) -> torch.Tensor:
        return torch.as_tensor(np.array(numbers), dtype=torch.float32)

    return RobotSpec(
        name=description.name,
        root_body=model.body(description.root_body).id,
        joint_names=names,
        joint_qpos_adr=torch.as_tensor(model.jnt_qposadr[joint_ids]).long(),
        joint_qvel_adr=torch.as_tensor(model.jnt_dofadr[joint_ids]).long(),
        joint_range=values(model.jnt_range[joint_ids]),
        joint_max_velocity=values([joint.max_velocity for joint in joints]),
        home_qpos=values(model.key("home").qpos),
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


def measure_leg(description: RobotDescription, model: mujoco.MjModel) -> LegGeometry:
    """Left leg's dimensions, measured on the model at the zero pose with the root at the origin."""
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    data.qpos[3] = 1.0
    mujoco.mj_kinematics(model, data)
    hip_pitch, hip_roll, knee, ankle = (
        data.xanchor[model.joint(f"left_{name}").id] for name in LEG_JOINTS
    )
    plates = [
        model.geom(name).id for name, owner in description.plates.items() if owner == "left_foot"
    ]
    center, half = data.geom_xpos[plates], model.geom_size[plates]
    low, high = (center - half).min(0), (center + half).max(0)
    sole = data.site_xpos[model.site(description.feet["left_foot"].site).id]
    if abs(sole[2] - low[2]) > LENGTH_TOLERANCE:
        raise RobotDescriptionError(
            f"feet.left_foot.site is {1000 * (sole[2] - low[2]):+.3f} mm above the underside of "
            "the plates at the zero pose; it must lie in it"
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
    parts: dict[str, np.ndarray] = {"inertia": inertia[bodies], "home": model.key("home").qpos}
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
    parts["constraints"] = np.array([model.neq, model.ntendon, model.npair, model.nexclude])
    # Warnings, resets and the like do not change motion; damping of the integrator does.
    parts["eulerdamp"] = np.asarray(model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_EULERDAMP)

    digest = hashlib.sha256(
        repr((description.joints, description.feet, description.plates)).encode()
    )
    for name in sorted(parts):
        rounded = np.round(parts[name].astype(np.float64), 10) + 0.0  # + 0.0 turns -0 into 0
        digest.update(name.encode() + repr(rounded.shape).encode() + rounded.tobytes())
    return digest.hexdigest()[:16]
