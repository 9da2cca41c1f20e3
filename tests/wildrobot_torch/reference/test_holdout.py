"""wildrobot_torch.reference.holdout: whole kinds of motion, chosen by speed."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.holdout import family, split

LENGTH = 10


def reference(*segments: tuple[str, float]) -> ReferenceDataset:
    """One segment for each (clip, speed); features are its number."""
    count = len(segments)
    return ReferenceDataset(
        amp=torch.arange(count).repeat_interleave(LENGTH)[:, None].float(),
        qpos=torch.zeros(LENGTH * count, 9),
        qvel=torch.zeros(LENGTH * count, 8),
        foot_force=torch.zeros(LENGTH * count, 2),
        support_wrench=torch.zeros(LENGTH * count, 6),
        segment_start=torch.arange(count) * LENGTH,
        segment_length=torch.full((count,), LENGTH),
        segment_weight=torch.ones(count),
        segment_velocity=torch.tensor([speed for _, speed in segments]),
        segment_clip=tuple(clip for clip, _ in segments),
        segment_tier=("0",) * count,
        segment_support=("none",) * count,
        ctrl_dt=0.02,
        amp_layout=Layout("amp", (Field("segment", 1, "1", "none", ""),)),
        robot_digest="",
        manifest={},
    )


def test_variants_are_of_one_family_and_other_clips_are_not():
    for clip in ("walk", "walk_mirror", "walk_x0.85_loop_mirror", "walk_loop", "walk_turn-90_loop",
                 "walk_from_rest_mirror", "walk_turn+1.571"):  # fmt: skip
        assert family(clip) == "walk"
    assert family("walk_0.20") == "walk_0.20"
    assert family("69_walk_forward_02_mirror") == "69_walk_forward_02"


def test_evenly_spaced_families_are_held_out_whole():
    speeds = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    walks = [(f"w{round(10 * s)}{variant}", s) for s in speeds for variant in ("", "_mirror")]
    train, held_out = split(reference(*reversed(walks)), 0.25)
    # Two of eight: of the six between slowest and fastest, the middle ones of either half.
    assert set(held_out.segment_clip) == {"w2", "w2_mirror", "w5", "w5_mirror"}
    assert len(train.segment_clip) == 12
    assert not set(map(family, train.segment_clip)) & set(map(family, held_out.segment_clip))
    # Frames went with their segments: features are the segment's number, w7 first.
    assert held_out.amp[::LENGTH, 0].tolist() == [4.0, 5.0, 10.0, 11.0]
    assert float(held_out.feature_mean) == 7.5
    assert float(train.feature_mean) == 7.5
    assert train.num_frames + held_out.num_frames == 16 * LENGTH


def test_statistics_are_those_of_the_part():
    train, held_out = split(reference(("a", 0.0), ("b", 0.1), ("c", 0.2), ("d", 0.3)), 0.01)
    assert held_out.segment_clip == ("c",)
    assert float(held_out.feature_mean) == 2.0 and float(held_out.feature_std) == 0.0
    assert float(train.feature_mean) == pytest.approx((0 + 1 + 3) / 3)


def test_the_slowest_and_the_fastest_are_never_held_out():
    # A family's speed is the mean over its frames: that of "slow" is 0.15 m/s, between the others.
    clips = [("a", 0.0), ("a_mirror", 0.0), ("slow", 0.05), ("slow_loop", 0.25), ("fast", 0.2)]
    train, held_out = split(reference(*clips), 0.9)
    assert set(held_out.segment_clip) == {"slow", "slow_loop"}
    assert set(train.segment_clip) == {"a", "a_mirror", "fast"}


@pytest.mark.parametrize("clips", [("a",), ("a", "b"), ("a", "b", "c"), ("a", "a_mirror", "b")])
def test_too_few_clips_are_refused_with_a_remedy(clips: tuple[str, ...]):
    with pytest.raises(DatasetError, match=r"--data\.reference_held_out 0") as error:
        split(reference(*((clip, 0.1 * i) for i, clip in enumerate(clips))), 0.15)
    assert f"in {len(clips)} clips" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_impossible_shares_are_refused(share: float):
    with pytest.raises(ValueError, match=f"share of held-out reference is {share}"):
        split(reference(("a", 0.0)), share)
