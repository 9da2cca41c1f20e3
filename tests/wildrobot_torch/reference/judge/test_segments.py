"""Windows, merging and overlap on constructed recordings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.reference.judge.gates import TIERS, Gate, judge, load_gates
from wildrobot_torch.reference.judge.segments import (
    SegmentConfig,
    find_segments,
    free_span,
    free_spans,
    sampling_weights,
    window_spans,
)

GATES = Path(__file__).parents[4] / "configs" / "gates.yaml"
UPRIGHT = Gate(name="pitch", metric="pitch_p95", max=25, unit="deg", meaning="upright")
CONFIG = SegmentConfig()


def test_windows_cover_every_frame():
    assert window_spans(19, CONFIG) == []
    assert window_spans(20, CONFIG) == [(0, 20)]
    assert window_spans(50, CONFIG) == [(0, 50)]
    assert window_spans(73, CONFIG) == [(0, 50), (10, 60), (20, 70), (23, 73)]


def test_a_faultless_recording_is_one_segment(walking, toy_robot):
    search = find_segments(walking(173), toy_robot, [UPRIGHT], CONFIG)
    assert [(s.start, s.stop) for s in search.accepted] == [(0, 173)]


def test_a_stumble_splits_a_recording_without_overlap(walking, toy_robot):
    # Pitched over in frames 100..119. A window of 50 tolerates two such frames (5 %, interpolated).
    pitch = torch.zeros(240)
    pitch[100:120] = 1.0
    search = find_segments(walking(240, pitch=pitch), toy_robot, [UPRIGHT], CONFIG)
    assert [(s.start, s.stop) for s in search.accepted] == [(0, 100), (120, 240)]
    refused = [s.verdict.reasons[0] for s in search.windows if not s.verdict.accepted]
    assert refused[0].startswith("pitch: pitch_p95")


def test_a_segment_as_a_whole_passes_its_gates(walking, toy_robot):
    generator = torch.Generator().manual_seed(0)
    pitch = torch.rand(400, generator=generator).pow(6)
    search = find_segments(walking(400, pitch=pitch), toy_robot, [UPRIGHT], CONFIG)
    assert search.accepted
    for segment in search.accepted:
        degrees = torch.rad2deg(pitch[segment.start : segment.stop].double())
        assert float(torch.quantile(degrees, 0.95)) <= 25
    spans = [(s.start, s.stop) for s in search.segments]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_segment_gates_judge_segments_only(walking, toy_robot):
    # Alternation needs two steps, more than a window of 10 frames can show.
    gate = Gate(
        name="alternation", metric="alternation", min=0.9, unit="1", meaning="", scope="segment"
    )
    config = SegmentConfig(window=10, stride=5, min_frames=5)
    walk = find_segments(walking(100), toy_robot, [UPRIGHT, gate], config)
    assert all(window.verdict.accepted for window in walk.windows)
    assert [(s.start, s.stop) for s in walk.accepted] == [(0, 100)]
    one_step = find_segments(walking(10), toy_robot, [UPRIGHT, gate], config)
    assert one_step.segments and not one_step.accepted
    assert "alternation is not measured" in one_step.segments[0].verdict.reasons[0]


def test_the_shipped_gates_reject_a_recording_with_a_nan(walking, toy_robot):
    pitch = torch.full((100,), float("nan"))
    search = find_segments(walking(pitch=pitch), toy_robot, load_gates(GATES), CONFIG)
    assert not search.segments


def test_the_free_part_of_a_span():
    assert free_span(0, 100, []) == (0, 100)
    assert free_span(0, 100, [(30, 40)]) == (40, 100)
    assert free_span(0, 100, [(70, 120)]) == (0, 70)
    assert free_span(0, 100, [(80, 90), (0, 50)]) == (50, 80)
    assert free_span(10, 20, [(0, 50)]) == (10, 10)
    assert free_span(10, 20, [(30, 50)]) == (10, 20)


def test_the_free_spans_of_a_recording():
    assert free_spans(0, 100, []) == [(0, 100)]
    assert free_spans(0, 100, [(60, 100), (20, 40)]) == [(0, 20), (40, 60)]
    assert free_spans(30, 90, [(60, 100), (20, 40)]) == [(40, 60)]
    assert free_spans(0, 100, [(0, 100)]) == []


TILTED = Gate(
    name="pitch",
    metric="pitch_p95",
    unit="deg",
    meaning="upright",
    max=10,
    tiers={"0": Limit(max=20), "1": Limit(max=30), "2": Limit(max=60)},
)


def steps_of_pitch(*degrees: float) -> torch.Tensor:
    """100 frames at each angle."""
    return torch.deg2rad(torch.tensor(degrees)).repeat_interleave(100)


def labelled(search) -> list[tuple[int, int, str]]:
    return [(s.start, s.stop, s.verdict.tier) for s in search.accepted]


def test_every_frame_gets_the_best_tier_it_can(walking, toy_robot):
    # The 95th percentile of a window admits two worse frames, never twelve: borders are exact.
    frames = walking(500, pitch=steps_of_pitch(5, 25, 50, 15, 8))
    search = find_segments(frames, toy_robot, [TILTED], CONFIG)
    assert labelled(search) == [(0, 100, "0+"), (100, 200, "1"), (300, 400, "0"), (400, 500, "0+")]
    (gap,) = search.gaps
    assert (gap.start, gap.stop, gap.verdict.failed) == (200, 300, ("pitch",))
    assert gap.verdict.reasons[0] == "pitch: pitch_p95 50 > 30 deg"
    standing = find_segments(frames, toy_robot, [TILTED], replace(CONFIG, tiers=TIERS))
    assert (200, 300, "2") in labelled(standing)
    assert not standing.gaps


def test_accepted_segments_and_gaps_hold_every_frame_once(walking, toy_robot):
    generator = torch.Generator().manual_seed(1)
    pitch = torch.rand(15, generator=generator).square().mul(40).deg2rad().repeat_interleave(46)
    search = find_segments(walking(690, pitch=pitch), toy_robot, [TILTED], CONFIG)
    parts = sorted([(s.start, s.stop) for s in (*search.accepted, *search.gaps)])
    assert parts[0][0] == 0 and parts[-1][1] == 690
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert {s.verdict.tier for s in search.accepted} == {"0+", "0", "1"}
    for segment in search.accepted:
        metrics, tiers = segment.verdict.metrics, ("0+", "0", "1")
        best = next(t for t in tiers if judge(metrics, [TILTED], t).accepted)
        assert best == segment.verdict.tier


def test_a_leftover_too_short_to_judge_is_called_so(walking, toy_robot):
    pitch = torch.zeros(115)
    pitch[100:] = 1.0
    (gap,) = find_segments(walking(115, pitch=pitch), toy_robot, [UPRIGHT], CONFIG).gaps
    assert (gap.stop, gap.verdict.failed) == (115, ())
    assert gap.verdict.reasons[0] == f"{115 - gap.start} frames are too few to judge"


def test_one_bad_part_does_not_cost_the_whole_segment(walking, toy_robot):
    # A joint on its stop in frames 0..39 of 400: 10 % of the whole, 20 % of its first half, 40 % of
    # its first quarter, none of the rest.
    gate = Gate(name="joint_stop", metric="joint_stop_share", max=0.05, unit="1", meaning="",
                scope="segment")  # fmt: skip
    joint_pos = torch.zeros(400, 2)
    joint_pos[:40, 0] = 1.0
    search = find_segments(walking(400, joint_pos=joint_pos), toy_robot, [UPRIGHT, gate], CONFIG)
    spans = [(s.start, s.stop) for s in search.accepted]
    assert (200, 400) in spans and (100, 200) in spans
    assert spans[0][0] >= 38
    assert search.gaps[0].verdict.failed == ("joint_stop",)


def test_better_segments_weigh_more_within_the_ratio():
    config = SegmentConfig(temperature=0.5, weight_ratio=4.0)
    # exp(-0.25 / 0.5) = 0.6065307; exp(-0.9 / 0.5) = 0.165 is raised to 1 / 4.
    assert sampling_weights([0.0, 0.65, 0.9], config) == pytest.approx([0.25, 0.6065307, 1.0])
    assert sampling_weights([0.3, 0.3], config) == [1.0, 1.0]
    cold = SegmentConfig(temperature=1e-3, weight_ratio=4.0)
    assert sampling_weights([0.8, 0.9], cold) == [0.25, 1.0]


@pytest.mark.parametrize(
    "settings", [{"min_frames": 60}, {"stride": 60}, {"stride": 0}, {"weight_ratio": 0.5},
     {"temperature": 0.0}, {"tiers": ()}, {"tiers": ("0", "0+")}, {"tiers": ("3",)}],
)  # fmt: skip
def test_settings_that_leave_frames_unjudged_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SegmentConfig(**settings)
