"""Acclaim skeletons and motions (ASF/AMC), as the CMU motion capture database has them.

A skeleton is a tree of bones, each with a rest direction, a length and axes in which its rotations
are given; a motion lists, per frame, the root's position and every bone's rotations. Format: M.
Meredith and S. Maddock, "Motion capture file formats explained", University of Sheffield, 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.rotations import Array

INCH = 0.0254
"""[m]: lengths in the files, divided by the skeleton's length unit, are inches."""

_ROTATIONS = ("rx", "ry", "rz")


@dataclass(frozen=True)
class Bone:
    """One bone at rest, in the skeleton's axes (y up)."""

    name: str
    parent: str
    tip: Array
    """(3,) [m]: from where it starts to where it ends."""
    axes: Array
    """(3, 3): the axes its rotations are given in."""
    dof: tuple[str, ...]


@dataclass(frozen=True)
class Skeleton:
    """Bones, parents before children; the root has none of its own."""

    name: str
    bones: tuple[Bone, ...]
    root_order: tuple[str, ...]
    length_unit: float
    degrees: bool


@dataclass(frozen=True)
class CapturedMotion:
    """Where all bones end in every frame; y up as in the files."""

    root_pos: Array
    """(N, 3) [m]."""
    root_rotation: Array
    """(N, 3, 3)."""
    tips: dict[str, Array]
    """Bone -> (N, 3) [m]."""


def read_skeleton(path: Path) -> Skeleton:
    """The skeleton in an ASF file.

    Raises:
        ClipError: it cannot be read, or lacks a section.
    """
    sections = _sections(path)
    missing = [name for name in ("units", "root", "bonedata", "hierarchy") if name not in sections]
    if missing:
        raise ClipError(f"{path}: section(s) :{', :'.join(missing)} missing; not a whole ASF file")
    try:
        units = {words[0]: words[-1] for words in sections["units"]}
        length_unit = float(units["length"])
        degrees = units["angle"].startswith("deg")
        root = {words[0]: words[1:] for words in sections["root"]}
        scale = INCH / length_unit
        parents = {
            child: words[0]
            for words in sections["hierarchy"]
            if words[0] not in ("begin", "end")
            for child in words[1:]
        }
        entries: dict[str, dict[str, list[str]]] = {}
        entry: dict[str, list[str]] = {}
        for words in sections["bonedata"]:
            if words[0] == "begin":
                entry = {}
            elif words[0] == "end":
                entries[entry["name"][0]] = entry
            else:
                entry[words[0]] = words[1:]
        bones = {}
        for name, entry in entries.items():
            direction = np.array([float(x) for x in entry["direction"]])
            angles = np.array([float(x) for x in entry["axis"][:3]])
            bones[name] = Bone(
                name=name,
                parent=parents[name],
                tip=direction / np.linalg.norm(direction) * float(entry["length"][0]) * scale,
                axes=_euler_xyz(np.radians(angles) if degrees else angles),
                dof=tuple(entry.get("dof", ())),
            )
    except (KeyError, IndexError, ValueError) as error:
        raise ClipError(f"{path}: damaged ASF file, at {error}") from None
    ordered, placed = [], {"root"}
    while len(ordered) < len(bones):
        ready = [b for b in bones.values() if b.parent in placed and b.name not in placed]
        if not ready:
            raise ClipError(f"{path}: the bones in :hierarchy do not hang together")
        ordered += ready
        placed |= {b.name for b in ready}
    order = tuple(word.lower() for word in root.get("order", ()))
    if sorted(order) != sorted(("tx", "ty", "tz", *_ROTATIONS)):
        raise ClipError(f"{path}: root order is {' '.join(order)!r}; needed: TX TY TZ RX RY RZ")
    return Skeleton(path.stem, tuple(ordered), order, length_unit, degrees)


def read_motion(path: Path, skeleton: Skeleton) -> CapturedMotion:
    """Bone ends over time of the AMC file of a skeleton.

    Raises:
        ClipError: it cannot be read, does not fit the skeleton, or ends within a frame.
    """
    values = _read_frames(path, skeleton)
    scale = INCH / skeleton.length_unit
    columns = {name: values["root"][:, i] for i, name in enumerate(skeleton.root_order)}
    root_pos = np.stack([columns["tx"], columns["ty"], columns["tz"]], -1) * scale
    turned = {"root": _rotations(columns, skeleton.degrees)}
    ends = {"root": root_pos}
    for bone in skeleton.bones:
        frame = turned[bone.parent]
        if bone.dof:
            angles = {dof: values[bone.name][:, i] for i, dof in enumerate(bone.dof)}
            frame = frame @ bone.axes @ _rotations(angles, skeleton.degrees) @ bone.axes.T
        turned[bone.name] = frame
        ends[bone.name] = ends[bone.parent] + frame @ bone.tip
    return CapturedMotion(root_pos, turned["root"], ends)


def _sections(path: Path) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in _lines(path):
        if line.startswith(":"):
            key, *rest = line[1:].split()
            current = sections.setdefault(key.lower(), [])
            if rest:
                current.append(rest)
        elif line:
            current.append(line.split())
    return sections


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ClipError(f"{path}: cannot be read: {error.strerror}") from None
    return [line.split("#")[0].strip() for line in text.splitlines()]


def _read_frames(path: Path, skeleton: Skeleton) -> dict[str, Array]:
    widths = {"root": len(skeleton.root_order)}
    widths |= {bone.name: len(bone.dof) for bone in skeleton.bones if bone.dof}
    frames: list[dict[str, list[float]]] = []
    for line in _lines(path):
        if not line or line.startswith(":"):
            continue
        words = line.split()
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
            continue
        name, numbers = words[0], words[1:]
        if not frames or name not in widths:
            raise ClipError(f"{path}: {name!r} is no bone that skeleton {skeleton.name!r} moves")
        try:
            frames[-1][name] = [float(x) for x in numbers]
        except ValueError:
            raise ClipError(
                f"{path}: frame {len(frames)}, {name}: {' '.join(numbers)!r} are not numbers"
            ) from None
        if len(numbers) != widths[name]:
            raise ClipError(
                f"{path}: frame {len(frames)}, {name}: {len(numbers)} value(s), "
                f"skeleton {skeleton.name!r} has {widths[name]}"
            )
    if len(frames) < 2:
        raise ClipError(f"{path}: {len(frames)} frame(s); a motion has 2 or more")
    for number, frame in enumerate(frames, start=1):
        missing = [name for name in widths if name not in frame]
        if missing:
            raise ClipError(
                f"{path}: frame {number} lacks {', '.join(missing)}; the file may be cut short"
            )
    values = {name: np.array([frame[name] for frame in frames]) for name in widths}
    for name, series in values.items():
        if not np.isfinite(series).all():
            raise ClipError(f"{path}: {name} has a value that is not finite")
    return values


def _rotations(angles: dict[str, Array], degrees: bool) -> Array:
    count = len(next(iter(angles.values())))
    stacked = np.stack([angles.get(name, np.zeros(count)) for name in _ROTATIONS], -1)
    return _euler_xyz(np.radians(stacked) if degrees else stacked)


def _euler_xyz(angles: Array) -> Array:
    """Rz(z) Ry(y) Rx(x), (..., 3, 3): about x first, as axis order XYZ means in these files."""
    (cx, cy, cz), (sx, sy, sz) = (np.moveaxis(f(angles), -1, 0) for f in (np.cos, np.sin))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
