"""Windows, merging and overlap on constructed recordings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from wildrobot_torch.reference.gates import Gate, Verdict, load_gates
from wildrobot_torch.reference.segments import (
    SegmentConfig,
    find_segments,
    free_span,
    quality_weight,
    window_spans,
)

GATES = Path(__file__).parents[3] / "configs" / "gates.yaml"
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
    assert search.first_failure() is None


def test_a_stumble_splits_a_recording_without_overlap(walking, toy_robot):
    # Pitched over in frames 100..119. A window of 50 tolerates two such frames (5 %, interpolated).
    pitch = torch.zeros(240)
    pitch[100:120] = 1.0
    search = find_segments(walking(240, pitch=pitch), toy_robot, [UPRIGHT], CONFIG)
    assert [(s.start, s.stop) for s in search.accepted] == [(0, 100), (120, 240)]
    assert "pitch: pitch_p95" in (search.first_failure() or "")


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
    assert "alternation is not measured" in (one_step.first_failure() or "")


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


def test_better_segments_weigh_more_within_the_ratio():
    slip = Gate(name="slip", metric="slip_share", max=0.2, unit="1", meaning="")
    gates = [UPRIGHT, slip]

    def weight(pitch: float, share: float) -> float:
        return quality_weight(Verdict({"pitch_p95": pitch, "slip_share": share}, (), ()), gates, 3)

    assert weight(0, 0) == 3
    assert weight(25, 0.2) == 1
    assert weight(0, 0.1) == pytest.approx(1 + 2 * 0.75)


@pytest.mark.parametrize(
    "settings", [{"min_frames": 60}, {"stride": 60}, {"stride": 0}, {"weight_ratio": 0.5}]
)
def test_settings_that_leave_frames_unjudged_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SegmentConfig(**settings)
