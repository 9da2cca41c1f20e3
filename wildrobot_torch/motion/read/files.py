"""Motion files as clips of a robot: whatever their kind, which their content says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.files import atomic_write
from wildrobot_torch.motion.clip import MAX_FPS, MIN_FPS, Clip, ClipError
from wildrobot_torch.motion.read import locomujoco, tables
from wildrobot_torch.motion.read.kinds import SUFFIXES, kind_of, read_npz, read_skeleton_motion
from wildrobot_torch.motion.read.pickles import load_arrays
from wildrobot_torch.motion.repair.repair import check_clip
from wildrobot_torch.motion.retarget.retarget import retarget

_NPZ_KEYS = ("fps", "root_pos", "root_quat", "joint_pos", "joint_names", "source")
_PICKLE_KEYS = ("fps", "root_pos", "root_rot", "dof_pos")
_PICKLE_ALIASES = {"root_trans_offset": "root_pos", "dof": "dof_pos"}
"""Keys of other retargeting tools -> those above."""
_NAME_KEYS = ("joint_names", "dof_names", "joint_order")


def load_clip(path: Path | str, robot: RobotSpec) -> Clip:
    """The motion in one file, for `robot`.

    Of a robot: `.npz` (this project, LocoMuJoCo), `.csv` (this project) and `.pkl` (retargeting
    tools; orientations xyzw). Of a person, retargeted: BVH, CMU's AMC (`07_walk.amc` needs the
    skeleton `07.asf` beside it), AMASS and SMPL-X. The content decides, not the name.

    Raises:
        ClipError: the file cannot be read, is no clip of this robot, or no walk for it.
    """
    path = Path(path)
    kind = kind_of(path)
    try:
        if kind == "clip":
            clip = _npz_clip(path, robot)
        elif kind == "pickle":
            clip = _pickle_clip(path, robot)
        elif kind == "csv":
            clip = tables.read_clip(path, robot)
        elif kind == "LocoMuJoCo" and _names_robot(content := read_npz(path), robot):
            clip = locomujoco.read_robot_clip(path, content, robot)
        else:
            clip = retarget(read_skeleton_motion(path), robot)
        return clip.require(robot)
    except ClipError as error:
        text = str(error)
        raise ClipError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _names_robot(content: dict[str, Any], robot: RobotSpec) -> bool:
    """Whether a LocoMuJoCo file is of this robot, or has no figure to retarget instead."""
    names = {str(name) for name in np.asarray(content["joint_names"]).reshape(-1)}
    return names >= set(robot.joint_names) or "xpos" not in content


class RobotMotion(NamedTuple):
    """What a file of a robot's motion says without the robot: `joints` are names or their number.

    Attributes have the meaning of `Clip`'s.
    """

    fps: float
    num_frames: int
    mean_speed: float
    joints: list[str] | int

    @property
    def duration_s(self) -> float:
        """Time from the first to the last frame [s]."""
        return (self.num_frames - 1) / self.fps


def robot_motion(path: Path, kind: str) -> RobotMotion:
    """Rate, length, speed and joints of a clip, pickle, csv or LocoMuJoCo file.

    Raises:
        ClipError: the file is damaged.
    """
    if kind == "LocoMuJoCo":
        names, qpos, fps = locomujoco.joints_of(read_npz(path))
        at, joints = qpos[:, :2], names
    elif kind == "csv":
        columns, fps = tables.read_columns(path)
        at = np.column_stack([columns.get(name, np.zeros(0)) for name in tables.ROOT[:2]])
        joints = [name for name in columns if name not in (tables.TIME, *tables.ROOT)]
    else:
        content = read_npz(path) if kind == "clip" else _pickled(path)
        _require_keys(content, ("fps", "root_pos"))
        fps, at = _number(content["fps"]), np.asarray(content["root_pos"], dtype=np.float64)
        named = [content[key] for key in _NAME_KEYS if content.get(key) is not None]
        values = np.asarray(content.get("joint_pos", content.get("dof_pos", np.zeros((0, 0)))))
        joints = [str(n) for n in np.asarray(named[0]).reshape(-1)] if named else values.shape[-1]
    if at.ndim != 2 or len(at) < 2 or not np.isfinite(at).all():
        raise ClipError(f"{path}: the root's path has shape {at.shape} or is not finite")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ClipError(f"{path}: fps is {fps!r}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")
    far = float(np.linalg.norm(at[-1, :2] - at[0, :2]))
    return RobotMotion(fps, len(at), far * fps / (len(at) - 1), joints)


def load_clips(source: Path | str, robot: RobotSpec) -> list[Clip]:
    """The motions in a folder (its motion files, by name), or in one file.

    Raises:
        ClipError: one of them cannot be used, or there is none.
    """
    return [load_clip(path, robot) for path in _motion_files(source)]


def load_all(source: Path | str, robot: RobotSpec) -> tuple[list[Clip], list[tuple[str, str]]]:
    """The clips that load and in which `repair.check_clip` finds nothing, and the other ones.

    Of these it gives file name and reason in one line.

    Raises:
        ClipError: there is no folder, or no motion file in it.
    """
    clips, rejected = [], []
    for path in _motion_files(source):
        try:
            clip = load_clip(path, robot)
        except ClipError as error:
            rejected.append((path.name, str(error).removeprefix(f"{path}: ")))
            continue
        if reason := check_clip(clip, robot):
            rejected.append((path.name, reason))
        else:
            clips.append(clip)
    return clips, rejected


def _motion_files(source: Path | str) -> list[Path]:
    folder = Path(source)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise ClipError(f"{folder}: no such folder")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise ClipError(f"{folder}: no motion in it; wanted: {', '.join(SUFFIXES)} files")
    return paths


def save_clip(clip: Clip, path: Path | str, robot: RobotSpec) -> None:
    """Write a clip as `.npz` or `.csv`, whole or not at all; `load_clip` reads it back.

    Raises:
        ClipError: the name ends otherwise, or the clip has another number of joints.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".csv"):
        raise ClipError(f"{path}: clips are saved as .npz or .csv")
    clip.require(robot)
    if path.suffix == ".csv":
        with atomic_write(path) as file:
            file.write(tables.text_of(clip, robot).encode())
        return
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            fps=np.float64(clip.fps),
            root_pos=clip.root_pos,
            root_quat=clip.root_quat,
            joint_pos=clip.joint_pos,
            joint_names=np.array(robot.joint_names),
            source=np.array(clip.source),
        )


def _require_keys(content: Iterable[str], keys: tuple[str, ...]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise ClipError(f"key(s) {', '.join(missing)} missing; needed: {', '.join(keys)}")


def _require_joints(names: Any, robot: RobotSpec) -> None:
    found = tuple(str(name) for name in np.asarray(names).reshape(-1))
    if found != robot.joint_names:
        needed = f"robot {robot.name!r} has, in this order, {', '.join(robot.joint_names)}"
        raise ClipError(f"joint_names are {', '.join(found)}; {needed}")


def _number(value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ClipError(f"fps is {value!r}; it must be one number")
    return float(array.reshape(()))


def _npz_clip(path: Path, robot: RobotSpec) -> Clip:
    content = read_npz(path)
    _require_keys(content, _NPZ_KEYS)
    _require_joints(content["joint_names"], robot)
    arrays = (content[name] for name in ("root_pos", "root_quat", "joint_pos"))
    return Clip(path.stem, _number(content["fps"]), *arrays, source=str(content["source"]))


def _pickled(path: Path) -> dict[str, Any]:
    """The arrays of a pickle by this project's keys."""
    content = load_arrays(path)
    inner = next(iter(content.values()), None)
    if len(content) == 1 and isinstance(inner, dict):  # a file of several motions that has one
        content = inner
    for other, key in _PICKLE_ALIASES.items():
        if other in content:
            content.setdefault(key, content[other])
    return content


def _pickle_clip(path: Path, robot: RobotSpec) -> Clip:
    content = _pickled(path)
    _require_keys(content, _PICKLE_KEYS)
    quat_xyzw = np.asarray(content["root_rot"])
    if quat_xyzw.ndim != 2 or quat_xyzw.shape[1] != 4:
        raise ClipError(f"root_rot has shape {quat_xyzw.shape}; it must be (frames, 4), xyzw")
    named = [key for key in _NAME_KEYS if content.get(key) is not None]
    for key in named:
        _require_joints(content[key], robot)
    made_for = content.get("robot")
    if isinstance(made_for, str) and not named and made_for != robot.name:
        needed = f"this is {robot.name!r}; retarget it again, or put joint_names into the file"
        raise ClipError(f"it was made for robot {made_for!r} and names no joints; {needed}")
    origin = content.get("source_file")
    source = f"pickle {path.name}" + (f", from {origin}" if isinstance(origin, str) else "")
    quat = quat_xyzw[:, [3, 0, 1, 2]]
    fps, pos, joints = _number(content["fps"]), content["root_pos"], content["dof_pos"]
    return Clip(path.stem, fps, pos, quat, joints, source)
