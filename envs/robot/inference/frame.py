"""The robot's own axes, and the robot placed in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.inference.tree import Tree

Array = np.ndarray

MIRROR = np.array([1.0, -1.0, 1.0])
"""A point's image in the mirror plane, in the robot's axes."""
MIRROR_AXIAL = np.array([-1.0, 1.0, -1.0])
"""The image of a rotation's axis."""


@dataclass(frozen=True)
class Frame:
    """The robot's axes and its mirror plane, in the root body's frame."""

    axes: Array
    """(3, 3): forward, left and up, a row each."""
    middle: float
    """Distance of the mirror plane to the left of the root body's origin [m]."""

    def turned(self) -> Frame:
        """The same with forward and left reversed."""
        return Frame(self.axes * np.array([[-1.0], [-1.0], [1.0]]), -self.middle)


def place(tree: Tree, frame: Frame, angles: Mapping[int, float] | None = None) -> mujoco.MjData:
    """The robot with its axes along the world's and its mirror plane at y = 0.

    Args:
        tree: the robot.
        frame: its axes.
        angles: joint -> position; 0 for all others.
    """
    data = mujoco.MjData(tree.model)
    pose(tree, frame, angles, data)
    return data


def pose(tree: Tree, frame: Frame, angles: Mapping[int, float] | None, data: mujoco.MjData) -> None:
    """`place`, into data that are there: positions of bodies, geoms, sites, joints, masses."""
    free = int(tree.model.body_jntadr[tree.root])
    at = tree.address(free)
    data.qpos[:] = tree.model.qpos0
    data.qpos[at : at + 3] = 0.0, -frame.middle, 0.0
    mujoco.mju_mat2Quat(data.qpos[at + 3 : at + 7], frame.axes.flatten())
    for joint in tree.joints:
        first = tree.address(joint)
        if tree.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_BALL:
            data.qpos[first : first + 4] = 1.0, 0.0, 0.0, 0.0
        else:
            data.qpos[first] = 0.0
    for joint, angle in (angles or {}).items():
        data.qpos[tree.address(joint)] = angle
    mujoco.mj_kinematics(tree.model, data)
    mujoco.mj_comPos(tree.model, data)


def center_of_mass(tree: Tree, data: mujoco.MjData) -> Array:
    """The robot's centre of mass (3,) in the world [m]."""
    return data.subtree_com[tree.root].copy()


def angle_between(a: Array, b: Array) -> float:
    """Angle between two vectors [rad]."""
    cosine = float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def turn_between(a: Array, b: Array) -> float:
    """Angle of the rotation between two rotation matrices (3, 3) [rad]."""
    return float(np.arccos(np.clip((np.trace(a.T @ b) - 1.0) / 2.0, -1.0, 1.0)))
