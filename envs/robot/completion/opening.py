"""Somebody's MJCF as it came, with a name for everything."""

from __future__ import annotations

from pathlib import Path

import mujoco

from envs.robot.completion.work import Notes
from envs.robot.description import RobotDescriptionError


def open_model(path: Path, notes: Notes | None = None) -> mujoco.MjSpec:
    """The editable model in an MJCF file, with a name for every body, joint and colliding geom.

    Meshes and textures whose files are missing are left out where they are for the eye only. A body
    without a name becomes `body<number>`, a joint `<body>_joint`, a geom `<body>_geom`; a number
    is appended where that is taken.

    Raises:
        RobotDescriptionError: no such file, or none that can be parsed.
    """
    notes = [] if notes is None else notes
    if not path.is_file():
        raise RobotDescriptionError(f"{path}: no such file; give the robot's MJCF")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise RobotDescriptionError(
            f"{path} cannot be read as MJCF: {' '.join(str(error).split())}"
        ) from error
    _drop_missing_files(spec, notes)
    _name_all(spec)
    return spec


def _drop_missing_files(spec: mujoco.MjSpec, notes: Notes) -> None:
    """Take out what is for the eye only and whose file is not there."""

    def missing(file: str, folder: str) -> bool:
        base = Path(spec.modelfiledir)
        return bool(file) and not any((base / f / file).is_file() for f in (folder, ""))

    lost = {mesh.name or Path(mesh.file).stem: mesh for mesh in spec.meshes
            if missing(mesh.file, spec.meshdir)}  # fmt: skip
    shown = [geom for geom in spec.geoms if geom.meshname in lost]
    needed = {geom.meshname for geom in shown if geom.contype or geom.conaffinity}
    for geom in shown:
        if geom.meshname not in needed:
            spec.delete(geom)
    for name, mesh in lost.items():
        if name not in needed:
            spec.delete(mesh)
    if dropped := len(lost) - len(needed & set(lost)):
        notes.append(f"{dropped} meshes for the eye are left out: their files are not there")
    for texture in [t for t in spec.textures if missing(t.file, spec.texturedir)]:
        for material in spec.materials:
            material.textures = ["" if name == texture.name else name for name in material.textures]
        spec.delete(texture)


def _name_all(spec: mujoco.MjSpec) -> None:
    for number, body in enumerate(spec.bodies):
        if not body.name and number:
            body.name = free_name(f"body{number}", {other.name for other in spec.bodies})
    for kind, elements in (("joint", spec.joints), ("geom", spec.geoms)):
        taken = {element.name for element in elements}
        for element in elements:
            if not element.name:
                element.name = free_name(f"{element.parent.name}_{kind}", taken)
                taken.add(element.name)


def free_name(name: str, taken: set[str]) -> str:
    """The name, or the first of name2, name3, ... that is not taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}{number}"
    return found
