"""What a figure does, by walks made for it: every second has a name."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.wildrobot_torch.motion.read.walkers import Walk, walk
from wildrobot_torch.motion.read.segments import KINDS, Segment, pace, segments
from wildrobot_torch.motion.read.skeleton import ROLES, SkeletonMotion

FPS = 60.0


def motion_of(walked: Walk, scale: float = 1.0) -> SkeletonMotion:
    """The walk, of a figure `scale` times as large with the same Froude number."""
    at = {role: scale * walked.at[role] for role in ROLES}
    return SkeletonMotion("walk", walked.fps / math.sqrt(scale), "made", {}, at, {})


def made(seconds: float, scale: float = 1.0, **options: object) -> SkeletonMotion:
    return motion_of(walk(seconds, **options).every(4), scale)


def kinds(found: list[Segment]) -> list[str]:
    return [segment.kind for segment in found]


def assert_whole(motion: SkeletonMotion, found: list[Segment]) -> None:
    assert found[0].start_s == 0.0 and found[-1].end_s == motion.duration_s
    assert all(a.end_s == b.start_s and a.kind != b.kind for a, b in pairwise(found))
    assert {s.kind for s in found} <= set(KINDS)


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
def test_a_steady_walk_is_one_segment_at_any_size(scale: float) -> None:
    motion = made(6.0, scale)
    found = segments(motion)
    assert_whole(motion, found)
    assert kinds(found) == ["walk"]
    mean = pace(motion, found[0])
    at = motion.positions["pelvis"][:, :2]
    far = np.linalg.norm(at[-1] - at[0])
    assert mean.speed == pytest.approx(far / motion.duration_s)
    assert mean.froude == pytest.approx(mean.speed**2 / (9.81 * scale * 0.83), rel=1e-6)
    assert abs(mean.turn) < 0.05


def test_a_stand_a_walk_and_a_stand(capsys: pytest.CaptureFixture[str]) -> None:
    t = np.arange(2400) / 240.0
    motion = made(10.0, amplitude=0.45 * np.clip(2.0 * np.minimum(t - 2.0, 8.0 - t), 0.0, 1.0))
    found = segments(motion)
    assert_whole(motion, found)
    assert kinds(found) == ["stand", "start", "walk", "stop", "stand"]
    # The feet move from 2 s to 8 s; a speed is known to half a second.
    assert found[1].start_s == pytest.approx(2.0, abs=0.5)
    assert found[3].end_s == pytest.approx(8.0, abs=0.5)


@pytest.mark.parametrize(("rate", "side"), [(0.8, "left"), (-0.8, "right")])
def test_a_turn_within_a_walk(rate: float, side: str) -> None:
    t = np.arange(2400) / 240.0
    motion = made(10.0, turn_rate=np.where((t > 4.0) & (t < 7.0), rate, 0.0))
    found = segments(motion)
    assert_whole(motion, found)
    assert kinds(found) == ["walk", f"turn {side}", "walk"]
    assert found[1].start_s == pytest.approx(4.0, abs=0.6)
    assert found[1].end_s == pytest.approx(7.0, abs=0.6)
    # Three seconds at 0.8 rad/s, less what the ends leave in the walks.
    assert pace(motion, found[1]).turn == pytest.approx(2.4 * np.sign(rate), abs=0.4)


@pytest.mark.parametrize("heading", [0.0, 2.0, -3.0])
def test_other_ways_to_go(heading: float) -> None:
    assert kinds(segments(made(5.0, backwards=True, heading=heading))) == ["walk backwards"]
    aside = made(5.0, amplitude=0.0, sideways=0.15, heading=heading)
    assert kinds(segments(aside)) == ["side step left"]
    back = aside.frames(0, aside.num_frames)
    for role in ROLES:
        back.positions[role][:] = back.positions[role][::-1].copy()
    assert kinds(segments(back)) == ["side step right"]
    spin = made(5.0, amplitude=0.0, turn_rate=-0.8, heading=heading)
    assert kinds(segments(spin)) == ["turn right"]
    assert pace(spin, segments(spin)[0]).turn == pytest.approx(-0.8 * spin.duration_s, rel=1e-3)


def test_running_by_speed_and_by_flight() -> None:
    motion = made(5.0)
    fast = SkeletonMotion("run", 4.0 * motion.fps, "made", {}, motion.positions, {})
    assert pace(fast, Segment(0.0, fast.duration_s, "run")).froude > 0.5
    assert kinds(segments(fast)) == ["run"]
    # The same slow legs, a hop of 0.3 s in every second: no speed of a run, but flight.
    time = np.arange(motion.num_frames) / motion.fps
    hop = 0.1 * np.clip(np.sin(2.0 * np.pi * time) - 0.5, 0.0, None) / 0.5
    for role in ROLES:
        motion.positions[role][:, 2] += hop
    assert kinds(segments(motion)) == ["run"]


def test_who_sits_is_not_upright() -> None:
    motion = made(8.0, amplitude=0.0)
    time = np.arange(motion.num_frames) / motion.fps
    for role in set(ROLES) - {f"{s}_{p}" for s in ("left", "right") for p in ("ankle", "toe")}:
        motion.positions[role][:, 2] -= 0.5 * ((time > 3.0) & (time < 6.0))
    assert kinds(segments(motion)) == ["stand", "not upright", "stand"]
    assert segments(motion)[1].start_s == pytest.approx(3.0, abs=0.05)


def test_stops_in_captured_walks_are_found(cmu_folder: Path) -> None:
    from wildrobot_torch.motion.read.kinds import read_skeleton_motion

    found = segments(read_skeleton_motion(cmu_folder / "91_straight_walk.amc"))
    assert kinds(found) == ["walk", "stop", "stand"]
    assert 5.0 < found[1].start_s < 6.5
    found = segments(read_skeleton_motion(cmu_folder / "69_walk_forward_01.amc"))
    assert kinds(found) == ["stand", "start", "walk"]
