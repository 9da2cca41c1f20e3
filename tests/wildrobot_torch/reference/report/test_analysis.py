"""Analysis of a dataset small enough to work out by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.report.analysis import (
    Analysis,
    analyse,
    decide,
    segment_chances,
)


@pytest.fixture
def dataset(toy_robot: RobotSpec) -> ReferenceDataset:
    """Four segments: 2 s and 1 s of a walk, 1 s of its mirror image, 2 s that stand, then walk."""
    layout = amp_layout(toy_robot)
    lengths = torch.tensor([100, 50, 50, 100])
    speeds = [[0.3] * 100, [0.32] * 50, [0.3] * 50, [0.0] * 50 + [0.3] * 50]
    amp = torch.zeros(300, layout.size)
    amp[:, layout.slices["linvel"].start] = torch.tensor([v for part in speeds for v in part])
    loads = (1.0, 0.9, None, 1.0)
    return ReferenceDataset(
        amp=amp,
        qpos=torch.zeros(300, 9),
        qvel=torch.zeros(300, 8),
        foot_force=torch.zeros(300, 2),
        support_wrench=torch.zeros(300, 6),
        segment_start=lengths.cumsum(0) - lengths,
        segment_length=lengths,
        segment_weight=torch.tensor([2.0, 1.0, 1.0, 1.0]),
        segment_velocity=torch.tensor([0.3, 0.32, 0.3, 0.15]),
        segment_clip=("walk", "walk", "walk_mirror", "stand"),
        segment_tier=("0+", "0", "1", "0+"),
        segment_support=("none", "harness", "none", "none"),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=toy_robot.digest,
        manifest={
            "clips": [
                {"name": "walk", "source": "a.amc; retargeted"},
                {"name": "walk_mirror", "source": "a.amc; retargeted; mirrored"},
                {"name": "stand", "source": "standing pose"},
            ],
            "segments": [
                {"frames": int(frames), "metrics": {"load_mean": load}}
                for frames, load in zip(lengths, loads, strict=True)
            ],
        },
    )


@pytest.fixture
def found(dataset: ReferenceDataset) -> Analysis:
    return analyse(dataset)


def test_the_decision_turns_at_60_and_30_seconds() -> None:
    assert [decide(s) for s in (0.0, 29.98, 30.0, 59.98, 60.0, 500.0)] == [
        "stop", "stop", "caution", "caution", "go", "go"
    ]  # fmt: skip
    assert decide(sum([0.02] * 3000)) == "go"  # which adds up to a little less than 60


def test_seconds_count_by_tier_and_support(found: Analysis) -> None:
    assert found.seconds == {"0+": {"none": 4.0}, "0": {"harness": 1.0}, "1": {"none": 1.0}}
    assert list(found.seconds) == ["0+", "0", "1"]
    assert found.good_s == pytest.approx(5.0)
    assert found.decision == "stop"


def test_only_the_best_tier_decides(dataset: ReferenceDataset) -> None:
    long = replace(dataset, ctrl_dt=0.5)  # 100 s of 0+, 25 s of 0, 25 s of 1
    assert analyse(long).decision == "go"
    lower = replace(long, segment_tier=("0", "0", "1", "0"))
    found = analyse(lower)
    assert (found.best_s, found.good_s, found.decision) == (0.0, 125.0, "stop")


def test_clips_and_speeds_are_counted(found: Analysis) -> None:
    walk, mirrored, stand = found.clips
    assert walk.seconds == {"0+": 2.0, "0": 1.0}
    assert walk.segments == 2
    assert walk.speed == pytest.approx((100 * 0.3 + 50 * 0.32) / 150)
    assert (walk.source, mirrored.source) == ("a.amc", "a.amc")
    assert found.num_sources == 2
    assert stand.seconds == {"0+": 2.0}
    assert found.speed_bins == pytest.approx((0.1, 0.2, 0.3))
    assert found.speeds == {
        "0+": (2.0, 0.0, 2.0), "0": (0.0, 0.0, 1.0), "1": (0.0, 0.0, 1.0)
    }  # fmt: skip


def test_standing_and_starting_are_seen_in_the_speed_of_a_second(found: Analysis) -> None:
    # A second that holds n of the 50 walking frames goes 0.3 n / 50: below 0.03 for n up to 4.
    # Frame 29 is in the middle of the last such second.
    assert found.standing_s == pytest.approx(30 * 0.02)
    assert (found.starts, found.stops) == (1, 0)


def test_minibatches_are_of_the_good_tiers_by_weight_and_windows(
    dataset: ReferenceDataset, found: Analysis
) -> None:
    total = 2 * 99 + 49 + 99
    expected = [198 / total, 49 / total, 0.0, 99 / total]
    assert segment_chances(dataset).tolist() == pytest.approx(expected)
    assert [clip.batch_share for clip in found.clips] == pytest.approx([247 / 346, 0.0, 99 / 346])


def test_without_good_tiers_everything_is_used(dataset: ReferenceDataset) -> None:
    poor = ReferenceDataset(**{**vars(dataset), "segment_tier": ("1",) * 4})
    assert analyse(poor).good_s == 0.0
    assert float(segment_chances(poor).sum()) == pytest.approx(1.0)


def test_features_are_described_block_by_block(found: Analysis) -> None:
    blocks = {block.name: block for block in found.blocks}
    assert list(blocks) == [
        "gravity", "linvel", "angvel", "joint_pos", "joint_vel", "sole_pos", "contact", "height"
    ]  # fmt: skip
    velocity = blocks["linvel"]
    mean = (100 * 0.3 + 50 * 0.32 + 50 * 0.3) / 250
    square = (150 * 0.3**2 + 50 * 0.32**2) / 250
    assert velocity.mean == pytest.approx((mean, 0.0, 0.0))
    assert velocity.std[0] == pytest.approx((square - mean**2) ** 0.5)
    assert (velocity.low[0], velocity.high[0]) == pytest.approx((0.0, 0.32))
    assert velocity.near_constant == (1, 2)
    assert blocks["joint_pos"].near_constant == (0, 1)


def test_metrics_are_weighted_by_frames_where_they_are_defined(found: Analysis) -> None:
    assert found.metrics["load_mean"] == pytest.approx(((200 + 45) / 250, 0.9, 1.0))


def test_what_is_missing_is_noted(found: Analysis) -> None:
    notes = "\n".join(found.notes)
    for words in ("2 sources", "4 segments", "1.0 s of the 5.0 s were held up", "1 starts and 0",
                  "from 0.2, 0.4, 0.5 m/s on", "71% of every minibatch come from walk",
                  "linvel 1", "1 segments are never drawn"):  # fmt: skip
        assert words in notes


def test_it_becomes_json(found: Analysis) -> None:
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["good_s"] == pytest.approx(5.0)
    assert content["blocks"][1]["std"][1:] == [0.0, 0.0]
