"""Mirroring, time warping, turning and looping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.errors import UserError
from envs.physics.native import NativePhysics
from envs.robot.model import load_robot
from wildrobot_torch.motion.augment import (
    VariantConfig,
    align,
    loop,
    loop_clip,
    loop_through_stance,
    mirror,
    time_warp,
    turn,
    variants,
)
from wildrobot_torch.motion.clip import Clip, ClipError, clip_states
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.read.files import load_clip
from wildrobot_torch.motion.rotations import quat_from_euler, rotation_vector, yaw
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

ROBOT = load_robot().robot
LEGS = legs_of(ROBOT)
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


def in_the_simulation(clip: Clip) -> np.ndarray:
    """Sole centres (N, 2, 3) where the simulation's own sensors see them."""
    qpos, qvel = clip_states(clip, ROBOT)
    physics = NativePhysics(load_robot().model, clip.num_frames, 1)
    everyone = torch.ones(clip.num_frames, dtype=torch.bool)
    physics.reset(everyone, qpos, qvel, qpos[:, ROBOT.joint_qpos_adr])
    sensed = physics.state().sensordata
    feet = [sensed[:, ROBOT.sensors[f"{side}_foot_pos"]] for side in ("left", "right")]
    return torch.stack(feet, 1).double().numpy()


def test_the_simulation_agrees_that_mirrored_and_turned_feet_are_where_they_should_be() -> None:
    clip = tumbling()
    ours = in_the_simulation(clip)
    assert np.allclose(ours[:, ::-1] * [1.0, -1.0, 1.0], in_the_simulation(mirror(clip, ROBOT)),
                       atol=1e-5)  # fmt: skip
    turned = in_the_simulation(turn(clip, 0.5 * np.pi))
    assert np.allclose(turned, np.stack([-ours[..., 1], ours[..., 0], ours[..., 2]], -1), atol=1e-5)


# Alignment


@pytest.mark.parametrize("heading", [0.3, 2.5, -3.0])
def test_an_aligned_walk_starts_at_the_origin_ahead_along_x_on_the_floor(heading: float) -> None:
    """As a clip of the earlier system: it walks anywhere, 3 cm below the floor."""
    walk = walking_clip(ROBOT, 0.3, 3.0)
    sunk = replace(walk, root_pos=walk.root_pos + np.array([4.0, -2.0, -0.03]))
    aligned = align(turn(sunk, heading), ROBOT)
    assert np.allclose(aligned.root_pos[0, :2], 0.0) and abs(yaw(aligned.root_quat[:1])[0]) < 1e-9
    assert aligned.root_pos[-1, 0] == pytest.approx(0.9, abs=0.05)
    assert abs(aligned.root_pos[-1, 1]) < 0.06
    assert sole_corners(LEGS, aligned)[..., 2].min() == pytest.approx(0.0, abs=1e-9)
    assert in_the_simulation(aligned)[..., 2].min() == pytest.approx(0.0, abs=1e-3)
    assert np.array_equal(aligned.joint_pos, walk.joint_pos)
    # No frame is moved against another.
    assert np.allclose(np.diff(aligned.root_pos[:, 2]), np.diff(walk.root_pos[:, 2]))


# Through neutral stance


def one_way(frames: int = 60) -> Clip:
    """Ends in another pose than it begins in: a walk, cut amid its second step."""
    return walking_clip(ROBOT, 0.3, 2.0).frames(3, 3 + frames)


@pytest.mark.parametrize("blend_s", [0.2, 0.3, 0.4])
def test_between_repetitions_the_robot_stands(blend_s: float) -> None:
    clip, stand = one_way(), standing_clip(ROBOT, 0.1)
    looped = loop_through_stance(clip, ROBOT, 10.0, blend_s)
    assert looped.num_frames == 501
    count = round(blend_s * 50.0)
    period = clip.num_frames - 1 + 2 * count
    for first in range(0, 501 - period, period):
        mine = slice(first, first + clip.num_frames)
        assert np.allclose(looped.joint_pos[mine], clip.joint_pos, atol=1e-9)
        rest = first + clip.num_frames - 1 + count
        assert np.allclose(looped.joint_pos[rest], stand.joint_pos[0], atol=1e-9)
        assert looped.root_pos[rest, 2] == pytest.approx(stand.root_pos[0, 2], abs=1e-6)
        tilt = rotation_vector(looped.root_quat[rest])
        assert np.allclose(tilt[:2], 0.0, atol=1e-9)
        # Both soles flat on the floor, and at rest: what is left is the cubic's curvature.
        still = 0.02 / blend_s
        assert np.allclose(sole_corners(LEGS, looped)[rest, ..., 2], 0.0, atol=1e-6)
        before, after = (looped.joint_pos[rest + i] - looped.joint_pos[rest] for i in (-1, 1))
        assert np.abs(np.concatenate([before, after])).max() < still


@pytest.mark.parametrize("speed", [0.1, 0.3])
def test_the_bridge_is_as_smooth_as_the_walk_and_stays_on_the_floor(speed: float) -> None:
    clip = walking_clip(ROBOT, speed, 2.37)
    looped = loop_through_stance(clip, ROBOT, 8.0, 0.4)
    for order, factor in ((1, 1.05), (2, 1.05)):
        ours = np.abs(np.diff(looped.joint_pos, order, axis=0)).max()
        assert ours <= factor * np.abs(np.diff(clip.joint_pos, order, axis=0)).max()
    steps = np.linalg.norm(np.diff(looped.root_pos, axis=0), axis=1)
    assert steps.max() <= 1.1 * np.linalg.norm(np.diff(clip.root_pos, axis=0), axis=1).max()
    assert np.abs(sole_corners(LEGS, looped)[..., 2].min((1, 2))).max() < 1e-6
    low, high = ROBOT.joint_range.double().numpy().T
    assert (looped.joint_pos >= low).all() and (looped.joint_pos <= high).all()
    assert looped.root_pos[-1, 0] > 2.0 * clip.root_pos[-1, 0], "it goes on from where it came"


def test_a_turned_walk_goes_on_in_its_own_direction() -> None:
    looped = loop_through_stance(turn(one_way(), 2.0), ROBOT, 6.0, 0.4)
    way = looped.root_pos[-1] - looped.root_pos[0]
    assert np.arctan2(way[1], way[0]) == pytest.approx(2.0, abs=0.1)
    assert np.allclose(yaw(looped.root_quat), 2.0, atol=0.15)


def test_clips_that_return_are_looped_directly_and_others_through_stance() -> None:
    walk = loop(walking_clip(ROBOT, 0.3, 3.0), ROBOT, 8.0)
    assert "through stance" not in walk.source and walk.mean_speed == pytest.approx(0.3, rel=0.05)
    squat = walking_clip(ROBOT, 0.3, 3.0)
    down = np.linspace(0.0, 0.4, squat.num_frames)[:, None]
    bend = LEGS.joints(0, down * [1.0, 0.0, 2.0, -1.0])
    squat = replace(
        squat,
        root_pos=np.tile([0.0, 0.0, 0.45], (squat.num_frames, 1)),
        root_quat=np.tile([1.0, 0.0, 0.0, 0.0], (squat.num_frames, 1)),
        joint_pos=LEGS.assemble(bend, LEGS.joints(1, LEGS.joints(0, bend))),
    )
    assert "through stance" in loop(squat, ROBOT, 8.0).source, "it goes down and never comes up"
    assert "through stance" in loop(one_way(30), ROBOT, 8.0).source, "too short for a stride"
    for source in (walk, squat):
        assert loop(source, ROBOT, 8.0).num_frames == 401


@pytest.mark.parametrize("blend_s", [0.1, 0.5, float("nan")])
def test_a_blend_out_of_range_is_refused(blend_s: float) -> None:
    with pytest.raises(ClipError, match=r"0\.2 to 0\.4"):
        loop_through_stance(one_way(), ROBOT, 5.0, blend_s)


# All at once


def test_variants_are_every_combination_with_names_of_their_own() -> None:
    clip = walking_clip(ROBOT, 0.3, 3.0)
    config = VariantConfig(warps=(0.8, 1.0, 1.2), headings=(0.0, 1.0), loop_s=5.0)
    made = variants(clip, ROBOT, config)
    assert len(made) == 3 * 2 * 2
    names = [v.name for v in made]
    assert len(set(names)) == 12 and all(name.startswith("walk_0.30") for name in names)
    assert names[:4] == ["walk_0.30_x0.8_loop", "walk_0.30_x0.8_loop_turn+57.3",
                         "walk_0.30_x0.8_loop_mirror",
                         "walk_0.30_x0.8_loop_mirror_turn+57.3"]  # fmt: skip
    for variant in made:
        assert variant.num_frames == 251
        assert np.allclose(variant.root_pos[0, :2], 0.0)
        assert abs(sole_corners(LEGS, variant)[..., 2].min()) < 1e-6
        factor = 0.8 if "x0.8" in variant.name else 1.2 if "x1.2" in variant.name else 1.0
        assert variant.mean_speed == pytest.approx(0.3 * factor, rel=0.06)
        facing = 1.0 if "turn" in variant.name else 0.0
        assert yaw(variant.root_quat)[0] == pytest.approx(facing, abs=1e-6)
        way = variant.root_pos[-1]
        assert np.arctan2(way[1], way[0]) == pytest.approx(facing, abs=0.06)
    # Left is right: the mirrored one starts on the other foot.
    lifted = [soles(LEGS, v)[:, :, 2].argmax(1) for v in (made[0], made[2])]
    assert (lifted[0] != lifted[1]).mean() > 0.8


def test_without_changes_the_clip_stays_as_it_is() -> None:
    clip = align(walking_clip(ROBOT, 0.3, 2.0), ROBOT)
    made = variants(clip, ROBOT, VariantConfig(mirror=False))
    assert [v.name for v in made] == [clip.name]
    for field in ("root_pos", "root_quat", "joint_pos"):
        assert np.allclose(getattr(made[0], field), getattr(clip, field), atol=1e-12)


def test_a_clip_longer_than_the_loop_is_not_cut() -> None:
    clip = walking_clip(ROBOT, 0.3, 3.0)
    made = variants(clip, ROBOT, VariantConfig(mirror=False, loop_s=2.0))
    assert [v.num_frames for v in made] == [clip.num_frames]


def test_standing_has_one_speed_and_no_other_image() -> None:
    config = VariantConfig(warps=(0.9, 1.0, 1.1), headings=(0.0, 1.5), loop_s=4.0)
    made = variants(standing_clip(ROBOT, 1.0), ROBOT, config)
    assert len(made) == 2 and {v.num_frames for v in made} == {201}
    assert np.ptp(made[0].root_pos, axis=0).max() < 1e-9


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        ({"warps": (0.7,)}, "warps"),
        ({"warps": ()}, "warps"),
        ({"warps": (1.0, 1.0)}, "twice"),
        ({"headings": ()}, "headings"),
        ({"headings": (float("inf"),)}, "headings"),
        ({"headings": (0.5, 0.5)}, "twice"),
        ({"loop_s": -1.0}, "loop_s"),
        ({"loop_s": float("nan")}, "loop_s"),
    ],
)
def test_variants_that_cannot_be_are_refused(bad: dict, names: str) -> None:
    with pytest.raises(UserError, match=names):
        VariantConfig(**bad)
