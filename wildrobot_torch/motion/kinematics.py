"""Closed-form leg kinematics: joints -> sole, and sole -> joints, for all frames at once.

A leg is hip pitch, then hip roll, knee pitch and ankle pitch: no hip yaw and no ankle roll. So the
foot's place and pitch can be chosen, but its roll follows from the hip: a sole is level only under
a leg that does not lean sideways. Sides are 0 left and 1 right, as everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.rotations import Array, Flags

SIDES = ("left", "right")
JOINTS = ("hip_pitch", "hip_roll", "knee_pitch", "ankle_pitch")
# Internally both legs are the left one.
_FLIP = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
# A straight knee is a singularity: targets are pulled in to this share of the leg's square.
_MAX_REACH = 1.0 - 1e-9


class FootFrames(NamedTuple):
    """Ankle axis (..., 3) [m] of one foot, and its orientation (..., 3, 3), in the root's frame.

    The orientation is foot to root; x forward along the sole, z away from the ground.
    """

    ankle: Array
    rotation: Array


class Legs:
    """Kinematics of a robot's two legs.

    Joint angles (..., J) are the robot's, in its order and with its signs. Internally both legs
    are the left one: hip pitch > 0 swings forward, hip roll > 0 adducts, knee > 0 bends, ankle > 0
    points the toes down; the right leg is its mirror image by `RobotSpec.mirror_joints`.
    """

    def __init__(self, robot: RobotSpec) -> None:
        """Raises UserError for other joints than hip pitch, hip roll, knee pitch, ankle pitch."""
        names = [[f"{side}_{joint}" for joint in JOINTS] for side in SIDES]
        missing = [n for side in names for n in side if n not in robot.joint_names]
        if missing or robot.num_joints != 8:
            needed = f"leg kinematics need exactly left_ and right_ {', '.join(JOINTS)}"
            has = f"robot {robot.name!r} has joints {', '.join(robot.joint_names)}"
            raise UserError(f"{has}; {needed}")
        self.robot = robot
        self.index = np.array([[robot.joint_names.index(n) for n in side] for side in names])
        mirror_sign = robot.mirror_sign.cpu().double().numpy()
        self.sign = np.stack([np.ones(4), mirror_sign[self.index[1]]])
        limits = robot.joint_range.cpu().double().numpy()
        self.lower, self.upper = limits[self.index[0], 0], limits[self.index[0], 1]
        """(4,) [rad]: stops of the left leg."""
        leg = robot.leg
        pitch, roll = np.array(leg.hip_pitch_pos), np.array(leg.hip_roll_pos)
        self.hip = pitch
        """(3,) [m]: left hip-pitch axis from the root."""
        self._dy, self._dz = roll[1] - pitch[1], roll[2] - pitch[2]
        self._ly = leg.leg_y - roll[1]
        self.thigh, self.shank = leg.thigh + self._dz, leg.shank
        """[m]: hip-roll axis to knee axis along the thigh; knee axis to ankle axis."""
        self.reach = self.thigh + self.shank - self._dz
        """Hip-pitch axis to ankle axis, leg straight [m]."""

    def joints(self, side: int, leg_joints: Array) -> Array:
        """The robot's joint angles (..., 4) of one leg from the internal ones, or back."""
        return self.sign[side] * leg_joints

    def assemble(self, left: Array, right: Array) -> Array:
        """Joint angles (..., J) in the robot's order from both legs' (..., 4)."""
        joint_pos = np.empty((*left.shape[:-1], self.robot.num_joints))
        joint_pos[..., self.index[0]], joint_pos[..., self.index[1]] = left, right
        return joint_pos

    def within_stops(self, joint_pos: Array, margin: float) -> Array:
        """Joint angles (..., J) [rad] clipped to `margin` [rad] inside the robot's ranges."""
        low, high = self.robot.joint_range.cpu().double().numpy().T
        return np.clip(joint_pos, low + margin, high - margin)

    def knee(self, joint_pos: Array, side: int) -> Array:
        """Knee axis (..., 3) [m] of one side in the root's frame, for joint angles (..., J)."""
        h, r, _, _ = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        zero = np.zeros_like(h)
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        thigh = np.stack([zero, zero + self._ly, zero - self.thigh], -1)
        knee = self.hip + _apply(_matrix_y(-h), axis + _apply(_matrix_x(-r), thigh))
        return knee * _FLIP[side]

    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """Foot of one side in the root's frame, for joint angles (..., J)."""
        h, r, k, a = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        hip = _matrix_y(-h) @ _matrix_x(-r)
        zero = np.zeros_like(h)
        # From the hip-roll axis to the ankle, in the thigh's frame; the knee bends about +y.
        reach = np.stack(
            [-self.shank * np.sin(k), zero + self._ly, -self.thigh - self.shank * np.cos(k)], -1
        )
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        ankle = self.hip + _apply(_matrix_y(-h), axis) + _apply(hip, reach)
        flip = _FLIP[side]
        return FootFrames(ankle * flip, hip @ _matrix_y(k + a) * flip[:, None] * flip)

    def inverse(
        self, side: int, ankle: Array, foot_pitch: Array, up: Array | None = None
    ) -> tuple[Array, Flags]:
        """Joint angles (..., 4) [rad] that place one ankle axis (..., 3) [m] in the root's frame.

        `foot_pitch` (...) [rad] is the slope of the sole against `up` (..., 3) in the root's frame
        (None: the root is upright), > 0 toes down. The angles have the robot's signs and are not
        clipped to the stops. The second value (...) says where the ankle was out of reach: there
        the leg is straight (or folded) towards it.
        """
        target = ankle * _FLIP[side] - self.hip
        rise = np.array([0.0, 0.0, 1.0]) if up is None else up * _FLIP[side]
        rise = np.broadcast_to(rise, target.shape)
        thigh, shank, ly, dz = self.thigh, self.shank, self._ly, self._dz
        x, y, z = np.moveaxis(target, -1, 0)
        lateral = y - self._dy
        square = x * x + z * z + lateral * lateral - ly * ly - dz * dz
        low, high = (thigh - shank) ** 2, _MAX_REACH * (thigh + shank) ** 2
        # The roll axis lies dz above the pitch axis (0.2 mm), which makes `depth`, the ankle below
        # the roll axis in the pitched leg's plane, its own argument; each round gains a factor
        # of about reach / dz, so six are exact in double precision.
        depth = -np.sqrt(np.maximum(x * x + z * z, 1e-12))
        cos_knee = along = np.zeros_like(depth)
        for _ in range(6):
            bent = np.clip(square - 2.0 * dz * depth, low, high)
            cos_knee = (bent - thigh**2 - shank**2) / (2.0 * thigh * shank)
            along = -thigh - shank * cos_knee
            depth = -np.sqrt(np.maximum(ly * ly + along * along - lateral * lateral, 0.0))
        wanted = square - 2.0 * dz * depth
        unreachable = (wanted < low) | (wanted > high) | (np.abs(lateral) > np.hypot(ly, along))
        knee = np.arccos(np.clip(cos_knee, -1.0, 1.0))
        back = -shank * np.sin(knee)
        # Rotating (ly, along) by +phi about x gives (lateral, depth); rotating (back, dz + depth)
        # by -h about y gives (x, z). The robot's hip roll is -phi.
        phi = np.arctan2(depth, lateral) - np.arctan2(along, ly)
        phi = np.arctan2(np.sin(phi), np.cos(phi))
        hip = np.arctan2(dz + depth, back) - np.arctan2(z, x)
        hip = -np.arctan2(np.sin(hip), np.cos(hip))
        frame = _matrix_y(-hip) @ _matrix_x(phi)
        rise_x = np.einsum("...i,...i->...", rise, frame[..., :, 0])
        rise_z = np.einsum("...i,...i->...", rise, frame[..., :, 2])
        # With b = knee + ankle, the sole rises by rise_x cos b - rise_z sin b = -sin(foot_pitch).
        slope = np.sin(foot_pitch) / np.hypot(rise_x, rise_z)
        bend = np.arctan2(rise_x, rise_z) + np.arcsin(np.clip(slope, -1.0, 1.0))
        return self.joints(side, np.stack([hip, -phi, knee, bend - knee], -1)), unreachable


def soles(legs: Legs, clip: Clip) -> Array:
    """World position (N, 2, 3) [m] of the point of each sole under the ankle, at mid-width."""
    return _on_feet(legs, clip, np.array([[0.0, 0.0, -legs.robot.leg.ankle_height]]))[:, :, 0]


def sole_corners(legs: Legs, clip: Clip) -> Array:
    """World position (N, 2, 4, 3) [m] of the corners of each sole; toes first, then heels."""
    leg = legs.robot.leg
    half, down = leg.sole_width / 2.0, -leg.ankle_height
    corners = [[x, y, down] for x in (leg.toe, leg.heel) for y in (half, -half)]
    return _on_feet(legs, clip, np.array(corners))


def sole_axes(legs: Legs, clip: Clip) -> Array:
    """Rotation (N, 2, 3, 3) of each foot, foot to world; columns are its axes."""
    root = rotations.matrix(clip.root_quat)
    feet = [legs.forward(clip.joint_pos, side).rotation for side in (0, 1)]
    return np.stack([root @ foot for foot in feet], 1)


def foot_yaw(legs: Legs, clip: Clip) -> Array:
    """Heading (N, 2) [rad] of the toes of each foot in the world."""
    toes = _on_feet(legs, clip, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    ahead = toes[:, :, 0] - toes[:, :, 1]
    return np.arctan2(ahead[..., 1], ahead[..., 0])


def _on_feet(legs: Legs, clip: Clip, points: Array) -> Array:
    sides = []
    for side in (0, 1):
        foot = legs.forward(clip.joint_pos, side)
        sides.append(foot.ankle[:, None] + np.einsum("nij,pj->npi", foot.rotation, points))
    placed = np.stack(sides, 1)
    quat = clip.root_quat[:, None, None]
    return clip.root_pos[:, None, None] + rotations.quat_rotate(quat, placed)


def _matrix_x(angle: Array) -> Array:
    one, zero, c, s = np.ones_like(angle), np.zeros_like(angle), np.cos(angle), np.sin(angle)
    return np.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).reshape(*angle.shape, 3, 3)


def _matrix_y(angle: Array) -> Array:
    return np.roll(_matrix_x(angle), (1, 1), (-2, -1))


def _apply(matrix: Array, vec: Array) -> Array:
    return np.einsum("...ij,...j->...i", matrix, vec)
