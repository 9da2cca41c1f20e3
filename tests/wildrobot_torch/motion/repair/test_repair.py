"""Repair: good clips come back as they were, each planted fault is mended, bad clips are named."""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import mujoco
import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.model import load_robot
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.augment import turn
from wildrobot_torch.motion.clip import Clip, ClipError, clip_states
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.read.files import load_all, load_clips
from wildrobot_torch.motion.repair.repair import RepairConfig, check_clip, repair
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

MODEL = load_robot()
ROBOT = MODEL.robot
LEGS = legs_of(ROBOT)
FPS = 50.0


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


broken = _module("broken_clips")


def low_and_fast(clip: Clip) -> float:
    """Share of soles within 5 mm of the floor that move along it faster than 0.1 m/s."""
    low = sole_corners(LEGS, clip)[..., 2].min(2) < 0.005
    speed = np.linalg.norm(np.gradient(soles(LEGS, clip)[..., :2], 1 / clip.fps, axis=0), axis=-1)
    return float((speed[low] > 0.1).mean())


def apart(clip: Clip) -> np.ndarray:
    """Lateral distance (N,) of the soles' middles, clips facing +x."""
    middle = soles(LEGS, clip)
    return middle[:, 0, 1] - middle[:, 1, 1]


def on_stop(clip: Clip) -> float:
    """Share of frames within 0.02 rad of a stop, worst joint."""
    low, high = ROBOT.joint_range.double().numpy().T
    near = (clip.joint_pos < low + 0.02) | (clip.joint_pos > high - 0.02)
    return float(near.mean(0).max())


def named(changes: tuple[str, ...]) -> set[str]:
    return {change.split(":")[0] for change in changes}


@pytest.fixture(scope="module")
def walk() -> Clip:
    return walking_clip(ROBOT, 0.3, 4.0, FPS)


@pytest.mark.parametrize("speed", [0.0, 0.1, 0.3, 0.5])
def test_a_good_clip_comes_back_as_it_was(speed: float) -> None:
    walking = speed > 0.0
    good = walking_clip(ROBOT, speed, 4.0, FPS) if walking else standing_clip(ROBOT, 1.0, FPS)
    repaired = repair(good, ROBOT)
    clip, changes = repaired.clip, repaired.changes
    assert changes == () and clip.source == good.source and clip.name == good.name
    assert np.abs(clip.joint_pos - good.joint_pos).max() < 1e-3
    moved = clip.root_pos - good.root_pos
    assert np.abs(moved - moved[0]).max() < 1e-6


def test_repairing_twice_is_repairing_once() -> None:
    once = repair(broken.broken_clip(ROBOT, 5), ROBOT).clip
    twice = repair(once, ROBOT)
    assert np.sqrt(np.mean((twice.clip.joint_pos - once.joint_pos) ** 2)) < 0.02
    assert named(twice.changes) <= {"smooth", "feet", "stops"}


@pytest.mark.parametrize("angle", [np.pi, 2.5, -1.0])
def test_a_clip_is_turned_to_x_and_begins_at_the_origin(walk: Clip, angle: float) -> None:
    moved = turn(walk, angle)
    moved = replace(moved, root_pos=moved.root_pos + np.array([3.0, -2.0, 0.0]))
    result = repair(moved, ROBOT)
    assert named(result.changes) == {"heading"}
    assert np.allclose(result.clip.root_pos[0, :2], 0.0)
    end = walk.root_pos[-1, :2] - walk.root_pos[0, :2]
    assert result.clip.root_pos[-1, :2] == pytest.approx(end, abs=0.02)
    assert np.abs(result.clip.joint_pos - walk.joint_pos).max() < 2e-3


def test_a_root_that_goes_against_its_legs_goes_with_them(walk: Clip) -> None:
    wrong = replace(walk, root_pos=walk.root_pos * [-1.0, 1.0, 1.0])
    result = repair(wrong, ROBOT)
    assert "travel" in named(result.changes)
    assert result.clip.root_pos[-1, 0] == pytest.approx(1.2, rel=0.06)
    assert low_and_fast(wrong) > 0.9 and low_and_fast(result.clip) < 0.16


def test_a_drifting_walk_becomes_straight(walk: Clip) -> None:
    angle = np.linspace(0.0, 0.2, walk.num_frames)
    bent = rotations.yaw_quat(angle)
    way = rotations.quat_rotate(bent[1:], np.diff(walk.root_pos, axis=0))
    root_pos = np.concatenate([walk.root_pos[:1], walk.root_pos[0] + np.cumsum(way, axis=0)])
    quat = rotations.quat_multiply(bent, walk.root_quat)
    result = repair(replace(walk, root_pos=root_pos, root_quat=quat), ROBOT).clip
    assert np.ptp(rotations.yaw(result.root_quat)) < np.ptp(rotations.yaw(walk.root_quat)) + 0.03
    end = walk.root_pos[-1, :2] - walk.root_pos[0, :2]
    assert result.root_pos[-1, :2] == pytest.approx(end, abs=0.03)


@pytest.mark.parametrize("sunk", [-0.04, 0.03])
def test_soles_are_put_on_the_floor(walk: Clip, sunk: float) -> None:
    result = repair(replace(walk, root_pos=walk.root_pos + np.array([0.0, 0.0, sunk])), ROBOT)
    assert named(result.changes) == {"ground"}
    assert f"{1e3 * sunk:+.0f}" in result.changes[0]
    assert np.abs(result.clip.root_pos - walk.root_pos)[:, 2].max() < 1e-3
    assert sole_corners(LEGS, result.clip)[..., 2].min() == pytest.approx(0.0, abs=1e-3)


def test_overlapping_feet_are_parted(walk: Clip) -> None:
    joints = walk.joint_pos.copy()
    joints[:, 1] += 0.12
    joints[:, 5] -= 0.12
    assert apart(replace(walk, joint_pos=joints)).min() < ROBOT.leg.sole_width + 0.01
    result = repair(replace(walk, joint_pos=joints), ROBOT)
    assert "width" in named(result.changes)
    assert apart(result.clip).min() > ROBOT.leg.sole_width + 0.015 - 1e-3
    assert np.median(apart(result.clip)) == pytest.approx(2 * ROBOT.leg.leg_y, abs=0.01)


def test_crossing_feet_are_kept_apart_by_the_room_wanted(walk: Clip) -> None:
    # Wide on the mean, and for a while crossed: more room is made only then.
    joints = walk.joint_pos.copy()
    cross = 0.3 * np.exp(-(((np.arange(walk.num_frames) - 100) / 10.0) ** 2))
    joints[:, 1] += np.minimum(cross, 0.17 - joints[:, 1])
    joints[:, 5] -= np.minimum(cross, 0.17 + joints[:, 5])
    crossed = replace(walk, joint_pos=joints)
    for gap in (0.0, 0.05):
        result = repair(crossed, ROBOT, RepairConfig(gap=gap)).clip
        assert apart(result).min() > ROBOT.leg.sole_width + gap - 4e-3


def test_feet_far_behind_the_hips_come_under_them(walk: Clip) -> None:
    joints = walk.joint_pos.copy()
    joints[:, [0, 4]] += np.array([0.25, -0.25])
    joints[:, [3, 7]] += 0.25
    result = repair(replace(walk, joint_pos=joints), ROBOT)
    assert "balance" in named(result.changes)
    middle = soles(LEGS, result.clip)[..., 0].mean(1) - result.clip.root_pos[:, 0]
    assert abs(middle.mean()) < 0.03


def test_sliding_feet_are_locked_in_the_engine_too(walk: Clip) -> None:
    slow = replace(walk, root_pos=walk.root_pos * [0.6, 1.0, 1.0])
    result = repair(slow, ROBOT)
    assert "feet" in named(result.changes)
    data = mujoco.MjData(MODEL.model)
    sites = [
        mujoco.mj_name2id(MODEL.model, mujoco.mjtObj.mjOBJ_SITE, f"{s}_foot")
        for s in ("left", "right")
    ]
    places = []
    for qpos in clip_states(result.clip, ROBOT)[0].double().numpy():
        data.qpos[:] = qpos
        mujoco.mj_kinematics(MODEL.model, data)
        places.append(data.site_xpos[sites].copy())
    place = np.array(places)
    speed = np.linalg.norm(np.diff(place[..., :2], axis=0), axis=-1) * FPS
    low = (place[1:, :, 2] < 0.003) & (place[:-1, :, 2] < 0.003)
    assert 0.4 < low.mean() < 0.8
    assert (speed[low] > 0.1).mean() < 0.03
    assert place[..., 2].min() > -0.002
    # Hips go as far as the legs say, not as the file did.
    assert result.clip.mean_speed == pytest.approx(0.3, rel=0.06)


def test_noise_is_taken_out_and_told_by_size(walk: Clip) -> None:
    rng = np.random.default_rng(0)
    noisy = replace(walk, joint_pos=walk.joint_pos + 0.02 * rng.standard_normal((201, 8)))
    result = repair(noisy, ROBOT)
    assert "smooth" in named(result.changes)
    # White noise of 0.02 rad at 25 Hz bandwidth: what a 7 Hz low-pass takes is sqrt(18 / 25) of it.
    taken = float(result.changes[0].split(" took ")[1].split()[0])
    assert taken == pytest.approx(0.02 * np.sqrt(18 / 25), rel=0.15)
    before = np.sqrt(np.mean(np.diff(noisy.joint_pos, 3, axis=0) ** 2))
    assert np.sqrt(np.mean(np.diff(result.clip.joint_pos, 3, axis=0) ** 2)) < 0.4 * before


def test_a_swinging_trunk_is_steadied(walk: Clip) -> None:
    time = np.arange(walk.num_frames) / FPS
    swing = 0.1 * np.sin(2 * np.pi * 1.6 * time)
    quat = rotations.quat_from_euler(0.5 * swing, 0.05 + swing, swing)
    result = repair(replace(walk, root_quat=quat), ROBOT)
    assert "trunk" in named(result.changes)
    w, x, y, z = result.clip.root_quat.T
    assert np.std(np.arcsin(2 * (w * y - z * x))[20:-20]) < 0.02
    assert np.std(rotations.yaw(result.clip.root_quat)) < 0.04


def test_another_rate(walk: Clip) -> None:
    clip = repair(walk, ROBOT, fps=100.0)
    assert clip.clip.fps == 100.0 and clip.clip.num_frames == 401
    assert named(clip.changes) == {"rate"}


def test_the_earlier_systems_clips(tmp_path: Path) -> None:
    broken.write_all(tmp_path, ROBOT)
    clips, rejected = load_all(tmp_path, ROBOT)
    assert len(clips) == 12 and rejected == []
    assert 66.0 < sum(clip.duration_s for clip in clips) < 70.0
    for number, clip in enumerate(clips):
        deep = -sole_corners(LEGS, clip)[..., 2].min((1, 2))
        assert 0.018 < np.median(deep) < 0.045 and low_and_fast(clip) > 0.5
        assert clip.root_pos[-1, 0] < clip.root_pos[0, 0]
        if number % 4:  # repairing all of them takes a while
            continue
        repaired = repair(clip, ROBOT)
        result, changes = repaired.clip, repaired.changes
        assert {"rate", "heading", "ground", "width", "trunk"} <= named(changes)
        assert result.fps == 50.0 and result.duration_s == pytest.approx(clip.duration_s, abs=0.03)
        assert result.root_pos[-1, 0] > 0.5 * broken.SPEEDS[number] * clip.duration_s
        assert apart(result).min() > 0.10
        assert -sole_corners(LEGS, result)[..., 2].min() < 0.003
        assert low_and_fast(result) < 0.06
        assert on_stop(result) < 0.02
        assert (np.abs(np.diff(result.joint_pos, axis=0)) * 50.0).max() < 10.0


def test_captured_walks_stop_sliding(cmu_folder: Path) -> None:
    for clip in load_clips(cmu_folder, ROBOT):
        result = repair(clip, ROBOT).clip
        assert low_and_fast(clip) > 0.15 and low_and_fast(result) < 0.06
        assert np.sqrt(np.mean((result.joint_pos - clip.joint_pos) ** 2)) < 0.05
        assert result.mean_speed == pytest.approx(clip.mean_speed, rel=0.15)


def test_clips_beyond_repair(walk: Clip) -> None:
    assert check_clip(walk, ROBOT) is None
    joints = walk.joint_pos.copy()
    joints[50:, 2] += 0.6
    far = walk.root_pos.copy()
    far[30:, 0] += 0.3
    half = walk.root_quat.copy()
    half[60:] = rotations.quat_multiply(half[60:], np.tile([0.0, 0.0, 0.0, 1.0], (141, 1)))
    bad = {
        "0.48 s; needed": walk.frames(0, 25),
        "left_knee_pitch jumps": replace(walk, joint_pos=joints),
        "frame 50; allowed: 0.5 rad": replace(walk, joint_pos=joints),
        "the root jumps by 0.30 m at frame 30": replace(walk, root_pos=far),
        "the root's rotation jumps by 3.1": replace(walk, root_quat=half),
        "below the floor throughout": replace(walk, root_pos=walk.root_pos - [0.0, 0.0, 0.1]),
        "quaternions in another order": replace(walk, root_quat=walk.root_quat[:, [3, 0, 1, 2]]),
        "7 joints; robot": replace(walk, joint_pos=walk.joint_pos[:, :7]),
    }
    for words, clip in bad.items():
        reason = check_clip(clip, ROBOT)
        assert reason is not None and words in reason and "\n" not in reason
        with pytest.raises(ClipError, match=r"walk_0\.30"):
            repair(clip, ROBOT)


def test_bad_clips_of_a_folder_are_named_and_the_others_go_on(tmp_path: Path, walk: Clip) -> None:
    broken.write_legacy(tmp_path / "good.pkl", walk)
    broken.write_legacy(tmp_path / "short.pkl", walk.frames(0, 10))
    content = pickle.loads((tmp_path / "good.pkl").read_bytes())
    empty = {"root_pos": (0, 3), "root_rot": (0, 4), "dof_pos": (0, 8)}
    for name, change in {
        "empty": {key: np.zeros(shape) for key, shape in empty.items()},
        "infinite": {"dof_pos": np.full_like(content["dof_pos"], np.nan)},
        "other": {"dof_pos": content["dof_pos"][:, :6]},
        "sunk": {"root_pos": content["root_pos"] - 1.0},
    }.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps({**content, **change}))
    (tmp_path / "nothing.npz").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no motion")
    clips, rejected = load_all(tmp_path, ROBOT)
    assert [clip.name for clip in clips] == ["good"]
    reasons = dict(rejected)
    assert set(reasons) == {
        "empty.pkl", "infinite.pkl", "nothing.npz", "other.pkl", "short.pkl", "sunk.pkl"
    }  # fmt: skip
    for name, words in {
        "empty.pkl": "0 frame(s)",
        "infinite.pkl": "joint_pos is not finite in frame 0",
        "nothing.npz": "the file is empty",
        "other.pkl": "6 joints",
        "short.pkl": "0.18 s",
        "sunk.pkl": "below the floor throughout",
    }.items():
        assert words in reasons[name] and str(tmp_path) not in reasons[name]
    with pytest.raises(ClipError):
        load_clips(tmp_path, ROBOT)
    with pytest.raises(ClipError, match="no such folder"):
        load_all(tmp_path / "missing", ROBOT)


@pytest.mark.parametrize("key", list(RepairConfig.__dataclass_fields__))
def test_values_out_of_range_are_refused_by_name(key: str) -> None:
    with pytest.raises(UserError, match=f"RepairConfig.{key}"):
        RepairConfig(**{key: -1.0})


def test_small_faults_are_left_alone(walk: Clip) -> None:
    sunk = replace(walk, root_pos=walk.root_pos - [0.0, 0.0, 0.002])
    assert repair(sunk, ROBOT).changes == ()


def test_locked_feet_are_lifted_by_the_clearance(walk: Clip) -> None:
    slow = replace(walk, root_pos=walk.root_pos * [0.6, 1.0, 1.0])
    steep = repair(slow, ROBOT, RepairConfig(clearance=0.05)).clip
    flat = repair(slow, ROBOT, RepairConfig(clearance=0.0)).clip
    highest = [sole_corners(LEGS, clip)[..., 2].min(2).max() for clip in (steep, flat)]
    assert highest[0] == pytest.approx(0.05, abs=0.004) and highest[1] < 0.04


def test_rounding_does_not_choose_the_foot_that_stands() -> None:
    # In this clip both feet carry alike in some frames, so that they are equally fast.
    clip = broken.broken_clip(ROBOT, 1)
    rng = np.random.default_rng(0)
    nearly = replace(
        clip, joint_pos=clip.joint_pos + 1e-15 * rng.standard_normal(clip.joint_pos.shape)
    )
    difference = repair(nearly, ROBOT).clip.joint_pos - repair(clip, ROBOT).clip.joint_pos
    assert np.abs(difference).max() < 1e-9


def test_limits_of_what_stops_may_cost() -> None:
    clip = broken.broken_clip(ROBOT, 9)
    free = repair(clip, ROBOT)
    assert "stops" in named(free.changes)
    level = repair(clip, ROBOT, RepairConfig(max_lean=0.0, max_lowering=0.0))
    text = " ".join(level.changes)
    assert "lean 0.00 rad, 0 mm lower" in text
    straight = standing_clip(ROBOT, 1.0, FPS, crouch=1e-5)
    # Hips come down by 2 mm at a time, which bends straight knees by 0.21 rad.
    bent = repair(straight, ROBOT).clip
    assert 0.04 < bent.joint_pos[:, [2, 6]].min() < 0.22
