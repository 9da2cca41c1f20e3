"""The way into neutral stance and out of it: one step, without slides and jumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.rotations import quat_conjugate, quat_multiply, rotation_vector
from wildrobot_torch.motion.synthesis.bridge import into_stance, out_of_stance
from wildrobot_torch.motion.synthesis.walk import walking_clip

ROBOT = load_robot().robot
LEGS = legs_of(ROBOT)


def one_way() -> Clip:
    """Ends in another pose than it begins in: a walk, cut amid its second step."""
    return walking_clip(ROBOT, 0.3, 2.0).frames(3, 63)


def test_the_standing_foot_stays_and_the_other_one_is_lifted() -> None:
    clip = one_way()
    bridge = into_stance(clip, ROBOT, 0.4)
    ours, lowest = soles(LEGS, bridge), sole_corners(LEGS, bridge)[..., 2].min(-1)
    held = int(lowest[0].argmin())
    assert np.ptp(ours[:, held, :2], axis=0).max() < 1e-9
    assert np.linalg.norm(ours[-1, 1 - held] - ours[0, 1 - held]) > 0.03
    assert lowest[5:15, 1 - held].min() > 0.01
    # Side by side at the end, as far apart as the legs are.
    between = ours[-1, 0] - ours[-1, 1]
    assert np.linalg.norm(between[:2]) == pytest.approx(2.0 * ROBOT.leg.leg_y, abs=1e-6)
    assert abs(between[2]) < 1e-6


def test_the_bridge_starts_and_ends_at_the_speed_of_the_clip() -> None:
    clip = one_way()
    rest, rise = into_stance(clip, ROBOT, 0.4), out_of_stance(clip, ROBOT, 0.4)
    for part, at, frame in ((rest, 0, -1), (rise, -1, 0)):
        for name in ("root_pos", "joint_pos"):
            assert np.allclose(getattr(part, name)[at], getattr(clip, name)[frame], atol=1e-9), name
        turned = rotation_vector(quat_multiply(quat_conjugate(part.root_quat[at]),
                                               clip.root_quat[frame]))  # fmt: skip
        assert np.allclose(turned, 0.0, atol=1e-9)
        # One-sided differences are half a frame apart from it: a few hundred rad/s^2 by 10 ms.
        ours, theirs = part.velocities(ROBOT)[2][at], clip.velocities(ROBOT)[2][frame]
        assert np.abs(ours - theirs).max() < 1.5 < np.abs(theirs).max()


def test_a_clip_below_the_floor_comes_up_to_it() -> None:
    clip = one_way()
    sunk = replace(clip, root_pos=clip.root_pos - np.array([0.0, 0.0, 0.03]))
    lowest = sole_corners(LEGS, into_stance(sunk, ROBOT, 0.4))[..., 2].min((1, 2))
    assert lowest[0] == pytest.approx(-0.03, abs=1e-6) and abs(lowest[-1]) < 1e-9
    assert (np.diff(lowest) > -1e-9).all()


def test_the_way_out_is_the_way_in_backwards() -> None:
    """Of a motion played backwards, every velocity is the other way round."""
    clip = one_way()
    back = replace(
        clip,
        root_pos=clip.root_pos[::-1],
        root_quat=clip.root_quat[::-1],
        joint_pos=clip.joint_pos[::-1],
    )
    rest, rise = into_stance(clip, ROBOT, 0.3), out_of_stance(back, ROBOT, 0.3)
    assert np.allclose(rise.joint_pos[::-1], rest.joint_pos)
    assert np.allclose(rise.root_pos[::-1], rest.root_pos)
