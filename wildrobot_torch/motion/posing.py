"""From paths of the trunk and the soles to a clip, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import Legs, sole_axes, soles
from wildrobot_torch.motion.rotations import Array, Flags

_ROUNDS = 8


class FootPath(NamedTuple):
    """Path of one sole, and its slope (N,) [rad], > 0 toes down.

    `sole` (N, 3) [m] is the point under the ankle at mid-width, were the sole level; z is
    clearance.
    """

    sole: Array
    pitch: Array


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
    joints, given_up = [], []
    bad: Flags = np.zeros(len(root_pos), dtype=np.bool_)
    for side, foot in enumerate(feet):
        pitch, axes = foot.pitch, np.broadcast_to(np.eye(3), (len(root_pos), 3, 3))
        solved, unreachable = np.zeros((len(root_pos), 4)), bad
        # The sole's tilt follows from the joints and moves the ankle: each round gains two digits.
        for _ in range(_ROUNDS):
            sole = foot.sole + _tipping(legs, axes)
            ankle = sole + legs.robot.leg.ankle_height * axes[:, :, 2] - root_pos
            ankle_b = rotations.quat_rotate(inverse, ankle)
            solved, unreachable = legs.inverse(side, ankle_b, pitch, up)
            if ankle_margin is not None:
                bend = legs.joints(side, solved)[:, 3]
                low, high = legs.lower[3] + ankle_margin, legs.upper[3] - ankle_margin
                pitch = pitch + np.clip(bend, low, high) - bend
            foot_b = legs.forward(legs.assemble(solved, solved), side).rotation
            axes = np.stack(
                [rotations.quat_rotate(root_quat, foot_b[:, :, i]) for i in range(3)], -1
            )
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
    return FootPath(place[:, 0], pitch[:, 0]), FootPath(place[:, 1], pitch[:, 1])


def _tipping(legs: Legs, axes: Array) -> Array:
    """How a sole's middle (..., 3) [m] moves as the sole tips from level to `axes` (..., 3, 3).

    It tips about its lowest corner: toe or heel, and one side.
    """
    leg = legs.robot.leg
    ahead = np.where(axes[..., 2, 0] < 0.0, leg.toe, leg.heel)
    aside = np.where(axes[..., 2, 1] < 0.0, leg.sole_width / 2.0, -leg.sole_width / 2.0)
    return np.stack(
        [
            ahead * (1.0 - axes[..., 0, 0]),
            aside * (1.0 - axes[..., 1, 1]),
            -(ahead * axes[..., 2, 0] + aside * axes[..., 2, 1]),
        ],
        -1,
    )
