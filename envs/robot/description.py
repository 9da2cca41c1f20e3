"""robot.yaml: facts of a robot that MJCF has no place for, and values its MJCF must have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envs.errors import UserError
from envs.robot.spec import FEET, SIDES, ServoSpec
from envs.settings import NonNegativeFloat, PositiveFloat
from envs.yaml_files import from_mapping, read_yaml

FILE_NAME = "robot.yaml"


class RobotDescriptionError(UserError):
    """robot.yaml or the MJCF cannot be used, or they contradict each other."""


@dataclass(frozen=True)
class JointDescription:
    """One joint that the policy drives."""

    mirror: str
    """The joint on the other side; a joint on the midline names itself."""
    mirror_sign: Literal[-1, 1]
    """The mirrored robot's angle is mirror_sign * q[mirror]."""
    action_sign: Literal[-1, 1]
    """Sign from action to joint angle."""
    max_velocity: PositiveFloat
    """Nominal servo speed [rad/s]."""
    range: tuple[float, float] | None = None
    """Lower and upper stop, or how far the servo may be told to go [rad]; null for the MJCF's."""
    max_torque: PositiveFloat | None = None
    """Largest servo torque at the joint, in both directions [N m]; null for the MJCF's."""
    kp: PositiveFloat | None = None
    """Position gain [N m/rad] of the servo, where the MJCF has no position servo; else null."""
    kv: NonNegativeFloat | None = None
    """Velocity gain [N m s/rad], with `kp`; null for 0."""


@dataclass(frozen=True)
class SoleDescription:
    """The sole's frame and rectangle, where the MJCF has no site for it."""

    pos: tuple[float, float, float]
    """Origin, below the ankle's axis in the plane of the sole, in the foot body's frame [m]."""
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Its axes (wxyz): x to the toes, z up, when the robot stands."""
    heel: float | None = None
    """Rear edge behind the origin (negative x) [m]; null for that of the foot's geoms."""
    toe: float | None = None
    """Front edge ahead of it [m]; likewise."""
    width: PositiveFloat | None = None
    """Width of the sole [m]; likewise."""


@dataclass(frozen=True)
class FootDescription:
    """One foot."""

    body: str
    site: str | None = None
    """Frame in the plane of the sole, below the ankle axis; x forward, z up when it stands."""
    sole: SoleDescription | None = None
    """The same where there is no such site; without either it is found from the foot's geoms."""


@dataclass(frozen=True)
class RootDescription:
    """The floating base."""

    body: str
    joint: str | None = None
    """Free joint of the body; null for the one it has."""
    forward: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Where the robot looks, in the body's own axes."""
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Upwards, in the body's own axes."""


@dataclass(frozen=True)
class IMUDescription:
    """Where the IMU is: a site of the MJCF, or a place on a body.

    Its axes are the root's at the zero pose, unless `quat` says otherwise: a calibration turns the
    real one's readings to them.
    """

    site: str | None = None
    """Site of the MJCF."""
    body: str | None = None
    """Body it is fixed to, without a site."""
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Place in the body's frame [m]."""
    quat: tuple[float, float, float, float] | None = None
    """Axes in the body's frame (wxyz)."""


@dataclass(frozen=True)
class RobotDescription:
    """The content of robot.yaml; dicts keep the order of the file.

    Without `model` the folder's scenes have all that is needed, as this project writes them. With
    `model` the MJCF is a stranger's, and `envs.robot.completion` adds what it lacks.
    """

    name: str
    root: RootDescription
    joints: dict[str, JointDescription]
    """Driven by the policy, in the order of its actions."""
    feet: dict[str, FootDescription]
    """`left_foot` and `right_foot`."""
    mass: float | None = None
    """Total mass [kg], as a check."""
    plates: dict[str, str] | None = None
    """Contact plate (geom) -> foot, in the order of the foot switches; null for one per foot, which
    is all that collides of it."""
    servo: ServoSpec | None = None
    """The servo of every joint; null for an ideal one with the joints' torque and speed."""
    model: str | None = None
    """MJCF in this folder; null for the folder's scene_<name>.xml."""
    held: tuple[str, ...] = ()
    """Joints that their servos hold at home; neither observed nor driven."""
    fixed: tuple[str, ...] = ()
    """Joints that are taken out of the model, at home."""
    legs: dict[str, tuple[str, ...]] | None = None
    """`left` and `right`: driven joints from the root to the foot; null for those on the way."""
    imu: IMUDescription | None = None
    """null for the origin and axes of the root body; without `model` for the site `imu`."""
    home: dict[str, float] | None = None
    """Home pose, joint -> angle [rad], 0 for joints that are not named; null for the MJCF's
    keyframe `home`."""


def read_description(path: Path) -> RobotDescription:
    """The description in the YAML file `path`.

    Raises:
        RobotDescriptionError: the file is missing or no YAML, a key is missing, unknown, given
            twice or of the wrong type, or a name refers to nothing.
    """
    content = read_yaml(path, RobotDescriptionError)
    if isinstance(content, dict):
        # Entry by entry, so that an error names the joint or foot.
        for key, kind in (("joints", JointDescription), ("feet", FootDescription)):
            entries = content.get(key)
            if isinstance(entries, dict):
                content[key] = {
                    name: _built(kind, entry, f"{path}: {key}.{name}")
                    for name, entry in entries.items()
                }
    description = _built(RobotDescription, content, str(path))
    _check_names(description, str(path))
    if (servo := description.servo) is not None and servo.model == "bam" and servo.bam is None:
        raise RobotDescriptionError(
            f"{path}: servo.model is 'bam' without servo.bam; name a file of BAM parameters there"
        )
    if description.model is None:
        _require_complete(description, str(path))
    return description


def _built(kind: type[Any], content: Any, where: str) -> Any:
    return from_mapping(kind, content, where, RobotDescriptionError)


STRANGERS = ("held", "fixed", "imu", "home")
"""Keys that only a description with `model` may have."""


def _require_complete(description: RobotDescription, where: str) -> None:
    """Refuse a description without `model` that leaves something to be found."""
    for name in ("mass", "plates", "servo"):
        if getattr(description, name) is None:
            raise RobotDescriptionError(
                f"{where}: key {name!r} is missing; it may be left out with `model` alone"
            )
    for name in STRANGERS:
        if getattr(description, name):
            raise RobotDescriptionError(
                f"{where}: key {name!r} needs `model`: the MJCF that the robot is completed from"
            )
    for name, joint in description.joints.items():
        for key in ("range", "max_torque"):
            if getattr(joint, key) is None:
                raise RobotDescriptionError(f"{where}: joints.{name}: key {key!r} is missing")
        if joint.kp is not None or joint.kv is not None:
            raise RobotDescriptionError(f"{where}: joints.{name}: kp and kv need `model`")
    for name, foot in description.feet.items():
        if foot.site is None:
            raise RobotDescriptionError(f"{where}: feet.{name}: key 'site' is missing")
    if description.root.joint is None:
        raise RobotDescriptionError(f"{where}: root: key 'joint' is missing")


def _check_names(description: RobotDescription, where: str) -> None:
    joints = description.joints
    if not joints:
        raise RobotDescriptionError(f"{where}: joints: none is given; the policy must drive some")
    for name, joint in joints.items():
        if not math.isfinite(joint.max_velocity):
            raise RobotDescriptionError(
                f"{where}: joints.{name}.max_velocity is {joint.max_velocity} rad/s; it must be "
                "finite"
            )
        other = joints.get(joint.mirror)
        if other is None:
            raise RobotDescriptionError(
                f"{where}: joints.{name}.mirror is {joint.mirror!r}; allowed: {', '.join(joints)}"
            )
        if other.mirror != name:
            raise RobotDescriptionError(
                f"{where}: joints.{name}.mirror is {joint.mirror!r}, whose mirror is "
                f"{other.mirror!r}; two joints are each other's mirror"
            )
        if other is not joint and other.action_sign != joint.mirror_sign * joint.action_sign:
            raise RobotDescriptionError(
                f"{where}: action_sign of {name} and {joint.mirror} must be "
                f"{'equal' if joint.mirror_sign > 0 else 'opposite'}, because mirror_sign is "
                f"{joint.mirror_sign:+d}: equal actions move both legs alike"
            )
    for key in ("held", "fixed"):
        for name in getattr(description, key):
            if name in joints or (key == "fixed" and name in description.held):
                raise RobotDescriptionError(
                    f"{where}: {key} has {name!r}, which is also "
                    f"{'driven' if name in joints else 'held'}; a joint is one of the three"
                )
    if tuple(description.feet) != FEET:
        raise RobotDescriptionError(
            f"{where}: feet are {', '.join(description.feet)}; allowed: {', '.join(FEET)}"
        )
    plates = description.plates
    for plate, foot in (plates or {}).items():
        if foot not in FEET:
            raise RobotDescriptionError(
                f"{where}: plates.{plate} is {foot!r}; allowed: {', '.join(FEET)}"
            )
    for foot in FEET:
        if plates is not None and foot not in plates.values():
            raise RobotDescriptionError(f"{where}: plates: no plate belongs to {foot!r}")
    if (legs := description.legs) is not None:
        if tuple(legs) != SIDES:
            raise RobotDescriptionError(
                f"{where}: legs are {', '.join(legs)}; allowed: {', '.join(SIDES)}"
            )
        for side, leg in legs.items():
            for name in leg:
                if name not in joints:
                    raise RobotDescriptionError(
                        f"{where}: legs.{side} has {name!r}; allowed: {', '.join(joints)}"
                    )
    if (imu := description.imu) is not None and (imu.site is None) == (imu.body is None):
        raise RobotDescriptionError(f"{where}: imu needs either a site or a body with a pos")
