"""A stranger's MJCF, compiled as it came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco

from envs.errors import UserError


class InferenceError(UserError):
    """An MJCF from which no walking robot can be described."""


@dataclass(frozen=True)
class Read:
    """A compiled MJCF, and what was done to compile it."""

    path: Path
    model: mujoco.MjModel
    notes: tuple[str, ...]
    """What was left out or added, a sentence each."""


def read_mjcf(path: Path | str) -> Read:
    """The model in the MJCF file `path`.

    A floor is added where something in the file names a geom called `floor` and there is none.
    Meshes whose files are missing are left out where they are for the eye alone.

    Raises:
        InferenceError: no such file, no MJCF, or one that does not compile.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder; name the MJCF file in it" if path.is_dir() else "no such file"
        raise InferenceError(f"{path}: {kind}")
    spec = _spec(path)
    try:
        return Read(path, spec.compile(), ())
    except ValueError as error:
        reason = " ".join(str(error).split())
    spec = _spec(path)
    notes = _without_missing_meshes(spec, path)
    if not any(geom.name == "floor" for geom in spec.worldbody.geoms):
        spec.worldbody.add_geom(
            name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 0.1]
        )
        if "floor" in reason:
            notes.append("a geom `floor` was added, which the file names and does not have")
    try:
        return Read(path, spec.compile(), tuple(notes))
    except ValueError:
        raise InferenceError(f"{path} does not compile: {reason}") from None


def _spec(path: Path) -> mujoco.MjSpec:
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InferenceError(f"{path}: cannot be read as MJCF: {reason}") from error


def _without_missing_meshes(spec: mujoco.MjSpec, path: Path) -> list[str]:
    """Delete meshes without a file, and the geoms they are for, where nothing collides with them.

    Raises:
        InferenceError: a missing mesh collides, or a body's mass comes from it.
    """
    folders = (path.parent / spec.meshdir, path.parent)
    missing = {
        mesh.name or Path(mesh.file).stem: mesh
        for mesh in spec.meshes
        if mesh.file and not any((folder / mesh.file).is_file() for folder in folders)
    }
    if not missing:
        return []
    for body in spec.bodies:
        for geom in list(body.geoms):
            if geom.meshname not in missing:
                continue
            file = missing[geom.meshname].file
            if geom.contype or geom.conaffinity:
                raise InferenceError(
                    f"{path}: mesh file {file!r} is missing, and body {body.name!r} collides with "
                    "it; put it where the MJCF names it"
                )
            if not body.explicitinertial and body.name != "world":
                raise InferenceError(
                    f"{path}: mesh file {file!r} is missing, and body {body.name!r} has no mass "
                    "without it; put it where the MJCF names it"
                )
            spec.delete(geom)
    for mesh in missing.values():
        spec.delete(mesh)
    return [f"{len(missing)} mesh files are missing and left out; they are for the eye alone"]
