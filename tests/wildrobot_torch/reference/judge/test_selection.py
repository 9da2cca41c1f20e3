"""Segments of several rollouts of one clip: the best tier first, no clip frame twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.reference.follow.rollout import Method, Rollout, Task
from wildrobot_torch.reference.judge.gates import Gate
from wildrobot_torch.reference.judge.segments import SegmentConfig, find_segments
from wildrobot_torch.reference.judge.selection import label, rejections, resolve

TILTED = Gate(
    name="pitch",
    metric="pitch_p95",
    unit="deg",
    meaning="upright",
    max=10,
    tiers={"0": Limit(max=20), "1": Limit(max=30)},
)
CONFIG = SegmentConfig()


@pytest.fixture
def clip() -> Clip:
    """301 frames, so a rollout has 300."""
    quat = np.tile([1.0, 0.0, 0.0, 0.0], (301, 1))
    return Clip("toy", 50.0, np.zeros((301, 3)), quat, np.zeros((301, 2)), "")


@pytest.fixture
def rollout(walking, clip):
    """Maker of rollouts: from a frame of the clip on, 100 frames at each pitch [deg]."""

    def make(start: int, *degrees: float, method: Method = "tracker") -> Rollout:
        pitch = torch.deg2rad(torch.tensor(degrees)).repeat_interleave(100)
        frames = walking(len(pitch), pitch=pitch)
        return Rollout(Task(clip, start), frames, method)

    return make


def kept_of(rollouts, toy_robot):
    searches = [find_segments(r.recording, toy_robot, [TILTED], CONFIG) for r in rollouts]
    return searches, resolve(rollouts, searches, toy_robot, [TILTED], CONFIG)


def spans(kept) -> list[tuple[int, int, str]]:
    frames = [(r.task.first_frame, s) for r, s in kept]
    return [(at + s.start, at + s.stop, s.verdict.tier) for at, s in frames]


def test_a_better_tier_goes_before_a_longer_segment(rollout, toy_robot):
    # The first rollout leans by 15 degrees throughout; the one from frame 100 on recovers.
    _, kept = kept_of([rollout(0, 15, 15, 15), rollout(100, 15, 5)], toy_robot)
    assert spans(kept) == [(200, 300, "0+"), (0, 200, "0")]


def test_what_is_cut_gets_the_tier_its_rest_deserves(rollout, toy_robot):
    # One segment of tier 0 overall: 100 frames at 15 degrees, 200 at 5. A window gate would split
    # it, so the search is made coarse: one window over all.
    first, second = rollout(0, 15, 5, 5), rollout(0, 5)
    coarse = SegmentConfig(window=300, stride=300)
    searches = [find_segments(r.recording, toy_robot, [TILTED], coarse) for r in (first, second)]
    assert [s.accepted[0].verdict.tier for s in searches] == ["0", "0+"]
    kept = resolve([first, second], searches, toy_robot, [TILTED], coarse)
    assert spans(kept) == [(0, 100, "0+"), (100, 300, "0+")]


def test_what_no_rollout_brings_is_accounted_for_with_its_reason(rollout, toy_robot, clip):
    # Clip frames 0..99 are good, 100..199 lean too far; then the robot falls.
    rollouts = [rollout(0, 5, 40)]
    searches, kept = kept_of(rollouts, toy_robot)
    leaning, fallen = rejections(clip, list(zip(rollouts, searches, strict=True)), kept)
    assert (leaning.clip, leaning.clip_frame, leaning.frames) == ("toy", 101, 100)
    assert leaning.gates == ("pitch",)
    assert leaning.reason == "pitch: pitch_p95 40 > 30 deg"
    assert (fallen.clip_frame, fallen.frames, fallen.gates) == (201, 100, ())
    assert fallen.reason == "fell after 200 of 300 frames"


def test_what_a_later_rollout_brings_is_not_rejected(rollout, toy_robot, clip):
    rollouts = [rollout(0, 5, 40), rollout(100, 5, 5)]
    searches, kept = kept_of(rollouts, toy_robot)
    assert sorted(spans(kept)) == [(0, 100, "0+"), (100, 300, "0+")]
    assert rejections(clip, list(zip(rollouts, searches, strict=True)), kept) == []


def test_forced_motion_is_never_better_than_a_diagnosis(rollout, toy_robot):
    for method, tier in (("tracker", "0+"), ("forced", "2")):
        made = rollout(0, 5, method=method)
        (segment,) = find_segments(made.recording, toy_robot, [TILTED], CONFIG).accepted
        assert label(made, segment) == tier


def test_forced_motion_is_kept_where_its_tier_is_and_gives_way_to_any_other(rollout, toy_robot):
    rollouts = [rollout(0, 5, 5, 5, method="forced"), rollout(0, 15)]
    _, kept = kept_of(rollouts, toy_robot)
    assert [(r.method, s.start, s.stop) for r, s in kept] == [("tracker", 0, 100)]
    config = replace(CONFIG, tiers=("0+", "0", "2"))
    searches = [find_segments(r.recording, toy_robot, [TILTED], config) for r in rollouts]
    kept = resolve(rollouts, searches, toy_robot, [TILTED], config)
    assert [(r.method, s.start, s.stop) for r, s in kept] == [
        ("tracker", 0, 100), ("forced", 100, 300),
    ]  # fmt: skip
