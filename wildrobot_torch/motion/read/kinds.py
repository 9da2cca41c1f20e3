"""Which kind of motion file something is, by its content; its name only says where to look."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read import locomujoco, smpl
from wildrobot_torch.motion.read.acclaim import read_acclaim
from wildrobot_torch.motion.read.bvh import read_bvh
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.read.text import decoded

SUFFIXES = (".npz", ".pkl", ".csv", ".amc", ".bvh")
"""Endings of files that are looked at in a folder."""
_NPZ_KEYS = {"fps", "root_pos", "root_quat", "joint_pos", "joint_names", "source"}
_AMC_WORDS = re.compile(r"(#!oml|:fully-specified|:degrees|:radians|:samples-per-second)", re.I)
# What else people have, by how it begins -> what to do.
_OTHERS = {
    b"Kaydara FBX": "an FBX file; export it as BVH, for example with Blender",
    b"; FBX": "an FBX file; export it as BVH, for example with Blender",
    b"glTF": "a glTF file; export it as BVH, for example with Blender",
    b"\x89HDF": "an HDF5 file; save its arrays as npz",
    b"\x93NUMPY": "a single array (npy); needed: an npz with its names",
    b"PathFileType": "a TRC file of markers, which are no joints; solve a skeleton first",
    b"\x02P": "a C3D file of markers, which are no joints; solve a skeleton first",
}


def kind_of(path: Path) -> str:
    """One of BVH, AMC, SMPL, LocoMuJoCo, clip (npz of this project), pickle and csv.

    Raises:
        ClipError: the file cannot be read or is none of these; it says what it is if known.
    """
    if not path.is_file():
        raise ClipError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ClipError(f"{path}: cannot be read: {error.strerror}") from None
    if not head.strip():
        raise ClipError(f"{path}: the file is empty")
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise ClipError(f"{path}: {what}")
    if head.startswith(b"PK"):
        return _npz_kind(path)
    if path.suffix.lower() == ".npz":
        raise ClipError(f"{path}: not a readable npz (no zip archive); write it again")
    text = decoded(head).lstrip()
    if text[:9].upper() == "HIERARCHY":
        return "BVH"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("#")]
    if plain and plain[0].lower().startswith((":version", ":name", ":units")):
        raise ClipError(f"{path}: an ASF skeleton without motion; give an .amc file that uses it")
    first = plain[0] if plain else ""
    if _AMC_WORDS.match(lines[0]) or _AMC_WORDS.match(first):
        return "AMC"
    if first.isdecimal() and len(plain) > 1 and plain[1].split()[0].isidentifier():
        return "AMC"
    if "root_x" in first.replace(" ", "").split(","):
        return "csv"
    if head[:1] in (b"\x80", b"(", b"}", b"]", b"c", b"d") and path.suffix.lower() in (
        ".pkl", ".pickle",
    ):  # fmt: skip
        return "pickle"
    return _by_name(path)


def _by_name(path: Path) -> str:
    """The kind a name promises of content that shows none: its reader says what is wrong."""
    kinds = {".pkl": "pickle", ".pickle": "pickle", ".amc": "AMC", ".bvh": "BVH", ".csv": "csv"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        allowed = "BVH, AMC with its ASF, npz (this project, AMASS, SMPL-X, LocoMuJoCo), pkl, csv"
        raise ClipError(f"{path}: unknown kind {path.suffix!r}; allowed: {allowed}")
    return kind


def read_npz(path: Path) -> dict[str, Any]:
    """Arrays of an npz but for those that would need code to be run.

    Raises:
        ClipError: it is damaged, or holds nothing but objects.
    """
    try:
        # Read whole: numpy leaves a file open when it turns out to be damaged.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise EOFError("not an npz archive")
            content: dict[str, Any] = {}
            for key in file.files:
                try:
                    content[key] = file[key]
                except ValueError as error:
                    if "pickle" not in str(error):
                        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ClipError(f"{path}: not a readable npz ({reason}); write it again") from None
    return content


def _npz_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ClipError(f"{path}: not a readable npz ({reason}); write it again") from None
    if locomujoco.is_locomujoco(tuple(keys)):
        return "LocoMuJoCo"
    if smpl.is_smpl(tuple(keys)):
        return "SMPL"
    return "clip"


def read_skeleton_motion(path: Path | str) -> SkeletonMotion:
    """The motion of the figure in a file of any kind that holds one, by its content.

    Raises:
        ClipError: the file is damaged, of no such kind, or its figure is none that walks.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "BVH":
        motion = read_bvh(path)
    elif kind == "AMC":
        motion = read_acclaim(find_asf(path), path)
    elif kind == "SMPL":
        motion = smpl.read_smpl(path, read_npz(path))
    elif kind == "LocoMuJoCo":
        motion = locomujoco.read_figure(path, read_npz(path))
    else:
        raise ClipError(f"{path}: a {kind} of a robot's joints, not of a figure's")
    return motion


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
