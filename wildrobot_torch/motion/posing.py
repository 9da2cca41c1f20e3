"""From where the trunk and the soles should be to a clip, with soles that stand on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import Legs
from wildrobot_torch.motion.rotations import Array, Flags

_ROUNDS = 8


@dataclass(frozen=True)
class FootPath:
    """Where one sole is wanted, frame by frame."""

    sole: Array
    """(N, 3) [m]: the point under the ankle at mid-width, were the sole level; z is clearance."""
    pitch: Array
    """(N,) [rad]: slope of the sole, > 0 toes down."""


@dataclass(frozen=True)
class Posing:
    """A clip, and what of the wishes could not be."""

    clip: Clip
    out_of_reach: Flags
    """(N,) bool: an ankle was too far away."""
    pitch_given_up: Array
    """(2, N) [rad]: change of each foot's pitch that its ankle's stops needed."""


def pose(
    legs: Legs,
    root_pos: Array,
    root_quat: Array,
    feet: tuple[FootPath, FootPath],
    fps: float,
    ankle_margin: float | None = None,
) -> Posing:
    """Joint angles that put the soles where they are wanted, under a given trunk.

    A sole that slopes stands on its lower edges (toe or heel, and one side, as no ankle roll can
    level a leg that is not upright across): the lowest corner is at the wanted clearance and where
    it would be were the sole level, so a standing foot rolls and does not slip.

    Args:
        legs: the robot's.
        root_pos: (N, 3) [m].
        root_quat: (N, 4).
        feet: left and right.
        fps: of the clip [1/s].
        ankle_margin: distance the ankles keep from their stops [rad], by giving up foot pitch;
            None leaves them free.
    """
    leg = legs.robot.leg
    inverse = rotations.quat_conjugate(root_quat)
    up = rotations.quat_rotate(inverse, np.array([0.0, 0.0, 1.0]))
    joints: list[Array] = []
    given_up: list[Array] = []
    bad: Flags = np.zeros(len(root_pos), dtype=np.bool_)
    for side, foot in enumerate(feet):
        pitch = foot.pitch
        solved = np.zeros((len(root_pos), 4))
        axes = np.broadcast_to(np.eye(3), (len(root_pos), 3, 3))
        unreachable = bad
        # The sole's tilt follows from the joints and moves the ankle: each round gains two digits.
        for _ in range(_ROUNDS):
            ahead = np.where(axes[:, 2, 0] < 0.0, leg.toe, leg.heel)
            aside = np.where(axes[:, 2, 1] < 0.0, leg.sole_width / 2.0, -leg.sole_width / 2.0)
            sole = foot.sole.copy()
            sole[:, 0] += ahead * (1.0 - axes[:, 0, 0])
            sole[:, 1] += aside * (1.0 - axes[:, 1, 1])
            sole[:, 2] -= ahead * axes[:, 2, 0] + aside * axes[:, 2, 1]
            ankle = sole + leg.ankle_height * axes[:, :, 2] - root_pos
            ankle_b = rotations.quat_rotate(inverse, ankle)
            solved, unreachable = legs.inverse(side, ankle_b, pitch, up)
            if ankle_margin is not None:
                bend = legs.joints(side, solved)[:, 3]
                low, high = legs.lower[3] + ankle_margin, legs.upper[3] - ankle_margin
                pitch = pitch + np.clip(bend, low, high) - bend
            rotation = legs.forward(legs.assemble(solved, solved), side).rotation
            axes = np.stack(
                [rotations.quat_rotate(root_quat, rotation[:, :, i]) for i in range(3)], -1
            )
        joints.append(solved)
        bad = bad | unreachable
        given_up.append(np.abs(pitch - foot.pitch))
    clip = Clip("", fps, root_pos, root_quat, legs.assemble(*joints), "")
    return Posing(clip, bad, np.stack(given_up))
