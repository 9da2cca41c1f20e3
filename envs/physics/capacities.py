"""Room that MuJoCo Warp sets aside for a robot's contacts, read from the robot's folder.

MuJoCo Warp allocates constraints and contacts once. It drops what does not fit, without an
exception, and the physics is wrong from then on. So the room is measured, never guessed:
`tools/measure_capacities.py` writes it, and MuJoCo Warp does not run without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import yaml

from envs.errors import UserError
from envs.physics.base import MEASURE_CAPACITIES
from envs.robot.model import RobotModel
from envs.settings import PositiveInt, check
from envs.yaml_files import from_mapping, read_yaml

FILE_NAME = "capacities.yaml"


class CapacityError(UserError):
    """Capacities are missing, unreadable or of another robot; the message says what to do."""


@dataclass(frozen=True)
class Capacities:
    """Room per simulation."""

    njmax: PositiveInt
    """Constraint rows; no simulation may have more."""
    nconmax: PositiveInt
    """Contacts; the simulations share num_envs times as many."""
    contact_sensor_maxmatch: PositiveInt
    """Contacts a contact sensor looks at."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class _Content:
    robot_digest: str
    scenes: dict[str, Any]


def read_capacities(loaded: RobotModel) -> Capacities:
    """Capacities of a robot in its scene, from the file in its folder.

    Raises:
        CapacityError: not measured yet, or for another version of the robot.
    """
    path = loaded.directory / FILE_NAME
    try:
        content = from_mapping(_Content, read_yaml(path), str(path))
        if content.robot_digest != loaded.untimed_digest:
            raise CapacityError(
                f"{path} was measured for robot {content.robot_digest}, the robot now is "
                f"{loaded.untimed_digest}"
            )
        if loaded.scene not in content.scenes:
            raise CapacityError(
                f"{path} has no scene {loaded.scene!r}, but {', '.join(content.scenes) or 'none'}"
            )
        return from_mapping(Capacities, content.scenes[loaded.scene], f"{path}: {loaded.scene}")
    except UserError as error:
        raise CapacityError(
            f"{error}; run `{MEASURE_CAPACITIES} --robot {loaded.directory}`"
        ) from error


def capacities_text(digest: str, scenes: dict[str, Capacities], comment: str) -> str:
    """Content of a capacities file.

    Args:
        digest: the robot's version, `RobotModel.untimed_digest`.
        scenes: capacities by name of the scene.
        comment: what they were measured on; the head of the file.
    """
    content = {"robot_digest": digest, "scenes": {k: asdict(v) for k, v in scenes.items()}}
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + yaml.safe_dump(content, sort_keys=False)
