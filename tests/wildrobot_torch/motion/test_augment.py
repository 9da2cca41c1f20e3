"""Mirroring, time warping, turning and looping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.model import load_robot
from wildrobot_torch.motion.augment import loop_clip, mirror, time_warp, turn
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.clips import load_clip
from wildrobot_torch.motion.kinematics import Legs, sole_corners, soles
from wildrobot_torch.motion.rotations import quat_from_euler, rotation_vector, yaw
from wildrobot_torch.motion.synthesis import walking_clip

ROBOT = load_robot().robot
LEGS = Legs(ROBOT)
CMU = Path(__file__).parents[3] / "../shared/motions/cmu"


def tumbling(seed: int = 0, frames: int = 40) -> Clip:
    """Smooth but otherwise arbitrary motion: nothing is zero, level or symmetric."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, frames)[:, None]
    angles = 0.5 * np.sin(3.0 * t + rng.uniform(0.0, 6.0, 3))
    low, high = ROBOT.joint_range.double().numpy().T
    joints = low + (high - low) * (0.5 + 0.2 * np.sin(4.0 * t + rng.uniform(0.0, 6.0, 8)))
    return Clip(
        "tumble",
        50.0,
        rng.normal(size=3) + t * rng.normal(size=3),
        quat_from_euler(*angles.T),
        joints,
        "",
    )


@pytest.mark.parametrize("seed", range(3))
def test_mirroring_twice_changes_nothing(seed: int) -> None:
    clip = tumbling(seed)
    twice = mirror(mirror(clip, ROBOT), ROBOT)
    for field in ("root_pos", "root_quat", "joint_pos"):
        assert np.allclose(getattr(twice, field), getattr(clip, field))


@pytest.mark.parametrize("seed", range(3))
def test_the_mirrored_robot_has_its_feet_at_the_mirrored_places(seed: int) -> None:
    clip = tumbling(seed)
    ours, theirs = soles(LEGS, clip), soles(LEGS, mirror(clip, ROBOT))
    assert np.allclose(theirs, ours[:, ::-1] * [1.0, -1.0, 1.0], atol=1e-9)
    corners = sole_corners(LEGS, mirror(clip, ROBOT))
    swapped = sole_corners(LEGS, clip)[:, ::-1][:, :, [1, 0, 3, 2]] * [1.0, -1.0, 1.0]
    assert np.allclose(corners, swapped, atol=1e-9)


def test_a_mirrored_walk_stays_within_the_stops() -> None:
    clip = mirror(walking_clip(ROBOT, 0.3, 3.0), ROBOT)
    low, high = ROBOT.joint_range.double().numpy().T
    assert (clip.joint_pos >= low).all() and (clip.joint_pos <= high).all()


def test_time_warp_scales_velocities() -> None:
    clip = walking_clip(ROBOT, 0.2, 4.0)
    fast = time_warp(clip, 1.25)
    assert fast.fps == 50.0 and fast.duration_s == pytest.approx(3.2)
    assert fast.mean_speed == pytest.approx(1.25 * clip.mean_speed, rel=1e-6)
    assert np.allclose(fast.joint_pos[[0, -1]], clip.joint_pos[[0, -1]])
    for factor in (0.0, -1.0, 3.0, float("nan")):
        with pytest.raises(ClipError, match=r"0\.5 to 2"):
            time_warp(clip, factor)


def test_turning_moves_feet_with_the_body() -> None:
    clip = tumbling()
    turned = turn(clip, 0.5 * np.pi)
    ours, theirs = soles(LEGS, clip), soles(LEGS, turned)
    assert np.allclose(theirs[..., 0], -ours[..., 1]) and np.allclose(theirs[..., 1], ours[..., 0])
    assert np.allclose(theirs[..., 2], ours[..., 2])
    before, after = clip.velocities(ROBOT), turned.velocities(ROBOT)
    assert np.allclose(before[1], after[1]), "angular velocity is in the body"


def test_a_looped_walk_keeps_speed_and_has_no_jump() -> None:
    clip = walking_clip(ROBOT, 0.3, 3.0)
    loop = loop_clip(clip, ROBOT, 20.0)
    assert loop.num_frames == 1001
    assert loop.mean_speed == pytest.approx(0.3, rel=0.03)
    assert (
        np.abs(np.diff(loop.joint_pos, axis=0)).max()
        <= 1.1 * np.abs(np.diff(clip.joint_pos, axis=0)).max()
    )
    assert np.abs(np.diff(loop.root_pos, axis=0)).max() < 0.015
    assert abs(loop.root_pos[-1, 1]) < 0.1


def test_a_looped_turn_goes_on_turning() -> None:
    """A clip that yaws at 0.2 rad/s: its loop yaws by 0.2 rad/s for ten times as long."""
    walk = walking_clip(ROBOT, 0.3, 4.0)
    t = np.arange(walk.num_frames) / 50.0
    tilted = quat_from_euler(np.zeros_like(t), np.full_like(t, 0.1), 0.2 * t)
    clip = Clip("arc", 50.0, walk.root_pos, tilted, walk.joint_pos, "")
    loop = loop_clip(clip, ROBOT, 10.0)
    rate = np.diff(np.unwrap(yaw(loop.root_quat))) * 50.0
    assert np.allclose(rate, 0.2, atol=0.02)
    tilt = np.linalg.norm(rotation_vector(loop.root_quat)[:1])
    assert tilt > 0.0


def test_looping_captured_motion_is_as_smooth_as_the_motion() -> None:
    if not CMU.is_dir():
        pytest.skip("no CMU clips in ../shared/motions/cmu")
    clip = load_clip(CMU / "91_straight_walk.amc", ROBOT).frames(0, 200)  # then it stands
    loop = loop_clip(clip, ROBOT, 20.0)
    fastest = np.abs(clip.velocities(ROBOT)[2]).max()
    assert np.abs(loop.velocities(ROBOT)[2]).max() < 1.2 * fastest
    assert loop.mean_speed == pytest.approx(clip.mean_speed, rel=0.15)


def test_loops_that_cannot_be_are_refused() -> None:
    clip = walking_clip(ROBOT, 0.3, 0.5)
    with pytest.raises(ClipError, match="too short to loop"):
        loop_clip(clip, ROBOT, 10.0)
    with pytest.raises(ClipError, match="duration"):
        loop_clip(walking_clip(ROBOT, 0.3, 3.0), ROBOT, float("nan"))
    with pytest.raises(ClipError, match="blend"):
        loop_clip(walking_clip(ROBOT, 0.3, 3.0), ROBOT, 10.0, blend_s=0.0)
