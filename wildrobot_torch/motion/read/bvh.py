"""Biovision hierarchies (BVH): a tree of joints with offsets, and channels frame by frame.

Channels may stand in any order and on any joint; rotations turn about the joint's own axes in the
order of their channels. A joint's position channels are where it is in its parent: they replace
its offset, or are added to it where that keeps its bone as long as the offset says. SOMA's offsets
have six numbers: the last three are the angles about x, y and z in the rest pose, which its
channels include. Source of the format: M. Meredith and S. Maddock, "Motion capture file formats
explained", Sheffield, 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from wildrobot_torch.motion.clip import MAX_FPS, MIN_FPS, ClipError
from wildrobot_torch.motion.read.figure import Capture, motion_of
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.read.text import read_text
from wildrobot_torch.motion.rotations import Array

_CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "xyz")


class Joint(NamedTuple):
    """A joint or the end of a bone; `channels` are like `xposition`, in the file's order.

    `angles` (3,) [deg] about x, then y, then z of the parent are those of the rest pose.
    """

    name: str
    parent: int
    offset: Array
    channels: tuple[str, ...]
    is_end: bool
    angles: Array


class Bvh(NamedTuple):
    """A whole file: joints, parents first, and values (N, all channels) at `fps` [1/s]."""

    joints: tuple[Joint, ...]
    fps: float
    values: Array


def read_bvh(path: Path) -> SkeletonMotion:
    """The figure's motion in a BVH file.

    Raises:
        ClipError: the file is damaged, or its figure is none that walks.
    """
    try:
        file = parse(read_text(path))
        return motion_of(capture_of(file), path.stem, f"BVH {path.name}")
    except ClipError as error:
        raise ClipError(f"{path}: {error}") from None


def parse(text: str) -> Bvh:
    """Joints and values of a BVH file's text.

    Raises:
        ClipError: a part is missing, damaged, or contradicts another.
    """
    head, found, tail = text.partition("MOTION")
    if not found:
        raise ClipError("no MOTION section; the BVH file is cut short")
    joints = _hierarchy(head)
    rest = [line.strip() for line in tail.splitlines()[:12] if line.strip()]
    if len(rest) < 2 or not rest[0].lower().startswith("frames:"):
        raise ClipError(f"MOTION begins with {rest[0] if rest else ''!r}; needed: Frames: N")
    if not rest[1].lower().replace(" ", "").startswith("frametime:"):
        raise ClipError(f"{rest[1]!r} follows Frames; needed: Frame Time: seconds")
    count = _whole("Frames", rest[0].partition(":")[2])
    fps = _rate(rest[1].partition(":")[2].strip())
    rows = tail[tail.index(rest[1]) + len(rest[1]) :]
    return Bvh(joints, fps, _values(rows, joints, count))


def _hierarchy(text: str) -> tuple[Joint, ...]:
    joints: list[Joint] = []
    names: set[str] = set()
    open_joints: list[int] = []
    begun: tuple[str, bool] | None = None  # name of a joint whose brace is awaited
    lines = text.replace("{", "\n{\n").replace("}", "\n}\n").splitlines()
    for line in (stripped for raw in lines if (stripped := raw.strip())):
        keyword, _, words = line.partition(" ") if " " in line else line.partition("\t")
        keyword, words = keyword.upper(), words.strip()
        if keyword == "HIERARCHY":
            continue
        if keyword in ("ROOT", "JOINT") or line.upper().split() == ["END", "SITE"]:
            if keyword == "ROOT" and joints:
                raise ClipError(f"a second ROOT {words!r}; allowed: one figure a file")
            if keyword != "ROOT" and not open_joints:
                raise ClipError(f"{line!r} stands outside of a ROOT")
            is_end = keyword == "END"
            if not is_end and not words:
                raise ClipError(f"a {keyword} without a name")
            begun = (f"{joints[open_joints[-1]].name} end" if is_end else words, is_end)
            if not is_end and begun[0] in names:
                raise ClipError(f"joint {words!r} stands twice; names must differ")
            names.add(begun[0])
        elif line == "{":
            if begun is None:
                raise ClipError("a { without ROOT, JOINT or End Site before it")
            parent = open_joints[-1] if open_joints else -1
            joints.append(Joint(begun[0], parent, np.full(3, np.nan), (), begun[1], np.zeros(3)))
            open_joints.append(len(joints) - 1)
            begun = None
        elif line == "}":
            if not open_joints:
                raise ClipError("a } without its {")
            joint = joints[open_joints.pop()]
            if np.isnan(joint.offset).any():
                raise ClipError(f"{joint.name!r} has no OFFSET")
        elif keyword == "OFFSET" and open_joints:
            what, given = f"OFFSET of {joints[open_joints[-1]].name!r}", words.split()
            offset = _numbers(what, given, 6 if len(given) == 6 else 3)
            angles = offset[3:] if len(given) == 6 else np.zeros(3)
            joints[open_joints[-1]] = joints[open_joints[-1]]._replace(
                offset=offset[:3], angles=angles
            )
        elif keyword == "CHANNELS" and open_joints:
            channels = _channels(joints[open_joints[-1]].name, words.lower().split())
            joints[open_joints[-1]] = joints[open_joints[-1]]._replace(channels=channels)
        else:
            raise ClipError(f"{line[:40]!r} is no line of a BVH hierarchy")
    if not joints or open_joints or begun:
        raise ClipError("the hierarchy is not whole: braces are missing")
    return tuple(joints)


def _channels(name: str, words: list[str]) -> tuple[str, ...]:
    count = _whole(f"CHANNELS of {name!r}", words[0] if words else "")
    channels = tuple(words[1:])
    if len(channels) != count:
        raise ClipError(f"CHANNELS of {name!r}: {len(channels)} named, {count} announced")
    if unknown := [channel for channel in channels if channel not in _CHANNELS]:
        allowed = "Xposition .. Zposition, Xrotation .. Zrotation"
        raise ClipError(f"channel {unknown[0]!r} of {name!r} is unknown; allowed: {allowed}")
    if len(set(channels)) < len(channels):
        raise ClipError(f"CHANNELS of {name!r} has one twice: {' '.join(channels)}")
    return channels


def _whole(what: str, text: str) -> int:
    text = text.strip()
    if not text.isascii() or not text.isdecimal():
        raise ClipError(f"{what}: {text!r} is no whole number")
    return int(text)


def _numbers(what: str, words: list[str], count: int) -> Array:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        raise ClipError(f"{what}: {' '.join(words)[:60]!r} are not numbers") from None
    if len(numbers) != count:
        raise ClipError(f"{what}: {len(numbers)} value(s), {count} needed")
    if not np.isfinite(numbers).all():
        raise ClipError(f"{what}: {' '.join(words)[:60]!r} is not finite")
    return numbers


def _rate(text: str) -> float:
    """Frames per second: the whole number whose period rounds to the digits, if there is one."""
    period = float(_numbers("Frame Time", text.split(), 1)[0])
    if not 1.0 / MAX_FPS <= period <= 1.0 / MIN_FPS:
        allowed = f"{1.0 / MAX_FPS:g} to {1.0 / MIN_FPS:g} s"
        raise ClipError(f"Frame Time is {text} s; allowed: {allowed}")
    digits = text.lower().partition("e")[0].partition(".")[2] if "e" not in text.lower() else ""
    half = 0.5 * 10.0 ** -len(digits) if digits else 0.0
    whole = float(round(1.0 / period))
    return whole if abs(1.0 / whole - period) <= half * (1.0 + 1e-9) else 1.0 / period


def _values(text: str, joints: tuple[Joint, ...], count: int) -> Array:
    width = sum(len(joint.channels) for joint in joints)
    words = text.split()
    if len(words) != count * width or count < 2:
        raise ClipError(_miscounted(text, width, count))
    try:
        values = np.array(words, dtype=np.float64).reshape(count, width)
    except ValueError:
        wrong = next(i for i, word in enumerate(words) if not _is_number(word))
        raise ClipError(f"frame {wrong // width + 1}: {words[wrong]!r} is no number") from None
    if not np.isfinite(values).all():
        frame, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        owners = [f"{j.name} {channel}" for j in joints for channel in j.channels]
        raise ClipError(f"frame {frame + 1}: {owners[column]} is {values[frame, column]}")
    return values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _miscounted(text: str, width: int, count: int) -> str:
    """What is wrong where values are too few or too many."""
    rows = [line for line in text.splitlines() if line.strip()]
    if count < 2:
        return f"Frames: {count}; a motion has 2 or more"
    for number, row in enumerate(rows, 1):
        if (found := len(row.split())) != width:
            cut = "; the file may be cut short" if number == len(rows) else ""
            return f"frame {number} has {found} values, the channels need {width}{cut}"
    less = "; the file may be cut short" if len(rows) < count else "; correct the number"
    return f"Frames: {count}, but {len(rows)} follow{less}"


def capture_of(file: Bvh) -> Capture:
    """The file's tree and its forward kinematics, in the file's axes and unit."""
    joints, starts, start = file.joints, [], 0
    for joint in joints:
        starts.append(start)
        start += len(joint.channels)
    rest, rest_turns = np.zeros((len(joints), 3)), np.tile(np.eye(3), (len(joints), 1, 1))
    for node, joint in enumerate(joints):
        turn = Rotation.from_euler("xyz", joint.angles, degrees=True).as_matrix()
        frame = rest_turns[joint.parent] if joint.parent >= 0 else np.eye(3)
        rest[node] = frame @ joint.offset + (rest[joint.parent] if joint.parent >= 0 else 0.0)
        rest_turns[node] = frame @ turn
    placed = [_placed(joint, file.values, starts[i]) for i, joint in enumerate(joints)]

    def poses(nodes: Sequence[int], rows: slice) -> tuple[Array, Array]:
        needed: set[int] = set()
        for node in nodes:
            while node >= 0 and node not in needed:
                needed.add(node)
                node = joints[node].parent
        values = file.values[rows]
        where: dict[int, tuple[Array, Array]] = {}
        for node in sorted(needed):
            joint = joints[node]
            local = np.broadcast_to(joint.offset, (len(values), 3))
            if placed[node] != "offset":
                local = local.copy() if placed[node] == "added" else np.zeros_like(local)
                for i, channel in enumerate(joint.channels):
                    if channel.endswith("position"):
                        local[:, "xyz".index(channel[0])] += values[:, starts[node] + i]
            turn = _turn(joint, values, starts[node])
            if joint.parent >= 0:
                pos, frame = where[joint.parent]
                local = pos + np.einsum("nij,nj->ni", frame, local)
                turn = frame if turn is None else frame @ turn
            elif turn is None:
                turn = np.broadcast_to(np.eye(3), (len(values), 3, 3))
            where[node] = local, turn
        return (
            np.stack([where[node][0] for node in nodes], 1),
            np.stack([where[node][1] for node in nodes], 1),
        )

    return Capture(
        tuple(joint.name for joint in joints),
        tuple(joint.parent for joint in joints),
        tuple(joint.is_end for joint in joints),
        rest,
        len(file.values),
        file.fps,
        poses,
        rest_turns,
    )


def _placed(joint: Joint, values: Array, start: int) -> str:
    """Whether position channels replace an offset or are added to it; `offset` without them."""
    columns = [i for i, channel in enumerate(joint.channels) if channel.endswith("position")]
    if not columns:
        return "offset"
    given = np.tile(joint.offset, (len(values), 1))
    axes = ["xyz".index(joint.channels[i][0]) for i in columns]
    given[:, axes] = values[:, [start + i for i in columns]]
    if joint.parent < 0 or len(columns) < 3:
        return "replaced" if len(columns) == 3 else "added"
    length = np.linalg.norm(joint.offset)
    replaced = np.abs(np.linalg.norm(given, axis=1) - length).mean()
    added = np.abs(np.linalg.norm(given + joint.offset, axis=1) - length).mean()
    return "added" if added < replaced else "replaced"


def _turn(joint: Joint, values: Array, start: int) -> Array | None:
    """Rotation (N, 3, 3) of a joint in its parent; None where it has no rotation channels."""
    columns = [i for i, channel in enumerate(joint.channels) if channel.endswith("rotation")]
    if not columns:
        return None
    letters = "".join(joint.channels[i][0].upper() for i in columns)
    angles = values[:, [start + i for i in columns]]
    return Rotation.from_euler(letters, angles, degrees=True).as_matrix()
