"""Acclaim skeletons and motions (ASF/AMC), as the CMU motion capture database has them.

A skeleton is a tree of bones, each with a rest direction, a length and the axes its rotations are
given in; a motion lists the root's position and every bone's rotations, frame by frame. Keywords
and names are read in lower case; commas and parentheses count as spaces.

Sources: M. Schafer, "Acclaim skeleton file definition V1.10", 1994; "Acclaim format: ASF line
details", Oxford Metrics (what the order of letters means); M. Meredith and S. Maddock, "Motion
capture file formats explained", University of Sheffield, 2001 (forward kinematics).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from wildrobot_torch.motion.clip import MAX_FPS, MIN_FPS, ClipError
from wildrobot_torch.motion.read.figure import INCH, Capture, motion_of
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.read.text import read_text
from wildrobot_torch.motion.rotations import Array

CMU_FPS = 120.0
"""Frame rate [1/s] of a motion that states none; that of the CMU database."""

_SPACES = str.maketrans(",()", "   ")


class Bone(NamedTuple):
    """One bone at rest, in the skeleton's axes (y up).

    `tip` (3,) [m] goes from its start to its end; `axes` (3, 3) are those its rotations are given
    in; `dof` has the letters of those it turns about, in the order of columns and of turning.
    """

    name: str
    parent: str
    tip: Array
    axes: Array
    dof: str


class Skeleton(NamedTuple):
    """Bones, parents before children; the root is not one of them.

    `root_order` is tx, ty, tz, rx, ry, rz in the order of the file's columns and of turning.
    """

    name: str
    bones: tuple[Bone, ...]
    root_order: tuple[str, ...]
    length_unit: float
    degrees: bool


class CapturedMotion(NamedTuple):
    """Where the root is and all bones end (N, 3) [m] at `fps` [1/s]; y up as in the files.

    `turned` are the root's and all bones' rotations from the rest pose (N, 3, 3).
    """

    fps: float
    root_pos: Array
    tips: dict[str, Array]
    turned: dict[str, Array]


def read_skeleton(path: Path) -> Skeleton:
    """The skeleton in an ASF file.

    Raises:
        ClipError: it cannot be read, lacks a section, or holds a value that no skeleton has.
    """
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for words in _lines(path):
        if words[0].startswith(":"):
            current = sections.setdefault(words[0][1:], [])
        else:
            current.append(words)
    missing = [name for name in ("units", "root", "bonedata", "hierarchy") if name not in sections]
    if missing:
        raise ClipError(f"{path}: section(s) :{', :'.join(missing)} missing; not a whole ASF file")
    try:
        return _skeleton(path.stem, sections)
    except ClipError as error:
        raise ClipError(f"{path}: {error}") from None
    except (KeyError, IndexError) as error:
        raise ClipError(f"{path}: damaged ASF file, at {error}") from None


def _skeleton(name: str, sections: dict[str, list[list[str]]]) -> Skeleton:
    units = {words[0]: words[1:] for words in sections["units"]}
    length_unit = _numbers("length of :units", units["length"], 1)[0]
    if length_unit <= 0.0:
        raise ClipError(f"length of :units is {length_unit:g}; it must be positive")
    angle = units["angle"][0]
    if not angle.startswith(("deg", "rad")):
        raise ClipError(f"angle of :units is {angle!r}; allowed: deg, rad")
    degrees = angle.startswith("deg")
    root = {words[0]: words[1:] for words in sections["root"]}
    order = tuple(root.get("order", ()))
    if sorted(order) != ["rx", "ry", "rz", "tx", "ty", "tz"]:
        raise ClipError(f"root order is {' '.join(order)!r}; needed: TX TY TZ RX RY RZ, any order")
    for key in ("position", "orientation"):
        # Programs differ in what others mean: turned before or after the motion's own rotation.
        if _numbers(f"root {key}", root.get(key, ["0", "0", "0"]), 3).any():
            raise ClipError(f"root {key} is {' '.join(root[key])}; allowed: 0 0 0")
    parents: dict[str, str] = {}
    for parent, *children in sections["hierarchy"]:  # "begin" and "end" have none
        for child in children:
            if child in parents:
                raise ClipError(f"bone {child!r} stands twice in :hierarchy; once is allowed")
            parents[child] = parent
    bones: dict[str, Bone] = {}
    entries: list[dict[str, list[str]]] = []  # keyword -> words, of each bone
    for words in sections["bonedata"]:
        if words[0] == "begin":
            entries.append({})
        elif words[0] != "end":
            entries[-1][words[0]] = words[1:]
    for entry in entries:
        bone = _bone(entry, parents, INCH / length_unit, degrees)
        if bone.name in (*bones, "root"):
            raise ClipError(f"bone {bone.name!r} stands twice in :bonedata; names must differ")
        bones[bone.name] = bone
    ordered, placed = [], {"root"}
    while len(ordered) < len(parents):
        ready = [n for n, parent in parents.items() if parent in placed and n not in placed]
        if not ready or not bones.keys() >= set(ready):
            lost = sorted(parents.keys() - placed - bones.keys()) or sorted(parents.keys() - placed)
            raise ClipError(f"the bones in :hierarchy do not hang together, at {lost[0]!r}")
        ordered += [bones[n] for n in ready]
        placed.update(ready)
    return Skeleton(name, tuple(ordered), order, length_unit, degrees)


def _bone(entry: dict[str, list[str]], parents: dict[str, str], scale: float, deg: bool) -> Bone:
    name = entry["name"][0]
    lacking = [key for key in ("direction", "length", "axis") if key not in entry]
    if lacking or name not in parents:
        where = f"its {', '.join(lacking)}" if lacking else "a parent in :hierarchy"
        raise ClipError(f"bone {name!r} lacks {where}; not a whole ASF file")
    direction = _numbers(f"direction of bone {name!r}", entry["direction"], 3)
    length = _numbers(f"length of bone {name!r}", entry["length"], 1)[0]
    norm = float(np.linalg.norm(direction))
    if length < 0.0 or (norm == 0.0 and length > 0.0):
        what = f"bone {name!r} is {length:g} long in direction {' '.join(entry['direction'])}"
        raise ClipError(f"{what}; allowed: 0 or more, and a direction other than 0 0 0")
    letters = "".join(entry["axis"][3:]) or "xyz"
    if sorted(letters) != ["x", "y", "z"]:
        raise ClipError(f"axis order of bone {name!r} is {letters.upper()}; allowed: XYZ, ZYX, ...")
    dof = entry.get("dof", [])
    if len(set(dof)) < len(dof) or not set(dof) <= {"rx", "ry", "rz"}:
        raise ClipError(f"dof of bone {name!r} is {' '.join(dof)}; allowed: rx, ry, rz, each once")
    # The numbers are the angles about x, y and z; the letters say which is turned first.
    angles = dict(zip("xyz", _numbers(f"axis of bone {name!r}", entry["axis"][:3], 3), strict=True))
    return Bone(
        name=name,
        parent=parents[name],
        tip=direction * (length * scale / norm if norm > 0.0 else 0.0),
        axes=_rotation(letters, np.array([angles[letter] for letter in letters]), deg),
        dof="".join(word[1] for word in dof),
    )


def read_motion(path: Path, skeleton: Skeleton) -> CapturedMotion:
    """Bone ends over time of the AMC file of a skeleton.

    Raises:
        ClipError: it cannot be read, contradicts the skeleton, ends within a frame, or its frames
            are not numbered one by one.
    """
    values, fps = _read_frames(path, skeleton)
    scale = INCH / skeleton.length_unit
    order, degrees = skeleton.root_order, skeleton.degrees
    columns = {name: values["root"][:, i] for i, name in enumerate(order)}
    root_pos = np.stack([columns[name] for name in ("tx", "ty", "tz")], -1) * scale
    turns = [name for name in order if name.startswith("r")]
    angles = np.stack([columns[name] for name in turns], -1)
    turned = {"root": _rotation("".join(name[1] for name in turns), angles, degrees)}
    ends = {"root": root_pos}
    for bone in skeleton.bones:
        frame = turned[bone.parent]
        if bone.dof:
            frame = frame @ bone.axes @ _rotation(bone.dof, values[bone.name], degrees)
            frame = frame @ bone.axes.T
        turned[bone.name] = frame
        ends[bone.name] = ends[bone.parent] + frame @ bone.tip
    return CapturedMotion(fps, root_pos, ends, turned)


def read_acclaim(asf: Path, amc: Path) -> SkeletonMotion:
    """The figure's motion in an AMC file of an ASF skeleton.

    Raises:
        ClipError: a file is damaged, they contradict each other, or the figure is none that walks.
    """
    skeleton = read_skeleton(asf)
    motion = read_motion(amc, skeleton)
    unit = f"inch / {skeleton.length_unit:g}"
    capture = _capture(skeleton, motion)
    try:
        return motion_of(capture, amc.stem, f"CMU {amc.stem}", 1.0, unit)
    except ClipError as error:
        raise ClipError(f"{amc}: {error}") from None


def _capture(skeleton: Skeleton, motion: CapturedMotion) -> Capture:
    """The tree with a joint where each bone begins and an end point where the last ones end.

    Joints have their bones' names, as in BVH files made from these.
    """
    bones = skeleton.bones
    last = [bone for bone in bones if bone.name not in {other.parent for other in bones}]
    rest = {"root": np.zeros(3)}
    for bone in bones:
        rest[bone.name] = rest[bone.parent] + bone.tip
    # Point -> the bone at whose end it is, and the bone that it turns with.
    points = [("root", "root"), *((bone.parent, bone.name) for bone in bones)]
    points += [(bone.name, bone.name) for bone in last]
    index = {"root": 0} | {bone.name: i for i, bone in enumerate(bones, 1)}
    parents = (-1, *(index[bone.parent] for bone in bones), *(index[bone.name] for bone in last))

    def poses(nodes: Sequence[int], rows: slice) -> tuple[Array, Array]:
        at = [motion.tips[points[node][0]][rows] for node in nodes]
        turned = [motion.turned[points[node][1]][rows] for node in nodes]
        return np.stack(at, 1), np.stack(turned, 1)

    return Capture(
        ("root", *(bone.name for bone in bones), *(f"{bone.name} end" for bone in last)),
        parents,
        (False,) * (1 + len(bones)) + (True,) * len(last),
        np.stack([rest[begin] for begin, _ in points]),
        len(motion.root_pos),
        motion.fps,
        poses,
    )


def _read_frames(path: Path, skeleton: Skeleton) -> tuple[dict[str, Array], float]:
    """Columns (N, W) of the root and of each bone that moves, in the file's units; and the rate."""
    widths = {"root": len(skeleton.root_order)}
    widths |= {bone.name: len(bone.dof) for bone in skeleton.bones if bone.dof}
    frames: list[dict[str, list[str]]] = []
    number, fps = 0, CMU_FPS
    for words in _lines(path):
        name, *rest = words
        if name.startswith(":"):
            fps = _header(path, name, rest, skeleton, fps)
        elif not rest and name.isascii() and name.isdecimal():
            if frames and int(name) != number + 1:
                wrong = f"{path}: frame {name} follows frame {number}"
                raise ClipError(f"{wrong}; frames must be numbered one by one")
            number = int(name)
            frames.append({})
        elif not frames or name not in widths:
            raise ClipError(f"{path}: {name!r} is no bone that skeleton {skeleton.name!r} moves")
        elif name in frames[-1]:
            raise ClipError(f"{path}: frame {number} has {name} twice; once is allowed")
        else:
            frames[-1][name] = rest
    if len(frames) < 2:
        raise ClipError(f"{path}: {len(frames)} frame(s); a motion has 2 or more")
    first = number + 1 - len(frames)
    for index, frame in enumerate(frames, first):
        if missing := [name for name in widths if name not in frame]:
            lacks = f"{path}: frame {index} lacks {', '.join(missing)}"
            raise ClipError(f"{lacks}; the file may be cut short")
    columns = {name: [frame[name] for frame in frames] for name in widths}
    try:  # all at once, which is much faster than line by line
        values = {name: np.array(rows, dtype=np.float64) for name, rows in columns.items()}
    except ValueError:
        values = {}
    if any(
        values.get(name, np.empty(0)).shape != (len(frames), width)
        or not np.isfinite(values[name]).all()
        for name, width in widths.items()
    ):
        for index, frame in enumerate(frames, first):
            for name, words in frame.items():
                _numbers(f"{path}: frame {index}, {name}", words, widths[name])
    return values, fps


def _header(path: Path, name: str, words: list[str], skeleton: Skeleton, fps: float) -> float:
    """The frame rate after a line of an AMC's header; refuses what contradicts the skeleton."""
    if name in (":degrees", ":radians"):
        if (name == ":degrees") != skeleton.degrees:
            theirs = f"skeleton {skeleton.name!r} has angle {'deg' if skeleton.degrees else 'rad'}"
            raise ClipError(f"{path}: angles are in {name[1:]}, {theirs}; both must be equal")
    elif name == ":samples-per-second":
        fps = _numbers(f"{path}: {name}", words, 1)[0]
        if not MIN_FPS <= fps <= MAX_FPS:
            raise ClipError(f"{path}: {name} is {fps:g}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")
    elif name != ":fully-specified":
        known = ":FULLY-SPECIFIED, :DEGREES, :RADIANS, :SAMPLES-PER-SECOND"
        raise ClipError(f"{path}: keyword {name!r} is unknown; allowed: {known}")
    return fps


def _lines(path: Path) -> list[list[str]]:
    """Words of every line that has some, in lower case and without comments."""
    try:
        text = read_text(path)
    except ClipError as error:
        raise ClipError(f"{path}: {error}") from None
    lines = text.translate(_SPACES).lower().splitlines()
    return [words for line in lines if (words := line.split("#", 1)[0].split())]


def _numbers(what: str, words: list[str], count: int) -> Array:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        raise ClipError(f"{what}: {' '.join(words)!r} are not numbers") from None
    if len(numbers) != count:
        raise ClipError(f"{what}: {len(numbers)} value(s), {count} needed")
    if not np.isfinite(numbers).all():
        raise ClipError(f"{what}: {' '.join(words)!r} is not finite")
    return numbers


def _rotation(letters: str, angles: Array, degrees: bool) -> Array:
    """Rotation (..., 3, 3) by `angles` (..., K) about the fixed axes `letters`, first to last."""
    return Rotation.from_euler(letters, angles, degrees=degrees).as_matrix()
