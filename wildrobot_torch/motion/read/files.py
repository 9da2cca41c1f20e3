"""Motion files: this project's npz, the earlier system's pickle, and CMU's ASF/AMC."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.files import atomic_write
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.read.pickles import load_arrays
from wildrobot_torch.motion.repair.repair import check_clip
from wildrobot_torch.motion.retarget.retarget import retarget

_SUFFIXES = (".npz", ".pkl", ".amc")
_NPZ_KEYS = ("fps", "root_pos", "root_quat", "joint_pos", "joint_names", "source")
_PICKLE_KEYS = ("fps", "root_pos", "root_rot", "dof_pos")


def load_clip(path: Path | str, robot: RobotSpec) -> Clip:
    """The motion in one file, for `robot`.

    A file is `.npz` (this project), `.pkl` (the earlier system; orientations xyzw) or `.amc` (CMU,
    retargeted; `07_walk.amc` needs the skeleton `07.asf` beside it).

    Raises:
        ClipError: the file cannot be read, or is no clip of this robot.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ClipError(f"{path}: unknown kind {suffix!r}; allowed: {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise ClipError(f"{path}: no such file")
    if suffix == ".amc":
        return retarget(find_asf(path), path, robot)
    try:
        return (_read_npz if suffix == ".npz" else _read_pickle)(path, robot).require(robot)
    except ClipError as error:
        text = str(error)
        raise ClipError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def load_clips(source: Path | str, robot: RobotSpec) -> list[Clip]:
    """The motions in a folder (its .npz, .pkl and .amc files, by name), or in one file.

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
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ClipError(f"{folder}: no motion in it; wanted: .npz, .pkl or .amc files")
    return paths


def save_clip(clip: Clip, path: Path | str, robot: RobotSpec) -> None:
    """Write a clip as `.npz`, whole or not at all; `load_clip` reads it back.

    Raises:
        ClipError: the name does not end in .npz, or the clip has another number of joints.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ClipError(f"{path}: clips are saved as .npz")
    clip.require(robot)
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


def find_asf(amc: Path) -> Path:
    """The skeleton of an AMC file: `<subject>.asf` beside it, subject = name up to the first `_`.

    Capital letters make no difference, unless two files differ in nothing else.

    Raises:
        ClipError: there is none.
    """
    wanted = f"{amc.stem.split('_')[0]}.asf"
    found = sorted(p for p in amc.parent.iterdir() if p.name.lower() == wanted.lower())
    if not found:
        raise ClipError(f"{amc}: its skeleton {wanted} is not beside it; put it there")
    return next((path for path in found if path.name == wanted), found[0])


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


def _read_npz(path: Path, robot: RobotSpec) -> Clip:
    try:
        # Read whole: numpy leaves a file open when it turns out to be damaged.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise EOFError("not an npz archive")
            content = {key: file[key] for key in _NPZ_KEYS if key in file}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ClipError(f"not a readable npz ({reason}); write it again") from None
    _require_keys(content, _NPZ_KEYS)
    _require_joints(content["joint_names"], robot)
    arrays = (content[name] for name in ("root_pos", "root_quat", "joint_pos"))
    return Clip(path.stem, _number(content["fps"]), *arrays, source=str(content["source"]))


def _read_pickle(path: Path, robot: RobotSpec) -> Clip:
    content = load_arrays(path)
    _require_keys(content, _PICKLE_KEYS)
    quat_xyzw = np.asarray(content["root_rot"])
    if quat_xyzw.ndim != 2 or quat_xyzw.shape[1] != 4:
        raise ClipError(f"root_rot has shape {quat_xyzw.shape}; it must be (frames, 4), xyzw")
    if content.get("joint_names") is not None:
        _require_joints(content["joint_names"], robot)
    origin = content.get("source_file")
    source = f"pickle {path.name}" + (f", from {origin}" if isinstance(origin, str) else "")
    quat = quat_xyzw[:, [3, 0, 1, 2]]
    fps, pos, joints = _number(content["fps"]), content["root_pos"], content["dof_pos"]
    return Clip(path.stem, fps, pos, quat, joints, source)
