"""A stranger's MJCF, compiled as it came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco

from envs.robot.completion.opening import open_model
from envs.robot.completion.places import FLOOR
from envs.robot.description import RobotDescriptionError


class InferenceError(RobotDescriptionError):
    """An MJCF from which no walking robot can be described."""


@dataclass(frozen=True)
class Read:
    """A compiled MJCF, and what was done to compile it."""

    path: Path
    model: mujoco.MjModel
    notes: tuple[str, ...]
    """What was left out or added, a sentence each."""


def read_mjcf(path: Path | str) -> Read:
    """The model in the MJCF file `path`, as the loader of robots reads it.

    A floor is added where something in the file names a geom called `floor` and there is none.

    Raises:
        RobotDescriptionError: no such file, no MJCF, or one that does not compile.
    """
    path = Path(path)
    if path.is_dir():
        raise InferenceError(f"{path}: is a folder; name the MJCF file in it")
    notes: list[str] = []
    spec = open_model(path, notes)
    try:
        return Read(path, spec.compile(), tuple(notes))
    except ValueError as error:
        reason = " ".join(str(error).split())
    if FLOOR in reason and spec.geom(FLOOR) is None:
        spec.worldbody.add_geom(name=FLOOR, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 0.1])
        notes.append("a geom `floor` was added, which the file names and does not have")
        try:
            return Read(path, spec.compile(), tuple(notes))
        except ValueError as error:
            reason = " ".join(str(error).split())
    raise InferenceError(f"{path} does not compile: {reason}")
