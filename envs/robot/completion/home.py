"""The pose in which a robot stands, and the keyframe of it."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.robot.completion.work import Array, Work
from envs.robot.description import FILE_NAME, RobotDescription

BURIED, FLOATING = 0.01, 0.02
"""Depth of the soles under the floor that a keyframe `home` is lifted by, and height over it that
is left as it is [m]."""


def home_of(work: Work, model: mujoco.MjModel) -> tuple[dict[str, float], Array | None]:
    """Home angle of every hinge, and the root's pose (7,) where a keyframe has it."""
    told = work.description.home
    hinges = [i for i in range(model.njnt) if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE]
    if told is not None:
        return {model.joint(i).name: float(told.get(model.joint(i).name, 0.0))
                for i in hinges}, None  # fmt: skip
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home")
    names = ", ".join(model.key(i).name for i in range(model.nkey)) or "none"
    work.require(key >= 0, f"there is no home pose: give home in {FILE_NAME}, joint -> angle, "
                 f"or the MJCF a keyframe 'home' (it has {names})")  # fmt: skip
    qpos = model.key_qpos[key]
    free = model.jnt_qposadr[model.joint(work.description.root.joint).id]
    return {model.joint(i).name: float(qpos[model.jnt_qposadr[i]])
            for i in hinges}, qpos[free : free + 7].copy()  # fmt: skip


def posture_at(
    model: mujoco.MjModel, description: RobotDescription, home: dict[str, float],
    root: Array | None,
) -> mujoco.MjData:  # fmt: skip
    """Home with the root at the origin, upright or as the keyframe has it; positions only."""
    data = mujoco.MjData(model)
    start = model.jnt_qposadr[model.joint(description.root.joint).id]
    data.qpos[start : start + 7] = [0, 0, 0, 1, 0, 0, 0]
    if root is not None:
        data.qpos[start + 3 : start + 7] = root[3:]
    for index in range(model.njnt):
        if model.jnt_type[index] != mujoco.mjtJoint.mjJNT_FREE:
            data.qpos[model.jnt_qposadr[index]] = home[model.joint(index).name]
    mujoco.mj_kinematics(model, data)
    return data


def add_home(work: Work, model: mujoco.MjModel, posture: mujoco.MjData, root: Array | None) -> None:
    """Keyframe `home`: as it was where its soles are on the floor; else the soles are put there."""
    description = work.description
    data = mujoco.MjData(model)
    data.qpos[:] = posture.qpos
    start = model.jnt_qposadr[model.joint(description.root.joint).id]
    sites = [model.site(foot.site).id for foot in description.feet.values()]
    if root is not None:
        data.qpos[start : start + 3] = root[:3]
    mujoco.mj_kinematics(model, data)
    if root is None:
        # Upright joints may leave the soles at an angle, which then is the root's.
        up = data.site_xmat[sites].reshape(-1, 3, 3)[:, :, 2].mean(0)
        pitch = float(np.arctan2(up[0], up[2]))
        if abs(pitch) > 1e-6:
            data.qpos[start + 3 : start + 7] = [np.cos(pitch / 2), 0, -np.sin(pitch / 2), 0]
            mujoco.mj_kinematics(model, data)
            work.notes.append(f"home leans by {np.degrees(-pitch):+.2f} deg, so that its soles are "
                              "level")  # fmt: skip
    lowest = float(data.site_xpos[sites, 2].min())
    if root is not None:
        work.require(
            lowest >= -BURIED,
            f"keyframe 'home' puts a sole {-1000 * lowest:.1f} mm under the floor; raise its root, "
            f"or give home in {FILE_NAME} and the root's height follows",
        )
        if -0.002 <= lowest <= FLOATING:
            lowest = 0.0
        else:
            way = "lowered" if lowest > 0.0 else "raised"
            work.notes.append(
                f"keyframe home is {way} by {1000 * abs(lowest):.1f} mm: its soles are on the "
                "floor now"
            )
    data.qpos[start + 2] -= lowest
    ctrl = [data.joint(name).qpos[0] for name in description.joints] + [0.0] * len(description.held)
    work.spec.add_key(name="home", qpos=data.qpos.tolist(), ctrl=ctrl)
