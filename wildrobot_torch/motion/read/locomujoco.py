"""Trajectories as LocoMuJoCo saves them: qpos of a MuJoCo model, and bodies where they are.

A file holds one or several trajectories in a row (`split_points`). As a clip of a robot its joints
are found by name, in any order; as the motion of a figure its bodies are, whose tree follows from
which of them keep their distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.read.figure import Capture, motion_of
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.rotations import Array

_FREE, _SLIDE, _HINGE = 0, 2, 3
"""Joint types of MuJoCo that a trajectory has."""


def is_locomujoco(keys: Sequence[str]) -> bool:
    """Whether an npz with these keys is such a trajectory."""
    return {"qpos", "joint_names", "jnt_type"} <= set(keys)


def read_robot_clip(path: Path, content: Mapping[str, Any], robot: RobotSpec) -> Clip:
    """The first trajectory as a clip of the robot, whose joints it must all name.

    Raises:
        ClipError: it has no free joint, lacks a joint of the robot, or is damaged.
    """
    qpos, fps = _trajectory(content)
    names = [str(name) for name in np.asarray(content["joint_names"]).reshape(-1)]
    kinds = np.asarray(content["jnt_type"]).reshape(-1).astype(int)
    columns: dict[str, int] = {}
    free, start = None, 0
    for name, kind in zip(names, kinds, strict=True):
        if kind == _FREE:
            free, start = start, start + 7
        elif kind in (_SLIDE, _HINGE):
            columns[name], start = start, start + 1
        else:
            raise ClipError(f"joint {name!r} is a ball joint; allowed: free, hinge and slide")
    if free is None:
        raise ClipError("no free joint; needed: the root's position and orientation")
    if qpos.ndim != 2 or qpos.shape[1] != start:
        raise ClipError(f"qpos has shape {qpos.shape}; its joints need (frames, {start})")
    if missing := [name for name in robot.joint_names if name not in columns]:
        theirs = ", ".join(columns)
        needed = f"robot {robot.name!r} needs {', '.join(missing)}"
        raise ClipError(f"joints are {theirs}; {needed}")
    joints = qpos[:, [columns[name] for name in robot.joint_names]]
    root, quat = qpos[:, free : free + 3], qpos[:, free + 3 : free + 7]
    return Clip(path.stem, fps, root, quat, joints, f"LocoMuJoCo {path.name}")


def joints_of(content: Mapping[str, Any]) -> tuple[list[str], Array, float]:
    """Names of the joints that turn or slide, qpos of the first trajectory, and its rate.

    Raises:
        ClipError: the file is damaged.
    """
    qpos, fps = _trajectory(content)
    names = [str(name) for name in np.asarray(content["joint_names"]).reshape(-1)]
    kinds = np.asarray(content["jnt_type"]).reshape(-1)
    return [n for n, kind in zip(names, kinds, strict=True) if kind != _FREE], qpos, fps


def read_figure(path: Path, content: Mapping[str, Any]) -> SkeletonMotion:
    """The first trajectory as the motion of a figure, by where its bodies are.

    Raises:
        ClipError: the file does not say where bodies are, or they are no figure that walks.
    """
    try:
        names = tuple(str(n) for n in np.asarray(content.get("body_names", ())).reshape(-1))
        at = np.asarray(content.get("xpos", ()))
        if at.ndim != 3 or at.shape[1:] != (len(names), 3) or not len(names):
            has = f"xpos {at.shape} and {len(names)} body_names"
            raise ClipError(f"{has}; needed: (frames, bodies, 3), as saved after a forward pass")
        qpos, fps = _trajectory(content)
        at = at[: len(qpos)].astype(np.float64)
        keep = [i for i, name in enumerate(names) if name != "world"]
        names, at = tuple(names[i] for i in keep), at[:, keep]
        order, parents = _tree(at)
        names, at = tuple(names[i] for i in order), at[:, order]
        ends = (False,) * len(names)

        def poses(nodes: Sequence[int], rows: slice) -> tuple[Array, None]:
            return at[rows][:, list(nodes)], None

        capture = Capture(names, parents, ends, None, len(at), fps, poses)
        return motion_of(capture, path.stem, f"LocoMuJoCo {path.name}", 1.0, "metre")
    except ClipError as error:
        raise ClipError(f"{path}: {error}") from None


def _trajectory(content: Mapping[str, Any]) -> tuple[Array, float]:
    """Rows of qpos (N, nq) of the first trajectory, and its rate [1/s]."""
    qpos = np.asarray(content["qpos"])
    if qpos.dtype.kind not in "iuf" or not np.isfinite(qpos).all():
        raise ClipError("qpos is not finite; allowed: numbers")
    if "frequency" not in content:
        raise ClipError("key frequency missing; needed: frames per second")
    fps = float(np.asarray(content["frequency"]).reshape(-1)[0])
    splits = np.asarray(content.get("split_points", ())).reshape(-1)
    stop = int(splits[1]) if len(splits) > 1 else len(qpos)
    return qpos[:stop].astype(np.float64), fps


def _tree(at: Array) -> tuple[list[int], tuple[int, ...]]:
    """Bodies of (N, J, 3), the first one and then outwards, and each one's parent in that order.

    Bodies that keep their distance are joined, near ones first.
    """
    seen = at[:: max(1, len(at) // 200)]
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1)
    cost = apart.std(0) + 0.05 * apart.mean(0) + 1e-6
    np.fill_diagonal(cost, 0.0)
    tree = minimum_spanning_tree(cost)
    order, before = breadth_first_order(tree, 0, directed=False)
    place = {int(node): i for i, node in enumerate(order)}
    parents = tuple(place.get(int(before[node]), -1) for node in order)
    return [int(node) for node in order], parents
