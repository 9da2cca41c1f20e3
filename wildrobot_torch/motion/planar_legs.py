"""Legs in a plane, as the WildRobot has them: a closed form."""

from __future__ import annotations

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.legs import FootFrames, Legs, rotated
from wildrobot_torch.motion.rotations import Array, Flags

# Internally both legs are the left one.
_FLIP = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
# A straight knee is a singularity: targets are pulled in to this share of the leg's square.
_MAX_REACH = 1.0 - 1e-9
_FEET_AHEAD = 0.004
"""Bearing feet ahead of the hips in balanced walks of the WildRobot, on average [m]."""


class PlanarLegs(Legs):
    """Legs of hip pitch, hip roll, knee and ankle pitch, thigh and shank in one plane: closed form.

    No hip yaw and no ankle roll: the foot's place and pitch can be chosen, but its roll follows
    from the hip. A sole is level only under a leg that does not lean sideways. Angles of `inverse`
    are not clipped to the stops.
    """

    exact = True

    def __init__(self, robot: RobotSpec) -> None:
        mirror_sign = robot.mirror_sign.cpu().double().numpy()
        right = robot.leg_joints[1].cpu().numpy()
        super().__init__(robot, np.stack([np.ones(4), mirror_sign[right]]))
        leg = robot.leg
        pitch, roll = np.array(leg.hip_pitch_pos), np.array(leg.hip_roll_pos)
        self._dy, self._dz = roll[1] - pitch[1], roll[2] - pitch[2]
        self._ly = leg.leg_y - roll[1]
        self.thigh, self.shank = leg.thigh + self._dz, leg.shank
        """[m]: hip-roll axis to knee axis along the thigh; knee axis to ankle axis."""

    @property
    def reach(self) -> float:
        """Hip-pitch axis to ankle axis, leg straight [m]."""
        return self.thigh + self.shank - self._dz

    @property
    def balance(self) -> float:
        """Bearing feet ahead of the hips: what tuned walks of the WildRobot have, scaled [m]."""
        return _FEET_AHEAD * self.robot.scale

    def knee(self, joint_pos: Array, side: int) -> Array:
        """See `Legs.knee`."""
        h, r, _, _ = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        zero = np.zeros_like(h)
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        thigh = np.stack([zero, zero + self._ly, zero - self.thigh], -1)
        knee = self.hip + rotated(_matrix_y(-h), axis + rotated(_matrix_x(-r), thigh))
        return knee * _FLIP[side]

    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """See `Legs.forward`."""
        h, r, k, a = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        hip = _matrix_y(-h) @ _matrix_x(-r)
        zero = np.zeros_like(h)
        # From the hip-roll axis to the ankle, in the thigh's frame; the knee bends about +y.
        reach = np.stack(
            [-self.shank * np.sin(k), zero + self._ly, -self.thigh - self.shank * np.cos(k)], -1
        )
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        ankle = self.hip + rotated(_matrix_y(-h), axis) + rotated(hip, reach)
        flip = _FLIP[side]
        return FootFrames(ankle * flip, hip @ _matrix_y(k + a) * flip[:, None] * flip)

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
        """See `Legs.inverse`."""
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


def _matrix_x(angle: Array) -> Array:
    one, zero, c, s = np.ones_like(angle), np.zeros_like(angle), np.cos(angle), np.sin(angle)
    return np.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).reshape(*angle.shape, 3, 3)


def _matrix_y(angle: Array) -> Array:
    return np.roll(_matrix_x(angle), (1, 1), (-2, -1))
