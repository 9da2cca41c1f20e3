"""What legs tell about a walk: against hand-made feet, and against walks whose way is known."""

from __future__ import annotations

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.augment import turn
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import legs_of, soles
from wildrobot_torch.motion.repair import stances
from wildrobot_torch.motion.series import runs
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

ROBOT = load_robot().robot
LEGS = legs_of(ROBOT)
FPS = 50.0


def test_slow_heading_is_the_line_through_a_swinging_pelvis() -> None:
    for frames in (100, 300):
        time = np.arange(frames) / FPS
        quat = rotations.yaw_quat(3.0 + 0.1 * time + 0.05 * np.sin(2 * np.pi * 2.0 * time))
        still = np.zeros((frames, 3)), np.zeros((frames, 8))
        heading = stances.slow_heading(Clip("turn", FPS, still[0], quat, still[1], ""))
        middle = slice(frames // 4, -frames // 4)
        assert np.abs(heading - 3.0 - 0.1 * time)[middle].max() < 0.02  # beyond pi, without a jump


def test_level_soles_are_where_the_feet_are() -> None:
    clip = turn(standing_clip(ROBOT, 1.0), 0.5)
    parts = stances.take_apart(LEGS, clip, np.full(clip.num_frames, 0.5))
    assert np.allclose(parts.soles.transpose(1, 0, 2), soles(LEGS, clip), atol=1e-6)
    leg = ROBOT.leg
    # Seen from the hips: straight down, as far as the leg less 3 mm of crouch.
    assert parts.feet[0, 0] == pytest.approx([0.0, leg.leg_y, 0.003 - leg.leg_length], abs=2e-3)


def test_floor_is_where_a_foot_rests_however_the_ground_slopes() -> None:
    time = np.arange(400) / FPS
    slope = 0.02 + 0.004 * time
    lift = np.maximum(0.05 * np.sin(2 * np.pi * time / 0.8), 0.0)
    heights = np.stack([slope + lift, np.roll(lift, 20)])
    heights[0, 200] -= 0.03  # one frame that dips in
    floors = stances.floors(heights, FPS)
    middle = slice(60, 340)
    assert np.abs(floors[0] - slope)[middle].max() < 0.003
    assert np.abs(floors[1])[middle].max() < 1e-3


def test_a_moment_is_neither_a_swing_nor_a_stance() -> None:
    clearance = np.zeros((2, 100))
    clearance[0, 20:22] = 0.03
    clearance[1, 20:60] = 0.03
    clearance[1, 40:42] = 0.0
    stands = stances.standing(clearance, FPS)
    assert stands[0].all()
    assert runs(~stands[1]) == [(20, 60)]


@pytest.mark.parametrize("speed", [0.1, 0.3, 0.5])
def test_legs_tell_the_way_walked(speed: float) -> None:
    clip = walking_clip(ROBOT, speed, 4.0, FPS)
    parts = stances.take_apart(LEGS, clip, np.zeros(clip.num_frames))
    # Even if the file has it the other way round, or nowhere.
    parts = stances.ClipParts(
        parts.heading, parts.hips * [-1.0, 0.0, 1.0], parts.tilt, parts.feet, parts.pitch
    )
    walk = stances.walked(parts, FPS)
    assert walk.way[-1, 0] == pytest.approx(4.0 * speed, rel=0.06)
    assert abs(walk.way[-1, 1]) < 0.06
    assert np.allclose(walk.share.sum(0), 1.0)
    assert walk.speed(FPS) == pytest.approx(speed, rel=0.06)
    # A foot of the built-in walk stands for 58 % of the time: half, and half the double supports.
    assert walk.stands.mean() == pytest.approx(0.58, abs=0.1)


def test_hips_go_with_the_one_foot_that_stands() -> None:
    frames = 40
    feet = np.zeros((2, frames, 3))
    feet[0, :, 0] = -0.01 * np.arange(frames)  # passes below the hips, 1 cm a frame
    feet[1, :, 0] = 0.02 * np.arange(frames)
    feet[..., 2] = [[-0.4], [-0.35]]
    hips = np.tile([0.0, 0.0, 0.4], (frames, 1))
    # A second part in which the right foot stands, so that both have a floor.
    feet = np.concatenate([feet, feet[::-1]], 1)
    hips = np.concatenate([hips, hips])
    parts = stances.ClipParts(
        np.full(2 * frames, np.pi / 2), hips, np.zeros((80, 3)), feet, np.zeros((2, 80))
    )
    walk = stances.walked(parts, FPS)
    assert walk.stands[0, : frames - 2].all() and not walk.stands[1, : frames - 2].any()
    # Heading is +y: so is the way, 1 cm a frame.
    assert walk.way[frames - 3] == pytest.approx([0.0, 0.37], abs=1e-6)


def test_locked_feet_stay_and_swings_join_their_places() -> None:
    frames = 60
    soles = np.zeros((2, frames, 3))
    soles[0, :20, 0] = np.linspace(0.0, 0.02, 20)  # slides by 2 cm while it stands
    soles[0, 20:40, 0] = np.linspace(0.02, 0.2, 20)
    soles[0, 40:, 0] = 0.2
    soles[0, 20:40, 2] = 0.004  # and scuffs
    soles[1, :, 2] = 0.002
    stands = np.ones((2, frames), dtype=bool)
    stands[0, 20:40] = False
    paths = stances.locked(soles, stands, 0.02, FPS)
    assert np.allclose(paths[0, :20], [0.01, 0.0, 0.0])
    assert np.allclose(paths[0, 40:], [0.2, 0.0, 0.0])
    assert (np.diff(paths[0, 20:40, 0]) > 0.0).all()
    assert paths[0, 20:40, 2].max() == pytest.approx(0.02, rel=0.01)
    assert (paths[0, 20:40, 2] > 0.0).all()
    # At its ends it rises first: a twentieth of the way in the first tenth of the swing.
    assert paths[0, 21, 0] - 0.01 < 0.01
    assert np.allclose(paths[1], 0.0)


def test_a_swing_without_an_end_is_held_at_the_other() -> None:
    frames = 40
    soles = np.zeros((2, frames, 3))
    soles[0, 20:, 0] = 0.02 * np.arange(1, 21)
    stands = np.ones((2, frames), dtype=bool)
    stands[0, 20:] = False
    path = stances.locked(soles, stands, 0.02, FPS)[0]
    assert path[-1] == pytest.approx([0.4, 0.0, 0.02], abs=1e-6)
    assert abs(path[20, 0]) < 0.02 * 0.5
    never = stances.locked(soles, np.zeros_like(stands), 0.02, FPS)
    assert np.array_equal(never, soles)
