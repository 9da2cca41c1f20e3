"""From a robot's folder (MJCF, scenes, robot.yaml) to a compiled model and a RobotSpec."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch

from envs.errors import UserError, closest
from envs.robot.bam import BamServo, read_bam
from envs.robot.chain import Kind, LegChain
from envs.robot.completion.complete import complete
from envs.robot.completion.opening import open_model
from envs.robot.consistency import (
    IMU_SITE,
    LENGTH_TOLERANCE,
    NEAR_SOLE,
    check_consistency,
    sensor_readings,
    zero_pose,
)
from envs.robot.description import (
    FILE_NAME,
    RobotDescription,
    RobotDescriptionError,
    read_description,
)
from envs.robot.digest import robot_digests
from envs.robot.legs import joints_above, leg_chain
from envs.robot.soles import colliding_geoms, sole_rectangle
from envs.robot.spec import FEET, SIDES, LegGeometry, RobotSpec
from envs.robot.terrain import MADE, lay

ROBOTS = Path(__file__).parents[1] / "assets"
"""The robots that ship with this package, a folder each."""
ROBOT_DIRECTORY = ROBOTS / "wildrobot"
"""The one that is meant where none is named."""


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
    description: RobotDescription
    """Its robot.yaml, with what that leaves open as it was found."""
    notes: tuple[str, ...] = ()
    """What was added to a stranger's MJCF, derived or tolerated; a line each."""

    def described(self) -> dict[str, Any]:
        """robot.yaml as plain containers, with what that leaves open as it was found."""
        content = json.loads(json.dumps(asdict(self.description)))  # tuples become lists
        names, owners = self.robot.plate_names, self.robot.plate_foot.tolist()
        content["plates"] = {name: FEET[foot] for name, foot in zip(names, owners, strict=True)}
        home = self.robot.joint_home.double().numpy().round(6).tolist()
        content["home"] = dict(zip(self.robot.joint_names, home, strict=True))
        return {key: value for key, value in content.items() if value is not None}


def robot_directory(robot: Path | str) -> Path:
    """The folder of a robot: one of this package by its name, or any folder with a robot.yaml.

    Raises:
        UserError: there is none.
    """
    if (shipped := ROBOTS / robot).joinpath(FILE_NAME).is_file() and len(Path(robot).parts) == 1:
        return shipped
    if (folder := Path(robot).expanduser()).joinpath(FILE_NAME).is_file():
        return folder.absolute()
    names = ", ".join(sorted(path.parent.name for path in ROBOTS.glob(f"*/{FILE_NAME}")))
    if folder.is_dir():
        raise RobotDescriptionError(
            f"{folder / FILE_NAME}: cannot be read: No such file or directory; a robot is one of "
            f"{names}, or a folder with a {FILE_NAME}, which `wildrobot describe` drafts"
        )
    raise RobotDescriptionError(
        f"robot is {str(robot)!r}{closest(str(robot), names.split(', '))}; allowed: {names}, or a "
        f"folder with a {FILE_NAME}"
    )


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
    directory = robot_directory(directory)
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
        path = directory / (description.model or "scene_flat.xml")
    stranger, notes = description.model is not None, []
    laid = made and (scene in MADE)
    try:
        spec = open_model(path, notes) if stranger else mujoco.MjSpec.from_file(str(path))
        own_timestep = float(spec.option.timestep)
        if sim_dt is not None:
            spec.option.timestep = sim_dt
        if stranger:
            where = directory / FILE_NAME
            completed = complete(
                spec, description, where, lambda spec: lay(spec, scene) if laid else None
            )
            model, description = completed.model, completed.description
            notes += completed.notes
        else:
            if laid:
                lay(spec, scene)
            model = spec.compile()
    except RobotDescriptionError:
        raise
    except ValueError as error:
        raise RobotDescriptionError(
            f"{path} does not compile: {' '.join(str(error).split())}"
        ) from error
    check_consistency(description, model)
    assert description.servo is not None
    bam = None
    if (file := description.servo.bam) is not None:
        bam = read_bam(directory / file, RobotDescriptionError)
    digest, untimed_digest = robot_digests(description, model, bam, own_timestep)
    robot = _robot_spec(description, model, digest, bam)
    return RobotModel(
        spec, model, robot, directory, scene, untimed_digest, description, tuple(notes)
    )


def scene_names(directory: Path | str = ROBOT_DIRECTORY) -> tuple[str, ...]:
    """Names of the robot's grounds, sorted: scenes in `directory`, and those made for its floor."""
    folder = robot_directory(directory)
    files = {f.stem.removeprefix("scene_") for f in folder.glob("scene_*.xml")}
    if read_description(folder / FILE_NAME).model is not None:
        files.add("flat")
    return tuple(sorted(files | set(MADE if "flat" in files else ())))


def _robot_spec(
    description: RobotDescription, model: mujoco.MjModel, digest: str, bam: BamServo | None
) -> RobotSpec:
    joint_ids = [model.joint(name).id for name in description.joints]
    actuators = [model.actuator(name).id for name in description.joints]
    names = tuple(description.joints)
    joints = description.joints.values()
    feet = list(description.feet)
    plates, geoms, geom_plate = _plates(description, model)
    legs = leg_names(description, model)
    chains = tuple(_chain(description, model, side) for side in SIDES)
    root = model.body(description.root.body).id
    assert description.servo is not None

    def values(numbers: object) -> torch.Tensor:
        return torch.as_tensor(np.array(numbers), dtype=torch.float32)

    return RobotSpec(
        name=description.name,
        root_body=root,
        joint_names=names,
        joint_qpos_adr=torch.as_tensor(model.jnt_qposadr[joint_ids]).long(),
        joint_qvel_adr=torch.as_tensor(model.jnt_dofadr[joint_ids]).long(),
        joint_range=values(
            model.jnt_range[joint_ids]
            if description.model is None
            else [joint.range for joint in joints]
        ),
        joint_max_velocity=values([joint.max_velocity for joint in joints]),
        home_qpos=values(model.key("home").qpos),
        home_height=float(model.key("home").qpos[2]),
        kp=values(model.actuator_gainprm[actuators, 0]),
        kv=values(-model.actuator_biasprm[actuators, 2]),
        torque_limit=values(model.actuator_forcerange[actuators, 1]),
        mirror_index=torch.tensor([names.index(joint.mirror) for joint in joints]),
        mirror_sign=values([joint.mirror_sign for joint in joints]),
        action_sign=values([joint.action_sign for joint in joints]),
        plate_names=tuple(plates),
        plate_foot=torch.tensor([feet.index(foot) for foot in plates.values()]),
        plate_geoms=torch.tensor(geoms),
        floor_geom=model.geom("floor").id,
        mass=float(model.body_mass.sum()),
        gravity=float(np.linalg.norm(model.opt.gravity)),
        leg=_measure_leg(description, model, chains[0]),
        sensors={
            name: slice(int(adr), int(adr) + int(size))
            for name in sensor_readings(description)
            for adr, size in [(model.sensor(name).adr[0], model.sensor(name).dim[0])]
        },
        servo=description.servo,
        digest=digest,
        bam=bam,
        leg_joints=torch.tensor([[names.index(name) for name in leg] for leg in legs.values()]),
        chains=chains,
        geom_plate=geom_plate,
        imu_at_root=bool(
            model.site_bodyid[model.site(IMU_SITE).id] == root
            and np.abs(model.site(IMU_SITE).quat - (1, 0, 0, 0)).max() <= 1e-5
        ),
    )


def leg_names(description: RobotDescription, model: mujoco.MjModel) -> dict[str, tuple[str, ...]]:
    """Joints of the left and the right leg, from the root to the foot."""
    if description.legs is not None:
        return description.legs
    found = {}
    for side, foot in zip(SIDES, FEET, strict=True):
        above = joints_above(model, model.body(description.feet[foot].body).id)
        names = [model.joint(index).name for index in above]
        found[side] = tuple(name for name in names if name in description.joints)
    return found


def _plates(
    description: RobotDescription, model: mujoco.MjModel
) -> tuple[dict[str, str], list[int], torch.Tensor | None]:
    """Plates and their feet, the geoms under them, and the plate of each geom."""
    if description.plates is not None:
        return description.plates, [model.geom(name).id for name in description.plates], None
    geoms, owner = [], []
    for index, foot in enumerate(description.feet.values()):
        own = colliding_geoms(model, model.body(foot.body).id).tolist()
        geoms += own
        owner += [index] * len(own)
    return dict(zip(FEET, FEET, strict=True)), geoms, torch.tensor(owner)


def _chain(description: RobotDescription, model: mujoco.MjModel, side: str) -> LegChain:
    """A leg as screws, the joints that are not its own at home.

    Raises:
        RobotDescriptionError: it is no leg that can walk, see `leg_chain`.
    """
    foot = description.feet[FEET[SIDES.index(side)]]
    posture = None
    if description.model is not None:
        posture = np.array(model.key("home").qpos)
    try:
        return leg_chain(model, leg_names(description, model)[side], str(foot.site), posture)
    except UserError as error:
        raise RobotDescriptionError(f"legs.{side}: {error}") from error


def _measure_leg(
    description: RobotDescription, model: mujoco.MjModel, chain: LegChain
) -> LegGeometry:
    """Left leg's dimensions, measured on the model at the zero pose with the root at the origin."""
    data = zero_pose(model)
    foot = description.feet[FEET[0]]
    body, site = model.body(foot.body).id, model.site(foot.site).id
    plates = [
        model.geom(name).id
        for name, owner in (description.plates or {}).items()
        if owner == FEET[0]
    ]
    strict = description.model is None
    if strict:
        center, half = data.geom_xpos[plates], model.geom_size[plates]
        corners = np.concatenate([center - half, center + half]) - data.site_xpos[site]
        under, low, high = corners[:, 2].min(), corners.min(0), corners.max(0)
    else:
        reach = float(chain.anchors[0, 2] - chain.sole_pos[2])
        under, low, high = sole_rectangle(model, data, body, site, NEAR_SOLE * abs(reach))
    if abs(under) > (LENGTH_TOLERANCE if strict else NEAR_SOLE * abs(reach)):
        raise RobotDescriptionError(
            f"feet.{FEET[0]}.site is {-1000 * under:+.3f} mm above the underside of the plates at "
            "the zero pose; move it into that plane"
        )
    told = foot.sole
    heel, toe = float(low[0]), float(high[0])
    width = float(high[1] - low[1])
    if told is not None:
        heel = heel if told.heel is None else told.heel
        toe = toe if told.toe is None else told.toe
        width = width if told.width is None else told.width

    def point(index: int | None) -> tuple[float, float, float]:
        x, y, z = chain.anchors[0 if index is None else index]
        return float(x), float(y), float(z)

    def first(*kinds: Kind) -> int | None:
        return next((i for i in map(chain.index, kinds) if i is not None), None)

    def apart(a: int, b: int) -> float:
        return float(np.hypot(*(chain.anchors[a] - chain.anchors[b])[[0, 2]]))

    hip = chain.index("pitch") or 0
    last = chain.num_joints - 1
    ankle = first("ankle_pitch", "ankle_roll")
    ankle = last if ankle is None else ankle
    knee = chain.index("knee")
    knee = ankle if knee is None else knee
    up = chain.sole_rot[:, 2]
    return LegGeometry(
        hip_pitch_pos=point(hip),
        hip_roll_pos=point(first("roll", "pitch")),
        leg_y=float(chain.sole_pos[1]),
        thigh=apart(hip, knee),
        shank=apart(knee, ankle),
        ankle_height=float((chain.anchors[ankle] - chain.sole_pos) @ up),
        heel=heel,
        toe=toe,
        sole_width=max(width, 1e-3),
    )
