"""From a robot's folder (MJCF, scenes, robot.yaml) to a compiled model and a RobotSpec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import torch

from envs.robot.bam import BamServo, read_bam
from envs.robot.consistency import (
    LENGTH_TOLERANCE,
    check_consistency,
    sensor_readings,
    zero_pose,
)
from envs.robot.description import (
    FILE_NAME,
    LEG_JOINTS,
    RobotDescription,
    RobotDescriptionError,
    read_description,
)
from envs.robot.digest import robot_digests
from envs.robot.spec import LegGeometry, RobotSpec
from envs.robot.terrain import MADE, lay

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
    untimed_digest: str
    """`robot.digest` without the physics step; capacities hold for every physics step."""


def load_robot(
    directory: Path | str = ROBOT_DIRECTORY, scene: str = "flat", sim_dt: float | None = None
) -> RobotModel:
    """The robot of `directory` in `scene`, compiled and checked against its robot.yaml.

    Args:
        directory: folder with robot.yaml and scene_<name>.xml files.
        scene: which ground: the name of a scene_<name>.xml, or one of `terrain.MADE`.
        sim_dt: physics step [s]; None for that of the MJCF.

    Raises:
        RobotDescriptionError: a file is missing or unreadable, or robot.yaml and the compiled model
            do not describe the same robot.
    """
    directory = Path(directory)
    description = read_description(directory / FILE_NAME)
    scenes = scene_names(directory)
    if scene not in scenes:
        raise RobotDescriptionError(
            f"terrain {scene!r} is unknown; allowed: {', '.join(scenes) or 'none'}, or a "
            f"scene_{scene}.xml in {directory}"
        )
    path = directory / f"scene_{scene}.xml"
    made = not path.is_file()
    if made:
        path = directory / "scene_flat.xml"
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        own_timestep = float(spec.option.timestep)
        if sim_dt is not None:
            spec.option.timestep = sim_dt
        if made:
            lay(spec, scene)
        model = spec.compile()
    except ValueError as error:
        raise RobotDescriptionError(
            f"{path} does not compile: {' '.join(str(error).split())}"
        ) from error
    check_consistency(description, model)
    bam = None
    if (file := description.servo.bam) is not None:
        bam = read_bam(directory / file, RobotDescriptionError)
    digest, untimed_digest = robot_digests(description, model, bam, own_timestep)
    robot = _robot_spec(description, model, digest, bam)
    return RobotModel(spec, model, robot, directory, scene, untimed_digest)


def scene_names(directory: Path | str = ROBOT_DIRECTORY) -> tuple[str, ...]:
    """Names of the robot's grounds, sorted: scenes in `directory`, and those made for its floor."""
    files = {f.stem.removeprefix("scene_") for f in Path(directory).glob("scene_*.xml")}
    return tuple(sorted(files | set(MADE if "flat" in files else ())))


def _robot_spec(
    description: RobotDescription, model: mujoco.MjModel, digest: str, bam: BamServo | None
) -> RobotSpec:
    joint_ids = [model.joint(name).id for name in description.joints]
    names = tuple(description.joints)
    joints = description.joints.values()
    feet = list(description.feet)

    def values(numbers: object) -> torch.Tensor:
        return torch.as_tensor(np.array(numbers), dtype=torch.float32)

    return RobotSpec(
        name=description.name,
        root_body=model.body(description.root.body).id,
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
        plate_geoms=torch.tensor([model.geom(name).id for name in description.plates]),
        floor_geom=model.geom("floor").id,
        mass=float(model.body_mass.sum()),
        gravity=float(np.linalg.norm(model.opt.gravity)),
        leg=_measure_leg(description, model),
        sensors={
            name: slice(int(adr), int(adr) + int(size))
            for name in sensor_readings(description)
            for adr, size in [(model.sensor(name).adr[0], model.sensor(name).dim[0])]
        },
        servo=description.servo,
        digest=digest,
        bam=bam,
    )


def _measure_leg(description: RobotDescription, model: mujoco.MjModel) -> LegGeometry:
    """Left leg's dimensions, measured on the model at the zero pose with the root at the origin."""
    data = zero_pose(model)
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
            "the plates at the zero pose; move it into that plane"
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
