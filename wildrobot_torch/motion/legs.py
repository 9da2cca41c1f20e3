"""What the kinematics of two legs are: joints -> sole, and sole -> joints, for all frames at once.

Sides are 0 left and 1 right, as everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from envs.robot.chain import Kind
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.rotations import Array, Flags


class FootFrames(NamedTuple):
    """Ankle axis (..., 3) [m] of one foot, and its orientation (..., 3, 3), in the root's frame.

    The orientation is foot to root; x forward along the sole, z away from the ground.
    """

    ankle: Array
    rotation: Array


class Legs(ABC):
    """Kinematics of a robot's two legs of L joints each.

    Joint angles (..., J) are the robot's, in its order and with its signs. Internally both legs
    are the left one: hip pitch > 0 swings forward, hip roll > 0 adducts, yaw > 0 turns the toes
    in, knee > 0 bends, ankle pitch > 0 points the toes down, ankle roll > 0 turns as hip roll does.
    """

    exact = False
    """Whether `inverse` is a closed form, the same whatever it begins at."""

    def __init__(self, robot: RobotSpec, sign: Array) -> None:
        """`sign` (2, L) is the robot's angle over the internal one."""
        self.robot, self.sign = robot, sign
        self.kinds: tuple[Kind, ...] = robot.chains[0].kinds
        self.index = robot.leg_joints.cpu().numpy()
        """(2, L) long: the legs' joints among the robot's, from the root on."""
        limits = robot.joint_range.cpu().double().numpy()[self.index]
        ends = sign[..., None] * limits
        self.lower, self.upper = ends.min(-1), ends.max(-1)
        """(2, L) [rad]: stops of each leg, internal."""
        self.hip = np.array(robot.leg.hip_pitch_pos)
        """(3,) [m]: left hip-pitch axis from the root."""
        self.turns, self.rolls = "yaw" in self.kinds, "ankle_roll" in self.kinds
        """Whether the heading of a foot can be chosen, and its roll."""
        self._home = robot.joint_home.cpu().double().numpy()
        self._limits = robot.joint_range.cpu().double().numpy().T

    @property
    @abstractmethod
    def reach(self) -> float:
        """Hip-pitch axis to ankle axis, leg straight [m]."""

    @property
    @abstractmethod
    def balance(self) -> float:
        """Bearing feet ahead of the hips in a balanced walk, on average [m]."""

    def column(self, kind: Kind) -> int | None:
        """Column of a kind of joint among a leg's; None without one."""
        return self.kinds.index(kind) if kind in self.kinds else None

    def joints(self, side: int, leg_joints: Array) -> Array:
        """The robot's joint angles (..., L) of one leg from the internal ones, or back."""
        return self.sign[side] * leg_joints

    def assemble(self, left: Array, right: Array) -> Array:
        """Joint angles (..., J) in the robot's order from both legs' (..., L); others at home."""
        joint_pos = np.empty((*left.shape[:-1], self.robot.num_joints))
        joint_pos[...] = self._home
        joint_pos[..., self.index[0]], joint_pos[..., self.index[1]] = left, right
        return joint_pos

    def within_stops(self, joint_pos: Array, margin: float) -> Array:
        """Joint angles (..., J) [rad] clipped to `margin` [rad] inside the robot's ranges."""
        low, high = self._limits
        return np.clip(joint_pos, low + margin, high - margin)

    @abstractmethod
    def knee(self, joint_pos: Array, side: int) -> Array:
        """Knee axis (..., 3) [m] of one side in the root's frame, for joint angles (..., J)."""

    @abstractmethod
    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """Foot of one side in the root's frame, for joint angles (..., J)."""

    @abstractmethod
    def inverse(
        self,
        side: int,
        ankle: Array,
        foot_pitch: Array,
        up: Array | None = None,
        ahead: Array | None = None,
        start: Array | None = None,
        smooth: bool = False,
    ) -> tuple[Array, Flags]:
        """Joint angles (..., L) [rad] that place one ankle axis (..., 3) [m] in the root's frame.

        `foot_pitch` (...) [rad] is the slope of the sole against `up` (..., 3) in the root's frame
        (None: the root is upright), > 0 toes down; the sole is level across where the leg can
        choose. The second value (...) says where the ankle was out of reach: there the leg is
        straight (or folded) towards it.

        What a closed form does not need: `ahead` (..., 3), level, in the root's frame, is where the
        toes of legs with a yaw joint point (None: along the root); a solver begins at `start`
        (..., L), and with `smooth` the targets (N, 3) are a motion, kept smooth where a leg is
        nearly straight.
        """


def rotated(matrix: Array, vec: Array) -> Array:
    """Vectors (..., 3) turned by rotations (..., 3, 3)."""
    return np.einsum("...ij,...j->...i", matrix, vec)
