"""From paths of the trunk and the soles to a clip, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import sole_axes, soles
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.rotations import Array, Flags

_ROUNDS = 8
_NEAR = 1e-5
"""A numeric solution ends when the ankle's target moves by less, in leg lengths."""


class FootPath(NamedTuple):
    """Path of one sole, and its slope (N,) [rad], > 0 toes down.

    `sole` (N, 3) [m] is the point under the ankle at mid-width, were the sole level; z is
    clearance. `yaw` (N,) [rad] is the heading of the toes, for legs that can choose it; None is 0.
    """

    sole: Array
    pitch: Array
    yaw: Array | None = None


class Posing(NamedTuple):
    """A clip, and where it differs from what was wanted.

    In frames `out_of_reach` (N,) an ankle was too far away; `pitch_given_up` (2, N) [rad] is the
    change of each foot's pitch that its ankle's stops needed.
    """

    clip: Clip
    out_of_reach: Flags
    pitch_given_up: Array


def pose(
    legs: Legs,
    root_pos: Array,
    root_quat: Array,
    feet: tuple[FootPath, FootPath],
    fps: float,
    ankle_margin: float | None = None,
) -> Posing:
    """The clip whose soles follow given paths under a trunk at (N, 3) [m], oriented by (N, 4).

    A sloping sole stands on its lowest corner (without ankle roll, no sole is level under a leg
    that leans sideways). That corner is at the path's clearance, and where it would be if the sole
    were level: a standing foot rolls and does not slip. Ankles keep `ankle_margin` [rad] from their
    stops by giving up foot pitch; None leaves them free.
    """
    inverse = rotations.quat_conjugate(root_quat)
    up = rotations.quat_rotate(inverse, np.array([0.0, 0.0, 1.0]))
    size, height = legs.robot.leg.leg_length, legs.robot.leg.ankle_height
    bend_column = legs.column("ankle_pitch")
    joints, given_up = [], []
    bad: Flags = np.zeros(len(root_pos), dtype=np.bool_)
    for side, foot in enumerate(feet):
        pitch, axes = foot.pitch, np.broadcast_to(np.eye(3), (len(root_pos), 3, 3))
        heading = np.zeros(len(root_pos)) if foot.yaw is None else foot.yaw
        if legs.turns:
            axes = rotations.matrix(rotations.yaw_quat(heading))
        ahead = rotations.quat_rotate(inverse, axes[:, :, 0])
        solved: Array | None = None
        moved, unreachable = np.full((len(root_pos), 3), np.inf), bad
        # The sole's tilt follows from the joints and moves the ankle: each round gains two digits.
        for _ in range(_ROUNDS):
            sole = foot.sole + _tipping(legs, axes)
            ankle = sole + height * axes[:, :, 2] - root_pos
            if not legs.exact and np.abs(ankle - moved).max() < _NEAR * size:
                break
            moved = ankle
            ankle_b = rotations.quat_rotate(inverse, ankle)
            solved, unreachable = legs.inverse(side, ankle_b, pitch, up, ahead, solved, True)
            if ankle_margin is not None and bend_column is not None:
                bend = legs.joints(side, solved)[:, bend_column]
                low = legs.lower[side, bend_column] + ankle_margin
                high = legs.upper[side, bend_column] - ankle_margin
                pitch = pitch + np.clip(bend, low, high) - bend
            foot_b = legs.forward(legs.assemble(solved, solved), side).rotation
            axes = np.stack(
                [rotations.quat_rotate(root_quat, foot_b[:, :, i]) for i in range(3)], -1
            )
        assert solved is not None
        joints.append(solved)
        bad = bad | unreachable
        given_up.append(np.abs(pitch - foot.pitch))
    clip = Clip("", fps, root_pos, root_quat, legs.assemble(*joints), "")
    return Posing(clip, bad, np.stack(given_up))


def foot_paths(legs: Legs, clip: Clip) -> tuple[FootPath, FootPath]:
    """Paths of a clip's left and right sole: the inverse of `pose`."""
    axes, centre = sole_axes(legs, clip), soles(legs, clip)
    place = centre - _tipping(legs, axes)
    pitch = -np.arcsin(np.clip(axes[..., 2, 0], -1.0, 1.0))
    left, right = FootPath(place[:, 0], pitch[:, 0]), FootPath(place[:, 1], pitch[:, 1])
    if not legs.turns:
        return left, right
    yaw = np.unwrap(np.arctan2(axes[..., 1, 0], axes[..., 0, 0]), axis=0)
    return left._replace(yaw=yaw[:, 0]), right._replace(yaw=yaw[:, 1])


def _tipping(legs: Legs, axes: Array) -> Array:
    """How a sole's middle (..., 3) [m] moves as the sole tips from level to `axes` (..., 3, 3).

    It tips about its lowest corner: toe or heel, and one side.
    """
    leg = legs.robot.leg
    ahead = np.where(axes[..., 2, 0] < 0.0, leg.toe, leg.heel)
    aside = np.where(axes[..., 2, 1] < 0.0, leg.sole_width / 2.0, -leg.sole_width / 2.0)
    if not legs.turns:
        # Toes point ahead; what they turn by is the hip's doing and no tipping.
        return np.stack(
            [
                ahead * (1.0 - axes[..., 0, 0]),
                aside * (1.0 - axes[..., 1, 1]),
                -(ahead * axes[..., 2, 0] + aside * axes[..., 2, 1]),
            ],
            -1,
        )
    toes = axes[..., :2, 0] / np.linalg.norm(axes[..., :2, 0], axis=-1, keepdims=True)
    level = np.zeros((*axes.shape[:-2], 3, 2))
    level[..., 0, 0], level[..., 1, 0] = toes[..., 0], toes[..., 1]
    level[..., 0, 1], level[..., 1, 1] = -toes[..., 1], toes[..., 0]
    gap = level - axes[..., :2]
    return ahead[..., None] * gap[..., 0] + aside[..., None] * gap[..., 1]
