"""One walk of a figure with known joint centres, and writers of it in the dialects people have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from wildrobot_torch.motion.read import smpl

Array = np.ndarray

FIGURE = {
    "pelvis": (None, (0.0, 0.0, 0.0)),
    "spine": ("pelvis", (-0.01, 0.0, 0.12)),
    "chest": ("spine", (0.0, 0.0, 0.25)),
    "neck": ("chest", (0.0, 0.0, 0.15)),
    "head": ("neck", (0.02, 0.0, 0.11)),
    "head end": ("head", (0.0, 0.0, 0.16)),
} | {
    f"{side}_{name}": (f"{side}_{parent}" if parent not in ("pelvis", "chest") else parent,
                       (x, sign * y, z))
    for side, sign in (("left", 1.0), ("right", -1.0))
    for name, parent, (x, y, z) in (
        ("hip", "pelvis", (0.01, 0.09, -0.08)),
        ("knee", "hip", (0.0, 0.0, -0.42)),
        ("ankle", "knee", (0.0, 0.0, -0.41)),
        ("toe", "ankle", (0.14, 0.02, -0.06)),
        ("toe end", "toe", (0.06, 0.0, 0.0)),
        ("collar", "chest", (0.0, 0.03, 0.10)),
        ("shoulder", "collar", (0.0, 0.14, 0.0)),
        ("elbow", "shoulder", (0.0, 0.29, 0.0)),
        ("wrist", "elbow", (0.0, 0.25, 0.0)),
        ("hand end", "wrist", (0.0, 0.17, 0.0)),
    )
}  # fmt: skip
"""Joint or end -> parent, and offset in the rest pose: arms out, facing x, z up [m]."""


@dataclass
class Walk:
    """Points (N, 3) and rotations to the world (N, 3, 3) of every joint; z up, metres."""

    fps: float
    figure: dict[str, tuple[str | None, tuple[float, float, float]]]
    at: dict[str, Array]
    turned: dict[str, Array]

    def every(self, step: int) -> Walk:
        """Each `step`-th frame."""
        return Walk(
            self.fps / step,
            self.figure,
            {k: v[::step] for k, v in self.at.items()},
            {k: v[::step] for k, v in self.turned.items()},
        )

    def rest(self) -> dict[str, Array]:
        points: dict[str, Array] = {}
        for name, (parent, offset) in self.figure.items():
            points[name] = np.array(offset) + (points[parent] if parent else 0.0)
        return points


def _turn(letters: str, *angles: Array | float) -> Array:
    return Rotation.from_euler(letters, np.stack(np.broadcast_arrays(*angles), -1)).as_matrix()


def walk(
    seconds: float = 4.0,
    fps: float = 240.0,
    amplitude: float | Array = 0.45,
    turn_rate: float | Array = 0.0,
    sideways: float | Array = 0.0,
    backwards: bool = False,
    heading: float = 0.3,
    figure: dict = FIGURE,
) -> Walk:
    """A walk whose lower ankle stays where it is; amplitudes [rad] may change over time (N,)."""
    t = np.arange(round(seconds * fps)) / fps
    phase = 2.0 * np.pi * t * (-1.0 if backwards else 1.0)
    amplitude, sideways = np.broadcast_to(amplitude, t.shape), np.broadcast_to(sideways, t.shape)
    moving = np.clip(np.maximum(amplitude, sideways) / 0.2, 0.0, 1.0)
    yaw = heading + np.cumsum(np.broadcast_to(turn_rate, t.shape)) / fps
    level = _turn("Z", yaw)
    turned = {name: level for name in figure}
    turned["pelvis"] = level @ _turn("ZX", 0.08 * moving * np.sin(phase), 0.04 * np.cos(phase))
    turned["chest"] = level @ _turn("ZY", -0.06 * np.sin(phase), np.full_like(t, 0.05))
    turned["neck"] = level @ _turn("Y", 0.1 + 0.02 * np.sin(phase))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        mine = phase + (0.0 if sign > 0 else np.pi)
        swing = np.maximum(np.sin(mine + 0.9), 0.0) ** 2
        pitch = -amplitude * np.sin(mine) - 0.12
        roll = 0.01 * sign + sideways * np.sin(mine)
        bend = 0.2 + 1.0 * moving * swing
        turned[f"{side}_hip"] = level @ _turn("XYZ", roll, pitch, 0.05 * sign)
        turned[f"{side}_knee"] = turned[f"{side}_hip"] @ _turn("Y", bend)
        turned[f"{side}_ankle"] = level @ _turn("Z", np.full_like(t, 0.1 * sign))
        turned[f"{side}_toe"] = turned[f"{side}_ankle"] @ _turn("Y", 0.2 * swing)
        arm = _turn("X", np.full_like(t, -1.3 * sign))
        turned[f"{side}_collar"] = turned["chest"]
        turned[f"{side}_shoulder"] = turned["chest"] @ _turn("Y", 0.3 * np.sin(mine)) @ arm
        turned[f"{side}_elbow"] = turned[f"{side}_shoulder"] @ _turn("Z", -0.3 * sign + 0 * t)
        turned[f"{side}_wrist"] = turned[f"{side}_elbow"]
    at: dict[str, Array] = {}
    for name, (parent, offset) in figure.items():
        if parent is None:
            at[name] = np.zeros((len(t), 3))
        else:
            at[name] = at[parent] + turned[parent] @ np.array(offset)
    # The pelvis goes where the lower ankle does not move.
    feet = np.stack([at["left_ankle"], at["right_ankle"]], 1)
    lower = feet[:-1, :, 2].argmin(1)
    rows = np.arange(len(lower))
    move = feet[rows, lower] - feet[rows + 1, lower]
    root = np.concatenate([np.zeros((1, 3)), np.cumsum(move, 0)])
    root += [0.4, -0.7, 0.0]
    root[:, 2] = 0.08 - feet[..., 2].min(1)
    return Walk(fps, figure, {name: points + root for name, points in at.items()}, turned)


TO_FILE = {
    "z": np.eye(3),
    "y": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),  # x left, y up, z ahead
    "x": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "-y": np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),  # as cameras have it
}
"""Axis that points up in a file -> the file's axes as rows."""


@dataclass
class Dialect:
    """How a program writes BVH."""

    names: dict[str, str]
    up: str = "y"
    unit: float = 0.01
    order: str = "ZXY"
    positions: str = "root"
    """Which joints have position channels: root, all (in place of offsets) or added."""
    position_last: bool = False
    along: bool = False
    """Each joint's axes lie along its bone, so that the rest pose is no pose of a person."""
    left_handed: bool = False
    above: tuple[str, ...] = ()
    """Joints above the pelvis that stay at the origin."""
    digits: int = 8
    skip: tuple[str, ...] = ()
    frame_time: str | None = None
    extra: dict[str, tuple[str, tuple[float, float, float]]] = field(default_factory=dict)
    """Further points that move with their parent (fingers, faces)."""


def _lafan(name: str) -> str:
    side, _, part = name.partition("_")
    parts = {
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "toe": "Toe", "collar": "Shoulder",
        "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand",
    }  # fmt: skip
    middle = {"pelvis": "Hips", "spine": "Spine", "chest": "Spine1", "neck": "Neck", "head": "Head"}
    return middle.get(name) or side.capitalize() + parts.get(part, part)


def _named(pattern: dict[str, str]) -> dict[str, str]:
    return {name: pattern.get(name, _lafan(name)) for name in FIGURE}


LAFAN = {name: _lafan(name) for name in FIGURE}
XSENS = _named(
    {f"{s}_{a}": s.capitalize() + b
     for s in ("left", "right")
     for a, b in (("hip", "Hip"), ("knee", "Knee"), ("ankle", "Ankle"), ("toe", "Toe"),
                  ("collar", "Collar"), ("shoulder", "Shoulder"), ("elbow", "Elbow"),
                  ("wrist", "Wrist"))}
    | {"spine": "Chest", "chest": "Chest4"}
)  # fmt: skip
SOMA = _named({f"{s}_{a}": s.capitalize() + b for s in ("left", "right")
               for a, b in (("hip", "Leg"), ("knee", "Shin"), ("toe", "ToeBase"))})  # fmt: skip
CMU = _named({f"{s}_{a}": s[0] + b for s in ("left", "right")
              for a, b in (("hip", "femur"), ("knee", "tibia"), ("ankle", "foot"),
                           ("toe", "toes"))})  # fmt: skip
MIXAMO = {name: f"mixamorig:{_lafan(name)}" for name in FIGURE}
BIPED = _named({"pelvis": "Bip01 Pelvis"} | {
    f"{s}_{a}": f"Bip01 {s[0].upper()} {b}" for s in ("left", "right")
    for a, b in (("hip", "Thigh"), ("knee", "Calf"), ("ankle", "Foot"), ("toe", "Toe0"))
})  # fmt: skip
NAMELESS = {name: f"joint{i}" for i, name in enumerate(FIGURE)}
_FINGERS = {
    f"{side}_finger{i}": (f"{side}_wrist", (0.02 * i - 0.04, 0.11 * (1 if side == "left" else -1),
                                             0.0))
    for side in ("left", "right")
    for i in range(4)
}  # fmt: skip

DIALECTS = {
    "lafan1": Dialect(LAFAN, order="ZYX", along=True, digits=6),
    "cmu": Dialect(CMU, unit=0.0254 / 0.45, order="ZYX", above=("reference",)),
    "mixamo": Dialect(MIXAMO, order="XYZ", positions="all", extra=_FINGERS),
    "soma": Dialect(SOMA, order="ZYX", positions="all", along=True, above=("Root",),
                    extra=_FINGERS),
    "xsens": Dialect(XSENS, order="YXZ", unit=1.0),
    "xsens-inches": Dialect(XSENS, order="YXZ", unit=0.0254),
    "z-up": Dialect(BIPED, up="z", unit=1.0, order="XYZ", position_last=True),
    "x-up": Dialect(NAMELESS, up="x", order="YZX"),
    "y-down": Dialect(LAFAN, up="-y", unit=0.001, order="ZXY"),
    "added": Dialect(LAFAN, positions="added", order="XZY"),
    "left-handed": Dialect(LAFAN, left_handed=True, order="ZXY"),
    "nameless": Dialect(NAMELESS, order="ZXY"),
}  # fmt: skip


def write_bvh(path: Path, motion: Walk, dialect: Dialect) -> Path:
    """The walk as a BVH file."""
    path.write_text(bvh_text(motion, dialect))
    return path


def bvh_text(motion: Walk, dialect: Dialect) -> str:
    """The walk as the text of a BVH file."""
    axes = TO_FILE[dialect.up]
    if dialect.left_handed:
        axes = np.diag([-1.0, 1.0, 1.0]) @ axes
    figure = {n: entry for n, entry in motion.figure.items() if n not in dialect.skip}
    figure |= dialect.extra
    rest, at, turned = motion.rest(), dict(motion.at), dict(motion.turned)
    for name, (parent, offset) in dialect.extra.items():
        rest[name] = rest[parent] + offset
        at[name] = at[parent] + turned[parent] @ np.array(offset)
    names = dict(dialect.names)
    for i, (name, (parent, _)) in enumerate(dialect.extra.items()):
        names[name] = f"{names[parent]}F{i}"
    children: dict[str | None, list[str]] = {}
    for name, (parent, _) in figure.items():
        children.setdefault(parent, []).append(name)
    frames, own = {}, {}
    for name in figure:
        turn = np.eye(3)
        if dialect.along and name in children:
            bone = axes @ (rest[children[name][0]] - rest[name])
            bone /= np.linalg.norm(bone)
            side = np.cross(bone, [0.3, 0.5, -0.8])
            side /= np.linalg.norm(side)
            turn = np.stack([bone, side, np.cross(bone, side)], -1)
        own[name] = turn
        if name in turned and name in children:
            frames[name] = axes @ turned[name] @ axes.T @ turn
    lines, columns = ["HIERARCHY"], []
    count = len(at["pelvis"])
    rotations_of = [f"{letter}rotation" for letter in dialect.order]
    positions_of = ["Xposition", "Yposition", "Zposition"]

    def number(values: Sequence[float]) -> str:
        return " ".join(f"{v:.{dialect.digits}f}" for v in values)

    def open_joint(keyword: str, name: str, offset: Array, pad: str) -> None:
        lines.extend([f"{pad}{keyword} {name}", f"{pad}{{", f"{pad}\tOFFSET {number(offset)}"])

    pad = ""
    for i, name in enumerate(dialect.above):
        open_joint("JOINT" if i else "ROOT", name, np.zeros(3), pad)
        lines.append(f"{pad}\tCHANNELS 6 {' '.join(positions_of + rotations_of)}")
        columns.append(np.zeros((count, 6)))
        pad += "\t"

    def write(name: str, pad: str) -> None:
        parent = figure[name][0]
        if parent is None:
            offset = np.zeros(3)
            position = at[name] @ axes.T / dialect.unit
            before = np.tile(np.eye(3), (count, 1, 1))
        else:
            offset = own[parent].T @ axes @ (rest[name] - rest[parent]) / dialect.unit
            before = frames[parent]
            position = np.tile(offset, (count, 1))
            if dialect.positions == "added":
                position = np.zeros((count, 3))
        if name not in children:
            lines.extend([f"{pad}End Site", f"{pad}{{", f"{pad}\tOFFSET {number(offset)}",
                          f"{pad}}}"])  # fmt: skip
            return
        root = parent is None
        open_joint("ROOT" if root and not dialect.above else "JOINT", names[name], offset, pad)
        local = np.swapaxes(before, 1, 2) @ frames[name]
        angles = Rotation.from_matrix(local).as_euler(dialect.order, degrees=True)
        channels, values = list(rotations_of), [angles]
        if root or dialect.positions != "root":
            where = len(channels) if dialect.position_last else 0
            channels[where:where] = positions_of
            values.insert(1 if dialect.position_last else 0, position)
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
        columns.extend(values)
        for child in children[name]:
            write(child, pad + "\t")
        lines.append(f"{pad}}}")

    write("pelvis", pad)
    lines.extend("\t" * i + "}" for i in reversed(range(len(dialect.above))))
    period = dialect.frame_time or f"{1.0 / motion.fps:.6f}"
    lines.extend(["MOTION", f"Frames: {count}", f"Frame Time: {period}"])
    table = np.concatenate(columns, 1)
    lines.extend(" ".join(f"{v:.{dialect.digits}f}" for v in row) for row in table)
    return "\n".join(lines) + "\n"


def write_acclaim(folder: Path, stem: str, motion: Walk) -> Path:
    """The walk as an ASF skeleton and an AMC motion, whose path is returned.

    A bone goes from a joint to a child and turns with the joint; its axes are askew on purpose.
    """
    axes, unit = TO_FILE["y"], 0.0254 / 0.45
    rest = {name: axes @ point for name, point in motion.rest().items()}
    edges = [(p, n) for n, (p, _) in motion.figure.items() if p is not None]
    begins = [parent for parent, _ in edges]
    bone_of = {n: p if begins.count(p) == 1 else f"{p}_to_{n}" for p, n in edges}
    above = {n: p for p, n in edges}
    out = [":version 1.10", ":units", "length 0.45", "angle deg", ":root",
           "order TX TY TZ RX RY RZ", "axis XYZ", "position 0 0 0", "orientation 0 0 0",
           ":bonedata"]  # fmt: skip
    own, moves = {}, {}
    for i, (parent, name) in enumerate(edges):
        bone = rest[name] - rest[parent]
        length = np.linalg.norm(bone)
        angles = np.array([13.0 * i % 90, -7.0 * i % 60, 20.0 + i])
        own[name] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        # Where several bones leave one joint, the bone to it has turned already.
        moves[name] = parent != "pelvis" and parent != "chest"
        out += ["begin", f"id {i}", f"name {bone_of[name]}",
                "direction " + " ".join(f"{v:.9f}" for v in bone / length),
                f"length {length / unit:.9f}",
                "axis " + " ".join(f"{v:.6f}" for v in angles) + " XYZ"]  # fmt: skip
        if moves[name] or parent == "chest":
            out.append("dof rx ry rz")
        out.append("end")
    out += [":hierarchy", "begin"]
    for parent, name in edges:
        out.append(f"{bone_of[parent] if parent != 'pelvis' else 'root'} {bone_of[name]}")
    out.append("end")
    (folder / f"{stem.split('_')[0]}.asf").write_text("\n".join(out) + "\n")
    turned = {name: axes @ turn @ axes.T for name, turn in motion.turned.items()}
    root = Rotation.from_matrix(turned["pelvis"]).as_euler("xyz", degrees=True)
    columns = {"root": np.concatenate([motion.at["pelvis"] @ axes.T / unit, root], 1)}
    for parent, name in edges:
        if parent == "pelvis":
            continue
        before = turned[above[parent]]
        local = own[name].T @ np.swapaxes(before, 1, 2) @ turned[parent] @ own[name]
        columns[bone_of[name]] = Rotation.from_matrix(local).as_euler("xyz", degrees=True)
    text = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    if motion.fps != 120.0:
        text.append(f":SAMPLES-PER-SECOND {motion.fps:g}")
    for frame in range(len(motion.at["pelvis"])):
        text.append(str(frame + 1))
        text += [f"{n} " + " ".join(f"{v:.8f}" for v in c[frame]) for n, c in columns.items()]
    amc = folder / f"{stem}.amc"
    amc.write_text("\n".join(text) + "\n")
    return amc


def body_figure(height: float) -> dict[str, tuple[str | None, tuple[float, float, float]]]:
    """The plain skeleton of the SMPL reader at a height [m], as a figure of `walk`."""
    rest = height * smpl.plain_skeleton()[:, [2, 0, 1]]  # x left, y up, z ahead -> ahead, left, up
    called = {"foot": "toe", "spine1": "spine", "spine3": "chest"}
    names = [n.replace("foot", "toe") if "foot" in n else called.get(n, n) for n in smpl.NAMES]
    return {
        name: (None if parent < 0 else names[parent],
               tuple(rest[i] - (rest[parent] if parent >= 0 else 0.0)))
        for i, (name, parent) in enumerate(zip(names, smpl.PARENTS, strict=True))
    }  # fmt: skip


def body_arrays(motion: Walk, up: str = "z") -> dict[str, Array]:
    """Joint angles and root path of a walk of `body_figure`, as AMASS (z up) or others have them.

    The body model's own axes have y up, whatever the world's.
    """
    body, world = TO_FILE["y"], TO_FILE[up]
    names = list(motion.figure)
    angles = np.zeros((len(motion.at["pelvis"]), 52, 3))
    for i, (name, parent) in enumerate(zip(names, smpl.PARENTS, strict=True)):
        mine = motion.turned[name]
        if parent < 0:
            local = world @ mine @ body.T
        else:
            local = body @ np.swapaxes(motion.turned[names[parent]], 1, 2) @ mine @ body.T
        angles[:, i] = Rotation.from_matrix(local).as_rotvec()
    return {
        "poses": angles.reshape(len(angles), -1),
        "trans": motion.at["pelvis"] @ world.T,
        "mocap_framerate": np.float64(motion.fps),
        "betas": np.zeros(16),
        "gender": np.array("neutral"),
    }
