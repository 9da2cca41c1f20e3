"""Better tiers first: when a tier of the reference is used."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.reference.curriculum import (
    Curriculum,
    load_curriculum,
    require_schedule,
    tiers_at,
)
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

LAYOUT = Layout("amp", (Field("segment", 1, "1", "none", ""),))


def reference(*tiers: str, clips: str = "") -> ReferenceDataset:
    """One segment of 10 frames in each tier; features are its number, speeds grow with it."""
    count = len(tiers)
    return ReferenceDataset(
        amp=torch.arange(count).repeat_interleave(10)[:, None].float(),
        qpos=torch.zeros(10 * count, 9),
        qvel=torch.zeros(10 * count, 8),
        foot_force=torch.zeros(10 * count, 2),
        support_wrench=torch.zeros(10 * count, 6),
        segment_start=torch.arange(count) * 10,
        segment_length=torch.full((count,), 10),
        segment_weight=torch.ones(count),
        segment_velocity=0.1 * torch.arange(count),
        segment_clip=tuple(clips) or ("clip",) * count,
        segment_tier=tiers,
        segment_support=("none",) * count,
        ctrl_dt=0.02,
        amp_layout=LAYOUT,
        robot_digest="robot",
        manifest={},
    )


def test_a_tier_joins_at_its_step_and_stays():
    begin = {"1": 1000, "0": 0, "0+": 0, "2": 5000}
    assert tiers_at(begin, 0) == ("0+", "0")
    assert tiers_at(begin, 999) == ("0+", "0")
    assert tiers_at(begin, 1000) == ("0+", "0", "1")
    assert tiers_at(begin, 10**9) == ("0+", "0", "1", "2")


@pytest.mark.parametrize(
    ("begin", "complaint"),
    [
        (
            {"0": 0, "3": 0},
            r"x.tiers names the tiers \['3'\]; allowed are \['0\+', '0', '1', '2'\]",
        ),
        ({"0": 10}, "0 for at least one tier"),
        ({"0": 0, "1": -1}, "never negative"),
        ({}, "0 for at least one tier"),
    ],
)
def test_schedules_without_a_start_are_refused(begin, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        require_schedule(begin, "x.tiers")
    assert "\n" not in str(error.value)


def test_windows_are_of_the_tiers_in_use():
    curriculum = Curriculum(reference("0+", "1", "2"), {"0+": 0, "1": 100}, "walking.npz")

    def drawn(env_steps: int) -> set[float]:
        windows = curriculum.at(env_steps).sample_windows(200, 2, torch.Generator().manual_seed(0))
        return set(windows.flatten().tolist())

    assert drawn(0) == {0.0}
    assert curriculum.at(99) is curriculum.at(0)
    assert drawn(100) == {0.0, 1.0}


def test_a_reference_without_the_first_tiers_is_refused():
    with pytest.raises(
        DatasetError, match=r"walking.npz: no segment of tier 0\+ or 0, only"
    ) as error:
        Curriculum(reference("1", "2"), {"0+": 0, "0": 0, "1": 5}, "walking.npz")
    assert "\n" not in str(error.value)


def test_a_reference_at_another_rate_is_refused(tmp_path):
    path = tmp_path / "walking.npz"
    reference("0").save(path)
    device = torch.device("cpu")
    made = load_curriculum(path, LAYOUT, "robot", 0.02, device, {"0": 0})
    assert made.at(0).segment_tier == ("0",)
    with pytest.raises(DatasetError, match=r"frames 0.02 s apart, data.env.ctrl_dt is 0.01 s"):
        load_curriculum(path, LAYOUT, "robot", 0.01, device, {"0": 0})


def test_held_out_motion_is_of_all_tiers_ever_used_and_in_none_of_them():
    whole = reference("2", "0", "0", "1", "0", "1", clips="zabcde")
    curriculum = Curriculum(whole, {"0": 0, "1": 100}, "walking.npz", held_out=0.2)
    # Of the five that are used one is held out: the middle one, whose tier joins late.
    assert curriculum.held_out is not None
    assert curriculum.held_out.segment_clip == ("c",)
    assert curriculum.at(0).segment_clip == ("a", "b", "d")
    assert curriculum.at(100).segment_clip == ("a", "b", "d", "e")


def test_frames_keep_their_numbers_when_a_tier_joins():
    curriculum = Curriculum(reference("1", "0", "1", "0"), {"0": 0, "1": 100}, "walking.npz")
    amp, first = curriculum.frames
    frame = torch.tensor([0, 9, 10, 19])
    for env_steps in (0, 100):
        present = curriculum.at(env_steps)
        number = curriculum.numbers(frame)
        assert torch.equal(amp[number], present.amp[frame])
    assert first.tolist() == sorted([0, 10, 20, 30] * 10)
    curriculum = Curriculum(reference("1", "0", "1", "0"), {"0": 0, "1": 100}, "walking.npz")
    assert curriculum.numbers(frame).tolist() == [10, 19, 30, 39]


def test_too_little_to_hold_out_is_refused_by_the_file_s_name():
    with pytest.raises(DatasetError, match=r"walking.npz: .*validation_split 0$") as error:
        Curriculum(reference("0", "0"), {"0": 0}, "walking.npz", held_out=0.2)
    assert "\n" not in str(error.value)
