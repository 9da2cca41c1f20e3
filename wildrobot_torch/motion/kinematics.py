"""Kinematics of a robot's legs, and where its soles are in a clip.

`legs_of` gives a robot's legs. Those of a hip pitch, hip roll, knee and ankle pitch in a plane have
a closed form (`PlanarLegs`); all others are solved by numbers (`NumericLegs`).
"""

from __future__ import annotations

import numpy as np

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.numeric_legs import NumericLegs
from wildrobot_torch.motion.planar_legs import PlanarLegs
from wildrobot_torch.motion.rotations import Array

_PLANAR = 3e-3
"""Largest difference of closed form and screws, in leg lengths and in the foot's axes [1]."""


def legs_of(robot: RobotSpec) -> Legs:
    """Kinematics of a robot's legs: the closed form where it holds, otherwise numeric."""
    if robot.chains[0].kinds == ("pitch", "roll", "knee", "ankle_pitch") and _planar(robot):
        return PlanarLegs(robot)
    return NumericLegs(robot)


def _planar(robot: RobotSpec) -> bool:
    """Whether the closed form places the feet as the legs' screws do, nearly."""
    planar, numeric = PlanarLegs(robot), NumericLegs(robot)
    share = np.random.default_rng(0).uniform(0.2, 0.8, (64, robot.num_joints))
    low, high = planar._limits
    joints = low + share * (high - low)
    gaps = []
    for side in (0, 1):
        one, other = planar.forward(joints, side), numeric.forward(joints, side)
        gaps += [np.abs(one.ankle - other.ankle).max() / robot.leg.leg_length]
        gaps += [np.abs(one.rotation - other.rotation).max()]
    return max(gaps) < _PLANAR


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
