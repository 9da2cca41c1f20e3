"""wildrobot_torch.reference.splits: whole kinds of motion, chosen by speed."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.splits import family, split

LENGTH = 10


def reference(
    *segments: tuple[str, float], features: list[float] | None = None
) -> ReferenceDataset:
    """One segment for each (clip, speed); its one feature is its number unless given."""
    count = len(segments)
    values = torch.arange(float(count)) if features is None else torch.tensor(features)
    return ReferenceDataset(
        amp=values.repeat_interleave(LENGTH)[:, None],
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


def test_of_each_stretch_of_speeds_the_family_most_like_another_is_held_out_whole():
    speeds = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    walks = [(f"w{round(10 * s)}{variant}", s) for s in speeds for variant in ("", "_mirror")]
    # Of 1, 2, 3 it is 3 that has one near (4), of 4, 5, 6 it is 6 (7 is nearer than 3 to 4).
    place = [0.0, 10.0, 20.0, 30.0, 33.0, 50.0, 60.0, 62.0]
    values = [x for x in place for _ in range(2)]
    train, held_out = split(reference(*reversed(walks), features=values[::-1]), 0.25)
    assert set(held_out.segment_clip) == {"w3", "w3_mirror", "w6", "w6_mirror"}
    assert len(train.segment_clip) == 12
    assert not set(map(family, train.segment_clip)) & set(map(family, held_out.segment_clip))
    # Frames went with their segments.
    assert held_out.amp[::LENGTH, 0].tolist() == [60.0, 60.0, 30.0, 30.0]
    assert float(held_out.feature_mean) == 45.0
    assert float(train.feature_mean) == pytest.approx(175 / 6)
    assert train.num_frames + held_out.num_frames == 16 * LENGTH


def test_two_that_are_like_each_other_are_not_both_held_out():
    walks = [(f"w{i}", i / 10) for i in range(8)]
    # 3 and 4 are by far the nearest to each other, either side of the cut between the stretches.
    place = [0.0, 10.0, 20.0, 30.0, 30.1, 50.0, 61.0, 70.0]
    _, held_out = split(reference(*walks, features=place), 0.25)
    assert set(held_out.segment_clip) == {"w3", "w6"}


def test_statistics_are_those_of_the_part():
    clips = reference(("a", 0.0), ("b", 0.1), ("c", 0.2), ("d", 0.3), features=[0, 1, 2, 2.5])
    train, held_out = split(clips, 0.01)
    assert held_out.segment_clip == ("c",)
    assert float(held_out.feature_mean) == 2.0 and float(held_out.feature_std) == 0.0
    assert float(train.feature_mean) == pytest.approx((0 + 1 + 2.5) / 3)


def test_the_slowest_and_the_fastest_are_never_held_out():
    # A family's speed is the mean over its frames: that of "slow" is 0.15 m/s, between the others.
    clips = [("a", 0.0), ("a_mirror", 0.0), ("slow", 0.05), ("slow_loop", 0.25), ("fast", 0.2)]
    train, held_out = split(reference(*clips), 0.9)
    assert set(held_out.segment_clip) == {"slow", "slow_loop"}
    assert set(train.segment_clip) == {"a", "a_mirror", "fast"}


@pytest.mark.parametrize("clips", [("a",), ("a", "b"), ("a", "b", "c"), ("a", "a_mirror", "b")])
def test_too_few_clips_are_refused_with_a_remedy(clips: tuple[str, ...]):
    with pytest.raises(DatasetError, match=r"--data\.validation_split 0") as error:
        split(reference(*((clip, 0.1 * i) for i, clip in enumerate(clips))), 0.15)
    assert f"in {len(clips)} clips" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_impossible_shares_are_refused(share: float):
    with pytest.raises(ValueError, match=f"share of held-out reference is {share}"):
        split(reference(("a", 0.0)), share)
