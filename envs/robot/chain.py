"""A leg as screws: its joints' axes at the zero pose; no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll"]


@dataclass(frozen=True)
class LegChain:
    """One leg as screws at the zero pose, in the root's frame (x forward, y left, z up).

    L joints from the root to the foot. Turning joint i by q_i turns everything behind it about
    `axes[i]` through `anchors[i]`, right-handed: a product of exponentials (Lynch and Park, "Modern
    Robotics", 2017, ch. 4.1).
    """

    kinds: tuple[Kind, ...]
    """What each joint is. `pitch` is the hip's; every other one names its place."""
    axes: np.ndarray
    """(L, 3) unit axes of the joints."""
    anchors: np.ndarray
    """(L, 3) [m] a point on each axis."""
    sole_pos: np.ndarray
    """(3,) [m] the sole's point under the ankle."""
    sole_rot: np.ndarray
    """(3, 3) sole to root; its columns are the sole's axes."""

    @property
    def num_joints(self) -> int:
        """L."""
        return len(self.kinds)

    def index(self, kind: Kind) -> int | None:
        """The first joint of a kind, from the root; None without one."""
        return self.kinds.index(kind) if kind in self.kinds else None

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place (..., 3) [m] and orientation (..., 3, 3) of the sole, for angles (..., L) [rad].

        Both are in the root's frame; the columns of the orientation are the sole's axes.
        """
        pos = np.broadcast_to(self.sole_pos, (*joints.shape[:-1], 3))
        rot = np.broadcast_to(self.sole_rot, (*joints.shape[:-1], 3, 3))
        for i in range(self.num_joints - 1, -1, -1):
            turn = axis_rotation(self.axes[i], joints[..., i])
            pos = self.anchors[i] + np.einsum("...ij,...j->...i", turn, pos - self.anchors[i])
            rot = turn @ rot
        return pos, rot


def axis_rotation(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) about a unit axis (3,) by angles (...) [rad], by Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sin, cos = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.eye(3) + sin * cross + (1.0 - cos) * (cross @ cross)
