"""From a clip to its parts and back, and changes that keep its joints off their stops."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import foot_yaw, legs_of, soles
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.repair.fitting import Fit, fitted, rebuild
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

ROBOT = load_robot().robot
LEGS = legs_of(ROBOT)
FPS = 50.0


def swaying(seed: int = 0) -> Clip:
    """A robot that does anything smooth: turning, tilting, joints amid their ranges."""
    rng = np.random.default_rng(seed)
    time = np.arange(100)[:, None] / FPS
    phase, rate = rng.random(14) * 6.0, 1.0 + 4.0 * rng.random(14)
    wave = np.sin(rate * time + phase)
    middle = np.array([0.4, -0.1, 0.7, -0.1, -0.4, 0.1, 0.7, -0.1])
    return Clip(
        "sway",
        FPS,
        0.1 * wave[:, :3] + [0.0, 0.0, 0.45],
        rotations.quat_from_euler(0.1 * wave[:, 3], 0.2 * wave[:, 4], 2.0 + 0.5 * wave[:, 5]),
        middle + 0.15 * wave[:, 6:],
        "",
    )


@pytest.mark.parametrize("heading", [0.0, 0.4])
def test_a_clip_taken_apart_is_put_together_as_it_was(heading: float) -> None:
    clip = swaying()
    parts = stances.take_apart(LEGS, clip, rotations.yaw(clip.root_quat) - heading)
    back, unreachable = rebuild(parts, LEGS, FPS, Fit())
    assert not unreachable.any()
    # A sole that begins to slope the other way stands on another corner.
    assert np.median(np.abs(back.joint_pos - clip.joint_pos).max(1)) < 1e-6
    assert np.abs(back.joint_pos - clip.joint_pos).max() < 0.03
    assert np.abs(back.root_pos - clip.root_pos).max() < 1e-9
    turned = rotations.quat_multiply(rotations.quat_conjugate(clip.root_quat), back.root_quat)
    assert np.abs(rotations.rotation_vector(turned)).max() < 1e-9


def test_fit_leans_about_the_hips_lowers_widens_and_shortens() -> None:
    clip = walking_clip(ROBOT, 0.3, 2.0, FPS)
    parts = stances.take_apart(LEGS, clip, np.zeros(clip.num_frames))
    fit = Fit(lean=0.1, lowering=0.01, widening=0.015, stride=0.5)
    changed = rebuild(parts, LEGS, FPS, fit)[0]
    again = stances.take_apart(LEGS, changed, np.zeros(clip.num_frames))
    assert np.allclose(again.tilt - parts.tilt, [0.0, 0.1, 0.0], atol=1e-9)
    assert np.allclose(again.hips - parts.hips * [0.5, 1.0, 1.0], [0.0, 0.0, -0.01], atol=1e-9)
    assert np.allclose(again.soles[..., 0], 0.5 * parts.soles[..., 0], atol=1e-3)
    moved = again.soles[..., 1] - parts.soles[..., 1]
    assert np.allclose(moved, np.array([[0.015], [-0.015]]), atol=1e-3)
    assert np.allclose(again.soles[..., 2], parts.soles[..., 2], atol=1e-3)


def test_trunk_yaw_that_keeps_the_standing_foot_from_swivelling() -> None:
    clip = walking_clip(ROBOT, 0.3, 2.0, FPS)
    parts = stances.take_apart(LEGS, clip, np.zeros(clip.num_frames))
    share = stances.walked(parts, FPS).share
    parts.tilt[:, 2] = 0.3
    steady = rebuild(parts, LEGS, FPS, Fit(), share)[0]
    assert np.abs((foot_yaw(LEGS, steady) * share.T).sum(1)).max() < 2e-3


def test_straight_knees_lower_the_hips_and_thighs_behind_lean_the_trunk() -> None:
    fit_to_stops = partial(
        fitted,
        legs=LEGS,
        fps=FPS,
        margin=0.04,
        max_lean=0.2,
        max_lowering=0.06,
    )
    stand = standing_clip(ROBOT, 1.0, FPS, crouch=1e-5)
    parts = stances.take_apart(LEGS, stand, np.zeros(stand.num_frames))
    clip, fit, before, after = fit_to_stops(parts)
    assert before == 1.0 and after == 0.0
    assert 0.0 < fit.lowering < 0.01 and fit.lean == 0.0 and fit.stride == 1.0
    assert clip.joint_pos[:, [2, 6]].min() > 0.04
    assert np.abs(soles(LEGS, clip) - soles(LEGS, stand))[..., 2].max() < 1e-6

    crouch = standing_clip(ROBOT, 1.0, FPS, crouch=0.02)
    parts = stances.take_apart(LEGS, crouch, np.zeros(crouch.num_frames))
    parts.feet[..., 0] -= 0.1  # feet far behind the hips: legs of 0.37 m, 0.27 rad
    clip, fit, before, after = fit_to_stops(parts)
    low = ROBOT.joint_range[0, 0].item()
    assert before == 1.0 and after == 0.0 and fit.lean > 0.0
    assert clip.joint_pos[:, 0].min() > low + 0.04 - 1e-9
    assert clip.joint_pos[:, 4].max() < -low - 0.04 + 1e-9
