"""Motions of the SMPL family (AMASS, SMPL-X fits) by their joint angles, without its body model.

The files hold a root path and joint rotations; where the joints of this person are is known to the
licensed body model alone. Without it a skeleton of plain proportions takes its place: Winter's
segment lengths in the directions of the models' rest pose. Its height is found from the motion: a
foot that bears does not slide, so what the pelvis travels is what the legs sweep.

Sources: M. Loper et al., "SMPL", SIGGRAPH Asia 2015 (joints, order, rest pose); N. Mahmood et al.,
"AMASS", ICCV 2019 (keys of the files); D. Winter, "Biomechanics and motor control of human
movement", 4th ed. 2009, figure 4.1, after Drillis and Contini (segment lengths).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from envs.robot.spec import SIDES
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read.figure import Capture, motion_of
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.rotations import Array

MODELS = "WILDROBOT_BODY_MODELS"
"""Environment variable with the folder of body models, for the joints of each person's own body."""
WHERE = (
    "get SMPL-X from smpl-x.is.tue.mpg.de (registration; its licence is for research, not for "
    "products, and forbids passing it on)"
)

NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

HEIGHT = 1.70
"""Height of the plain skeleton where a motion does not show it [m]."""
_HEIGHTS = (1.35, 2.1)
"""Heights that a motion is believed [m]."""
_THIGH, _SHANK, _UPPER_ARM, _FOREARM = 0.245, 0.246, 0.186, 0.146
# Directions of the left leg's bones in the rest pose (x left, y up, z ahead), to a degree or two:
# thighs spread by 6 degrees, shanks turn in by 2 and back by 5, feet turn out by 18.
_THIGH_WAY, _SHANK_WAY = np.array([0.11, -0.99, 0.02]), np.array([-0.035, -0.995, -0.087])
_LEFT = {
    "left_hip": ("pelvis", np.array([0.036, -0.05, -0.01])),
    "left_knee": ("left_hip", _THIGH * _THIGH_WAY / np.linalg.norm(_THIGH_WAY)),
    "left_ankle": ("left_knee", _SHANK * _SHANK_WAY / np.linalg.norm(_SHANK_WAY)),
    "left_foot": ("left_ankle", np.array([0.024, -0.035, 0.073])),
    "left_collar": ("spine3", np.array([0.045, 0.065, -0.01])),
    "left_shoulder": ("left_collar", np.array([0.06, 0.02, -0.01])),
    "left_elbow": ("left_shoulder", np.array([_UPPER_ARM, -0.01, -0.01])),
    "left_wrist": ("left_elbow", np.array([_FOREARM, 0.0, 0.0])),
}
_MIDDLE = {
    "spine1": ("pelvis", np.array([0.0, 0.065, -0.015])),
    "spine2": ("spine1", np.array([0.0, 0.08, 0.0])),
    "spine3": ("spine2", np.array([0.0, 0.03, 0.015])),
    "neck": ("spine3", np.array([0.0, 0.125, -0.02])),
    "head": ("neck", np.array([0.0, 0.05, 0.03])),
}


def plain_skeleton() -> Array:
    """Joints (22, 3) of a person of height 1 in the models' rest pose, pelvis at the origin."""
    rest = np.zeros((len(NAMES), 3))
    for node, name in enumerate(NAMES[1:], 1):
        parent = PARENTS[node]
        side = -1.0 if name.startswith("right") else 1.0
        _, offset = (_LEFT | _MIDDLE)[name.replace("right", "left")]
        rest[node] = rest[parent] + offset * [side, 1.0, 1.0]
    return rest


def read_smpl(path: Path, content: Mapping[str, Any]) -> SkeletonMotion:
    """The figure's motion in the arrays of an AMASS or SMPL-X npz.

    Raises:
        ClipError: arrays are missing or contradict each other, or a body model is asked for that
            is not there.
    """
    try:
        angles, path_m, fps, kind = _arrays(content)
        turns = _turns(angles)
        rest = _model_joints(content, kind)
        if rest is None:
            height, note = _height(turns, path_m)
            rest = height * plain_skeleton()
        else:
            note = f"rest joints of the body model in ${MODELS}"
        motion = motion_of(_capture(rest, turns, path_m, fps), path.stem, f"{kind} {path.name}",
                           1.0, "metre")  # fmt: skip
    except ClipError as error:
        raise ClipError(f"{path}: {error}") from None
    return replace(motion, notes=(*motion.notes, note))


def is_smpl(keys: Sequence[str]) -> bool:
    """Whether an npz with these keys holds joint angles of the family."""
    return bool({"poses", "pose_body", "body_pose", "betas"} & set(keys))


def _arrays(content: Mapping[str, Any]) -> tuple[Array, Array, float, str]:
    """Joint angles (N, 22, 3), root path (N, 3) [m], rate and kind of model."""

    def first(what: str, *keys: str) -> Array:
        for key in keys:
            if key in content:
                return np.asarray(content[key])
        raise ClipError(f"no {what}; needed: one of the keys {', '.join(keys)}")

    if "poses" in content:
        poses = first("angles", "poses")
        if poses.ndim != 2 or poses.shape[1] < 66 or poses.shape[1] % 3:
            raise ClipError(f"poses has shape {poses.shape}; allowed: (frames, 66 or more)")
        kind = {72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}.get(poses.shape[1], "SMPL family")
    else:
        root = first("root angles", "root_orient", "global_orient")
        body = first("body angles", "pose_body", "body_pose")
        root, body = (x.reshape(len(x), -1) for x in (root, body))
        if root.shape[1] != 3 or body.shape[1] < 63 or len(root) != len(body):
            shapes = f"{root.shape} and {body.shape}"
            raise ClipError(f"root and body angles have shapes {shapes}; needed: (N, 3), (N, 63)")
        poses, kind = np.concatenate([root, body], 1), "SMPL-X"
    path = first("root path", "trans", "transl")
    fps = float(first("frame rate", "mocap_frame_rate", "mocap_framerate", "fps").reshape(-1)[0])
    if path.shape != (len(poses), 3):
        raise ClipError(f"trans has shape {path.shape}, the angles have {len(poses)} frames")
    for name, array in (("angles", poses), ("trans", path)):
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ClipError(f"{name} are not finite numbers in every frame")
    angles = poses[:, : 3 * len(NAMES)].astype(np.float64).reshape(len(poses), len(NAMES), 3)
    return angles, path.astype(np.float64), fps, kind


def _turns(angles: Array) -> Array:
    """Rotations of the joints to the world (N, 22, 3, 3)."""
    local = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(*angles.shape, 3)
    turns = local.copy()
    for node, parent in enumerate(PARENTS):
        if parent >= 0:
            turns[:, node] = turns[:, parent] @ local[:, node]
    return turns


def _positions(rest: Array, turns: Array) -> Array:
    """Joints (N, 22, 3) about the pelvis."""
    at = np.zeros((len(turns), len(NAMES), 3))
    for node, parent in enumerate(PARENTS):
        if parent >= 0:
            at[:, node] = at[:, parent] + turns[:, parent] @ (rest[node] - rest[parent])
    return at


def _capture(rest: Array, turns: Array, path: Array, fps: float) -> Capture:
    at = path[:, None] + _positions(rest, turns)
    # The rest pose has y up, the world perhaps z: stand it up there.
    up = turns[:, 0, :, 1].mean(0)
    axis = int(np.argmax(np.abs(up)))
    stand = np.roll(np.eye(3), axis - 1, axis=0) * np.sign(up[axis])
    if up[axis] < 0.0:
        stand[:, 0] *= -1.0  # a rotation, no reflection

    def poses(nodes: Sequence[int], rows: slice) -> tuple[Array, Array]:
        return at[rows][:, list(nodes)], turns[rows][:, list(nodes)]

    # The turns of the last joints are known, so they are no mere ends of bones.
    ends = (False,) * len(NAMES)
    stood = np.tile(stand, (len(NAMES), 1, 1))
    return Capture(NAMES, PARENTS, ends, rest @ stand.T, len(turns), fps, poses, stood)


def _height(turns: Array, path: Array) -> tuple[float, str]:
    """Height of the person [m] by which bearing feet slide least, and how it was found."""
    plain = "rest skeleton of plain proportions"
    more = f"for the person's own {WHERE} and set {MODELS}"
    soles = [NAMES.index(f"{side}_foot") for side in SIDES]
    feet = _positions(plain_skeleton(), turns)[:, soles]
    sweep, travel = np.diff(feet, axis=0), np.diff(path, axis=0)
    walked = float(np.linalg.norm(travel, axis=1).sum())
    height = HEIGHT
    for _ in range(8):
        slip = np.linalg.norm(travel[:, None] + height * sweep, axis=2)
        bearing = slip.argmin(1)
        rows = np.arange(len(slip))
        least = slip[rows, bearing]
        sure = least <= np.quantile(least, 0.6)
        mine = sweep[rows, bearing][sure]
        weight = float((mine**2).sum())
        if walked < 1.0 or weight == 0.0:
            return HEIGHT, f"{plain}, {HEIGHT:g} m tall (assumed: it hardly walks); {more}"
        height = float(np.clip(-(travel[sure] * mine).sum() / weight, *_HEIGHTS))
    return height, f"{plain}, {height:.2f} m tall by feet that do not slide; {more}"


def _model_joints(content: Mapping[str, Any], kind: str) -> Array | None:
    """Rest joints (22, 3) [m] of the person by the licensed body model; None if not asked for.

    Raises:
        ClipError: the folder, the model in it or the package smplx is missing.
    """
    folder = os.environ.get(MODELS)
    if not folder:
        return None
    if importlib.util.find_spec("smplx") is None:
        raise ClipError(
            f"${MODELS} is set, but the package smplx is not installed: pip install smplx, or "
            f"unset {MODELS} for a skeleton of plain proportions"
        )
    family = {"SMPL": "smpl", "SMPL-H": "smplh"}.get(kind, "smplx")
    gender = str(np.asarray(content.get("gender", "neutral")).reshape(-1)[0])
    gender = gender.removeprefix("b'").removesuffix("'")
    betas = np.asarray(content.get("betas", np.zeros(10)), dtype=np.float32).reshape(-1)[:10]
    stem = Path(folder) / family / f"{family.upper()}_{gender.upper()}"
    found = next((e for e in ("npz", "pkl") if stem.with_suffix(f".{e}").is_file()), None)
    if found is None:
        raise ClipError(
            f"no body model {stem}.npz; {WHERE} and put the file there, or unset {MODELS} for a "
            "skeleton of plain proportions"
        )
    import torch

    smplx = importlib.import_module("smplx")
    try:
        model = smplx.create(folder, family, gender=gender, ext=found, num_betas=len(betas),
                             use_pca=False)  # fmt: skip
        joints = model(betas=torch.from_numpy(betas)[None]).joints[0, : len(NAMES)]
    except Exception as error:  # a damaged model raises nearly anything
        reason = " ".join(str(error).split())[:120]
        raise ClipError(f"the body model {stem}.{found} cannot be used ({reason})") from None
    joints = joints.detach().double().numpy()
    return joints - joints[0]
