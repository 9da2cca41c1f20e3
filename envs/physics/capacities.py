"""How much room MuJoCo Warp sets aside for a robot's contacts: read from beside the robot.

MuJoCo Warp allocates constraints and contacts once. What does not fit is dropped without an
exception, and the physics is wrong from then on. So the room is measured, never guessed:
`tools/measure_capacities.py` writes it, and nothing runs on that engine without.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from envs.errors import UserError
from envs.physics.base import MEASURE_CAPACITIES

FILE_NAME = "capacities.yaml"


class CapacityError(UserError):
    """Capacities are missing, unreadable or of another robot; the message says what to do."""


@dataclass(frozen=True)
class Capacities:
    """Room per simulation."""

    njmax: int
    """Constraint rows; no simulation may have more."""
    nconmax: int
    """Contacts; the simulations share num_envs times as many."""
    contact_sensor_maxmatch: int
    """Contacts a contact sensor looks at."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise CapacityError(f"{field.name} is {value!r}; allowed: an integer of 1 or more")


def read_capacities(directory: Path | str, scene: str, digest: str) -> Capacities:
    """Capacities of the robot in `directory` in one of its scenes.

    Args:
        directory: the robot's folder.
        scene: name of the scene.
        digest: the robot's version, `RobotSpec.digest`.

    Raises:
        CapacityError: not measured yet, or for another version of the robot.
    """
    path = Path(directory) / FILE_NAME
    remedy = f"run `{MEASURE_CAPACITIES} --robot {directory}`"
    if not path.is_file():
        raise CapacityError(f"{path} is missing: room for contacts is not measured yet; {remedy}")
    try:
        content = yaml.safe_load(path.read_text())
        measured_for, scenes = content["robot_digest"], content["scenes"]
        if measured_for != digest:
            raise CapacityError(
                f"{path} was measured for robot {measured_for}, the robot now is {digest}; {remedy}"
            )
        if scene not in scenes:
            raise CapacityError(
                f"{path} has no scene {scene!r}, but {', '.join(scenes) or 'none'}; {remedy}"
            )
        return Capacities(**scenes[scene])
    except CapacityError as error:
        text = str(error)
        raise error if remedy in text else CapacityError(f"{path}: {text}; {remedy}") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CapacityError(f"{path} cannot be read ({reason}); {remedy}") from error


def write_capacities(
    directory: Path | str, digest: str, scenes: dict[str, Capacities], comment: str
) -> Path:
    """Write capacities of all scenes beside the robot; returns the file.

    Args:
        directory: the robot's folder.
        digest: the robot's version.
        scenes: by name of the scene.
        comment: what they were measured on; becomes the file's head.
    """
    path = Path(directory) / FILE_NAME
    content = {"robot_digest": digest, "scenes": {k: asdict(v) for k, v in scenes.items()}}
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    partial = path.with_suffix(".partial")
    partial.write_text(head + yaml.safe_dump(content, sort_keys=False))
    partial.replace(path)
    return path
