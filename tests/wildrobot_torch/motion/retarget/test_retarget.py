"""Human walking on the robot, by CMU clips."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.kinematics import legs_of, sole_corners
from wildrobot_torch.motion.read.acclaim import read_motion, read_skeleton
from wildrobot_torch.motion.read.files import load_clip, load_clips
from wildrobot_torch.motion.read.kinds import read_skeleton_motion
from wildrobot_torch.motion.retarget import retarget as retargeting

ROBOT = load_robot().robot
LEGS = legs_of(ROBOT)
CMU = Path(__file__).parents[4] / "../shared/motions/cmu"


@pytest.fixture(scope="module")
def captured() -> Path:
    if not CMU.is_dir():
        pytest.skip("no CMU clips in ../shared/motions/cmu")
    return CMU


# Human and robot speeds [m/s]; the human ones are those of the database's own frames.
@pytest.mark.parametrize(
    ("name", "human", "robot"),
    [
        ("07_walk_1", 1.36, 0.77),
        ("07_slow_walk_1", 0.93, 0.52),
        ("69_walk_forward_01", 0.63, 0.34),
        ("69_walk_forward_02", 0.87, 0.48),
        ("91_straight_walk", 0.60, 0.35),
    ],
)
def test_cmu_walks(captured: Path, name: str, human: float, robot: float) -> None:
    skeleton = captured / f"{name.split('_')[0]}.asf"
    clip = retargeting.retarget(read_skeleton_motion(captured / f"{name}.amc"), ROBOT)
    tips = read_motion(captured / f"{name}.amc", read_skeleton(skeleton)).tips
    hips = (tips["lhipjoint"] + tips["rhipjoint"])[[0, -1]][:, [0, 2]] / 2.0
    duration = (len(tips["lfoot"]) - 1) / 120.0
    assert float(np.linalg.norm(hips[1] - hips[0])) / duration == pytest.approx(human, abs=0.01)
    assert clip.mean_speed == pytest.approx(robot, abs=0.02)
    assert clip.fps == 50.0
    # Froude: v^2 / (g L) as the human's, but for the shorter steps (0.975 * 0.85).
    assert clip.mean_speed / human == pytest.approx(
        0.975 * 0.85 * np.sqrt(LEGS.reach / _human_leg(captured, name)), rel=0.03
    )
    low, high = ROBOT.joint_range.double().numpy().T
    near = (clip.joint_pos < low + 0.02) | (clip.joint_pos > high - 0.02)
    assert near.mean(0).max() < 0.01, "no joint rests on its stop"
    assert np.abs(clip.velocities(ROBOT)[2]).max() < 10.0
    # Straight ahead from the origin, upright across.
    assert np.allclose(clip.root_pos[0, :2], 0.0, atol=1e-9)
    assert abs(clip.root_pos[-1, 1]) < 0.05 * clip.root_pos[-1, 0]
    corners = sole_corners(LEGS, clip)
    height = corners[..., 2].min(-1)
    assert height.min() > -2e-3
    assert (height.min(1) < 5e-3).mean() > 0.75, "a sole on the floor"
    assert (corners[:, 0, :, 1].mean(-1) - corners[:, 1, :, 1].mean(-1)).min() > 0.10
    stands = height < 1e-3
    middle = corners.mean(2)[..., :2]
    speed = np.linalg.norm(np.gradient(middle, 1.0 / clip.fps, axis=0), axis=-1)
    assert speed[stands].mean() < 0.1 * (1.0 + robot)


def _human_leg(folder: Path, name: str) -> float:
    bones = {b.name: b for b in read_skeleton(folder / f"{name.split('_')[0]}.asf").bones}
    return sum(float(np.linalg.norm(bones[b].tip)) for b in ("lfemur", "ltibia"))


def test_both_feet_step_in_turn(captured: Path) -> None:
    clip = load_clip(captured / "91_straight_walk.amc", ROBOT)
    height = sole_corners(LEGS, clip)[..., 2].min(-1)
    swings = [np.flatnonzero(np.diff((height[:, s] > 0.015).astype(int)) == 1) for s in (0, 1)]
    order = sorted([(t, 0) for t in swings[0]] + [(t, 1) for t in swings[1]])
    sides = [side for _, side in order]
    assert len(sides) >= 8
    assert all(a != b for a, b in pairwise(sides))


def test_a_folder_of_captures(captured: Path) -> None:
    clips = load_clips(captured, ROBOT)
    assert [clip.name for clip in clips] == [
        "07_slow_walk_1",
        "07_walk_1",
        "69_walk_forward_01",
        "69_walk_forward_02",
        "91_straight_walk",
    ]


def test_motion_beyond_the_robot_is_refused_with_the_joints(
    captured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retargeting, "_LEAN", -0.2)
    with pytest.raises(ClipError, match=r"07_walk_1.amc: too many frames.*hip_pitch \d+%"):
        load_clip(captured / "07_walk_1.amc", ROBOT)
