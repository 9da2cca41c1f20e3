"""robot.yaml: facts of a robot that MJCF has no place for, and values its MJCF must have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envs.errors import UserError
from envs.robot.spec import FEET, ServoSpec
from envs.settings import PositiveFloat
from envs.yaml_files import from_mapping, read_yaml

FILE_NAME = "robot.yaml"

LEG_JOINTS = ("hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch")
"""Joints of a leg from the root to the foot; their names begin with `left_` or `right_`."""


class RobotDescriptionError(UserError):
    """robot.yaml or the MJCF cannot be used, or they contradict each other."""


@dataclass(frozen=True)
class JointDescription:
    """One actuated joint."""

    mirror: str
    """The joint on the other side."""
    mirror_sign: Literal[-1, 1]
    """The mirrored robot's angle is mirror_sign * q[mirror]."""
    action_sign: Literal[-1, 1]
    """Sign from action to joint angle."""
    range: tuple[float, float]
    """Lower and upper stop [rad]."""
    max_velocity: PositiveFloat
    """Nominal servo speed [rad/s]."""
    max_torque: PositiveFloat
    """Largest servo torque at the joint, in both directions [N m]."""


@dataclass(frozen=True)
class FootDescription:
    """One foot."""

    body: str
    site: str
    """Frame in the plane of the sole, below the ankle axis; at the zero pose x forward, z up."""


@dataclass(frozen=True)
class RootDescription:
    """The floating base."""

    body: str
    joint: str
    """Free joint of the body."""


@dataclass(frozen=True)
class RobotDescription:
    """The content of robot.yaml; dicts keep the order of the file."""

    name: str
    root: RootDescription
    mass: float
    """Total mass [kg]."""
    joints: dict[str, JointDescription]
    """In the order of the actuators."""
    feet: dict[str, FootDescription]
    """`left_foot` and `right_foot`."""
    plates: dict[str, str]
    """Contact plate (geom) -> foot, in the order of the foot switches."""
    servo: ServoSpec
    """The servo of every joint."""


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
    if description.servo.model == "bam" and description.servo.bam is None:
        raise RobotDescriptionError(
            f"{path}: servo.model is 'bam' without servo.bam; name a file of BAM parameters there"
        )
    return description


def _built(kind: type[Any], content: Any, where: str) -> Any:
    return from_mapping(kind, content, where, RobotDescriptionError)


def _check_names(description: RobotDescription, where: str) -> None:
    joints = description.joints
    for name in (f"{side}_{joint}" for side in ("left", "right") for joint in LEG_JOINTS):
        if name not in joints:
            raise RobotDescriptionError(f"{where}: joints: {name!r} is missing")
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
        if other.action_sign != joint.mirror_sign * joint.action_sign:
            raise RobotDescriptionError(
                f"{where}: action_sign of {name} and {joint.mirror} must be "
                f"{'equal' if joint.mirror_sign > 0 else 'opposite'}, because mirror_sign is "
                f"{joint.mirror_sign:+d}: equal actions move both legs alike"
            )
    if tuple(description.feet) != FEET:
        raise RobotDescriptionError(
            f"{where}: feet are {', '.join(description.feet)}; allowed: {', '.join(FEET)}"
        )
    for plate, foot in description.plates.items():
        if foot not in FEET:
            raise RobotDescriptionError(
                f"{where}: plates.{plate} is {foot!r}; allowed: {', '.join(FEET)}"
            )
    for foot in FEET:
        if foot not in description.plates.values():
            raise RobotDescriptionError(f"{where}: plates: no plate belongs to {foot!r}")
