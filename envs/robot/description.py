"""What robot.yaml says of a robot: the facts an MJCF has no place for, and expectations of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.errors import UserError

FILE_NAME = "robot.yaml"


class RobotDescriptionError(UserError):
    """robot.yaml and the compiled MJCF do not describe the same robot; one line says where."""


@dataclass(frozen=True)
class JointDescription:
    """One actuated joint."""

    mirror: str
    """The joint on the other side."""
    mirror_sign: float
    """A mirrored pose is mirror_sign * q[mirror]."""
    action_sign: float
    """Sign from policy space to joint space."""
    range: tuple[float, float]
    """Lower and upper stop [rad]."""
    max_velocity: float
    """Nominal servo speed [rad/s]."""


@dataclass(frozen=True)
class FootDescription:
    """One foot."""

    body: str
    site: str
    """Frame in the sole's plane, under the ankle's axis."""


@dataclass(frozen=True)
class RobotDescription:
    """The whole of robot.yaml; dicts keep the file's order."""

    name: str
    root_body: str
    root_joint: str
    mass: float
    """Total mass [kg]."""
    joints: dict[str, JointDescription]
    feet: dict[str, FootDescription]
    plates: dict[str, str]
    """Contact plate (geom) -> name of its foot."""
    sensors: dict[str, int]
    """Sensor -> number of values."""


def read_description(path: Path) -> RobotDescription:
    """The description in the YAML file `path`.

    Raises:
        RobotDescriptionError: the file is missing or no YAML, a key is missing, unknown or of the
            wrong type, or a name refers to nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise RobotDescriptionError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobotDescriptionError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    return _parse(content, str(path))


def _parse(content: Any, where: str) -> RobotDescription:
    top = _keys(content, where, "name", "root", "mass", "joints", "feet", "plates", "sensors")
    root = _keys(top["root"], f"{where}: root", "body", "joint")
    joints = {
        name: _joint(entry, f"{where}: joints.{name}")
        for name, entry in _mapping(top["joints"], f"{where}: joints").items()
    }
    feet = {}
    for name, entry in _mapping(top["feet"], f"{where}: feet").items():
        foot = _keys(entry, f"{where}: feet.{name}", "body", "site")
        feet[name] = FootDescription(
            body=_text(foot["body"], f"{where}: feet.{name}.body"),
            site=_text(foot["site"], f"{where}: feet.{name}.site"),
        )
    plates = _mapping(top["plates"], f"{where}: plates")
    sensors = _mapping(top["sensors"], f"{where}: sensors")
    for name, size in sensors.items():
        if type(size) is not int or size < 1:
            raise RobotDescriptionError(
                f"{where}: sensors.{name} is {size!r}; give its number of values, 1 or more"
            )
    description = RobotDescription(
        name=_text(top["name"], f"{where}: name"),
        root_body=_text(root["body"], f"{where}: root.body"),
        root_joint=_text(root["joint"], f"{where}: root.joint"),
        mass=_number(top["mass"], f"{where}: mass"),
        joints=joints,
        feet=feet,
        plates={name: _text(foot, f"{where}: plates.{name}") for name, foot in plates.items()},
        sensors=dict(sensors),
    )
    _check_references(description, where)
    return description


def _joint(entry: Any, where: str) -> JointDescription:
    keys = _keys(entry, where, "mirror", "mirror_sign", "action_sign", "range", "max_velocity")
    limits = keys["range"]
    if not isinstance(limits, list) or len(limits) != 2:
        raise RobotDescriptionError(f"{where}.range is {limits!r}; give [lower, upper] in rad")
    low, high = (_number(limit, f"{where}.range") for limit in limits)
    if not low < high:
        raise RobotDescriptionError(f"{where}.range is {limits!r}; lower must be below upper")
    joint = JointDescription(
        mirror=_text(keys["mirror"], f"{where}.mirror"),
        mirror_sign=_number(keys["mirror_sign"], f"{where}.mirror_sign"),
        action_sign=_number(keys["action_sign"], f"{where}.action_sign"),
        range=(low, high),
        max_velocity=_number(keys["max_velocity"], f"{where}.max_velocity"),
    )
    for name in ("mirror_sign", "action_sign"):
        if getattr(joint, name) not in (-1.0, 1.0):
            raise RobotDescriptionError(f"{where}.{name} is {keys[name]!r}; allowed: 1, -1")
    if joint.max_velocity <= 0.0:
        raise RobotDescriptionError(
            f"{where}.max_velocity is {joint.max_velocity} rad/s; it must be positive"
        )
    return joint


def _check_references(description: RobotDescription, where: str) -> None:
    joints, feet = description.joints, description.feet
    for name, joint in joints.items():
        other = joints.get(joint.mirror)
        if other is None:
            raise RobotDescriptionError(
                f"{where}: joints.{name}.mirror is {joint.mirror!r}; joints: {', '.join(joints)}"
            )
        if other.mirror != name:
            raise RobotDescriptionError(
                f"{where}: mirror map is no involution: {name} -> {joint.mirror} -> {other.mirror}"
            )
        if other.mirror_sign != joint.mirror_sign:
            raise RobotDescriptionError(
                f"{where}: mirror_sign is {joint.mirror_sign:+.0f} for {name} and "
                f"{other.mirror_sign:+.0f} for its mirror {joint.mirror}; they must be equal"
            )
        if other.action_sign != joint.mirror_sign * joint.action_sign:
            raise RobotDescriptionError(
                f"{where}: action_sign of {name} and {joint.mirror} must be "
                f"{'equal' if joint.mirror_sign > 0 else 'opposite'}, as their mirror_sign is "
                f"{joint.mirror_sign:+.0f}: equal actions move both legs alike"
            )
    for plate, foot in description.plates.items():
        if foot not in feet:
            raise RobotDescriptionError(
                f"{where}: plates.{plate} belongs to {foot!r}; feet: {', '.join(feet)}"
            )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        raise RobotDescriptionError(f"{where}: expected names with entries, found {value!r}")
    return value


def _keys(value: Any, where: str, *expected: str) -> Mapping[str, Any]:
    keys = _mapping(value, where)
    for key in keys:
        if key not in expected:
            raise RobotDescriptionError(
                f"{where}: unknown key {key!r}; allowed: {', '.join(expected)}"
            )
    for key in expected:
        if key not in keys:
            raise RobotDescriptionError(f"{where}: key {key!r} is missing")
    return keys


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise RobotDescriptionError(f"{where} is {value!r}; give a name")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise RobotDescriptionError(f"{where} is {value!r}; give a finite number")
    return float(value)
