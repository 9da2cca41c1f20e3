"""A leg as screws: its joints' axes at the zero pose, and which kind each is, by geometry alone."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from envs.errors import UserError
from envs.robot.chain import Kind, LegChain, axis_rotation

__all__ = ["Kind", "LegChain", "axis_rotation", "joints_above", "leg_chain"]

MIN_JOINTS, MAX_JOINTS = 3, 7
"""Allowed numbers of joints of a leg."""

_ANKLE_SHARE = 0.35
"""A pitch axis lower than this share of the hip's height over the sole is at the ankle."""


def leg_chain(
    model: mujoco.MjModel,
    joints: Sequence[str],
    sole_site: str,
    posture: np.ndarray | None = None,
) -> LegChain:
    """The leg made of hinges `joints`, from the root to the foot that has `sole_site`.

    Args:
        model: compiled model.
        joints: names of the leg's joints, from the root on.
        sole_site: name of the site in the sole's plane, under the ankle.
        posture: (nq,) where all other joints are [rad]; None for 0.

    Raises:
        UserError: the joints are too few or too many, no hinges, or not in a row between the root
            and the foot; or none of them bends the leg forward.
    """
    count = len(joints)
    listed = ", ".join(joints)
    if not MIN_JOINTS <= count <= MAX_JOINTS:
        raise UserError(
            f"a leg has {count} joints ({listed}); allowed: {MIN_JOINTS} to {MAX_JOINTS}"
        )
    ids = [model.joint(name).id for name in joints]
    site = model.site(sole_site).id
    foot = int(model.site_bodyid[site])
    row = joints_above(model, foot)
    for name, index in zip(joints, ids, strict=True):
        if model.jnt_type[index] != mujoco.mjtJoint.mjJNT_HINGE:
            raise UserError(f"leg joint {name!r} is no hinge; a leg here has hinges only")
        if index not in row:
            raise UserError(
                f"leg joint {name!r} does not carry the foot of site {sole_site!r}; the joints "
                f"that do: {', '.join(model.joint(i).name for i in row) or 'none'}"
            )
    if sorted(ids, key=row.index) != ids:
        right = ", ".join(model.joint(i).name for i in sorted(ids, key=row.index))
        raise UserError(f"leg joints {listed} are not from the root to the foot; that is: {right}")
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0 if posture is None else posture
    for index in range(model.njnt):
        if model.jnt_type[index] == mujoco.mjtJoint.mjJNT_FREE:
            start = model.jnt_qposadr[index]
            data.qpos[start : start + 7] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    data.qpos[model.jnt_qposadr[ids]] = 0.0
    mujoco.mj_kinematics(model, data)
    root = int(model.body_rootid[foot])
    origin, rot = data.xpos[root], data.xmat[root].reshape(3, 3)
    axes, anchors = data.xaxis[ids] @ rot, (data.xanchor[ids] - origin) @ rot
    sole = (data.site_xpos[site] - origin) @ rot
    return LegChain(
        kinds=joint_kinds(axes, anchors, sole, listed),
        axes=axes,
        anchors=anchors,
        sole_pos=sole,
        sole_rot=rot.T @ data.site_xmat[site].reshape(3, 3),
    )


def joints_above(model: mujoco.MjModel, body: int) -> list[int]:
    """Joints between the world and a body, from the world on."""
    row: list[int] = []
    while body:
        first, number = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        row = [*range(first, first + number), *row] if number else row
        body = int(model.body_parentid[body])
    return row


def joint_kinds(
    axes: np.ndarray, anchors: np.ndarray, sole: np.ndarray, listed: str
) -> tuple[Kind, ...]:
    """Kinds of joints by the direction of their axes, their order and their height."""
    along = np.abs(axes).argmax(1)
    pitches = [i for i, axis in enumerate(along) if axis == 1]
    if len(pitches) < 2:
        raise UserError(
            f"leg joints {listed}: {len(pitches)} turn about the sideways axis; a leg needs two or "
            "more, a hip pitch and a knee (is the root's x axis forward and its z axis up?)"
        )
    hip = anchors[pitches[0], 2] - sole[2]
    kinds: list[Kind] = ["yaw"] * len(along)
    for rank, i in enumerate(pitches):
        if rank == 0:
            kinds[i] = "pitch"
        elif len(pitches) >= 3 and rank in (1, len(pitches) - 1):
            kinds[i] = "knee" if rank == 1 else "ankle_pitch"
        else:
            low = anchors[i, 2] - sole[2] < _ANKLE_SHARE * hip
            kinds[i] = "ankle_pitch" if low else "knee"
    for i in np.flatnonzero(along == 0):
        # Behind the knee a roll can only be the ankle's; without a knee its height tells.
        behind = any(kinds[j] in ("knee", "ankle_pitch") for j in range(i))
        kinds[i] = "ankle_roll" if behind else "roll"
    return tuple(kinds)
