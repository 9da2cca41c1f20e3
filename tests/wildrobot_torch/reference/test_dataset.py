"""Reference files: roundtrip, refusals, sampling."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

LAYOUT = Layout("amp", (Field("segment", 1, "1", "none", ""), Field("frame", 1, "1", "none", "")))
LENGTHS = [40, 100, 10]
ROBOT = "0123456789abcdef"


@pytest.fixture
def dataset() -> ReferenceDataset:
    """Three segments; each frame's features are its segment's and its own number."""
    length = torch.tensor(LENGTHS)
    segment = torch.repeat_interleave(torch.arange(3), length).float()
    frame = torch.arange(150).float()
    qpos = frame[:, None].repeat(1, 9)
    return ReferenceDataset(
        amp=torch.stack([segment, frame], dim=-1),
        qpos=qpos,
        qvel=frame[:, None].repeat(1, 8),
        foot_force=torch.zeros(len(frame), 2),
        support_wrench=torch.zeros(len(frame), 6),
        segment_start=torch.tensor([0, 40, 140]),
        segment_length=length,
        segment_weight=torch.tensor([3.0, 1.0, 1.0]),
        segment_velocity=torch.tensor([0.1, 0.2, 0.3]),
        segment_clip=("a", "b", "b"),
        segment_tier=("0", "1", "0+"),
        segment_support=("harness", "harness", "none"),
        ctrl_dt=0.02,
        amp_layout=LAYOUT,
        robot_digest=ROBOT,
        manifest={"clips": [{"name": "a"}, {"name": "b"}]},
    )


def test_what_is_saved_is_loaded(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    dataset.save(path)
    loaded = ReferenceDataset.load(path, LAYOUT, ROBOT)
    for name in ("amp", "qpos", "qvel", "segment_start", "segment_length", "segment_weight",
                 "segment_velocity", "feature_mean", "feature_std"):  # fmt: skip
        assert torch.equal(getattr(loaded, name), getattr(dataset, name)), name
    assert loaded.segment_clip == dataset.segment_clip
    assert loaded.segment_tier == ("0", "1", "0+")
    assert loaded.segment_support == ("harness", "harness", "none")
    assert loaded.manifest == dataset.manifest
    assert loaded.amp_layout == LAYOUT
    assert loaded.content_hash == dataset.content_hash
    assert loaded.duration_s == pytest.approx(3.0)


def test_normalisation_statistics_are_those_of_the_frames(dataset):
    # Frames 0..149: mean 74.5, variance (150^2 - 1) / 12.
    assert float(dataset.feature_mean[1]) == pytest.approx(74.5)
    assert float(dataset.feature_std[1]) == pytest.approx(((150**2 - 1) / 12) ** 0.5)


def test_equal_datasets_are_equal_bytes(dataset, tmp_path):
    dataset.save(tmp_path / "a.npz")
    dataset.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_another_layout_is_refused_field_by_field(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    dataset.save(path)
    other = Layout("amp", (LAYOUT.fields[0], replace(LAYOUT.fields[1], unit="rad")))
    with pytest.raises(DatasetError, match=r"frame: .*'rad'"):
        ReferenceDataset.load(path, other, ROBOT)


def test_another_robot_is_refused(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    dataset.save(path)
    with pytest.raises(DatasetError, match="robot 0123456789abcdef, this one is ffff"):
        ReferenceDataset.load(path, LAYOUT, "ffff")


def test_no_altered_byte_changes_what_is_loaded(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    dataset.save(path)
    whole = path.read_bytes()
    refused = 0
    positions = torch.randint(len(whole), (150,), generator=torch.Generator().manual_seed(0))
    for position in positions.tolist():
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            loaded = ReferenceDataset.load(path, LAYOUT, ROBOT)
        except DatasetError as error:
            assert "\n" not in str(error)
            refused += 1
        else:  # a byte of the container that holds no content, such as a time stamp
            assert loaded.content_hash == dataset.content_hash
    assert refused > 100


def test_a_consistent_file_with_other_numbers_is_refused(dataset, tmp_path):
    # A valid container whose arrays are not those that were hashed.
    path, forged = tmp_path / "walking.npz", tmp_path / "forged.npz"
    dataset.save(path)
    with np.load(path) as content:
        arrays = dict(content)
    arrays["amp"][5, 1] += 1.0
    np.savez(forged, **arrays)
    with pytest.raises(DatasetError, match="does not match its hash"):
        ReferenceDataset.load(forged, LAYOUT, ROBOT)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"0+"', '"0 "'), ('"harness"', '"harnass"'), ('"name": "a"', '"name": "c"'),
     (ROBOT, ROBOT[::-1]), (LAYOUT.digest, "0" * 16)],
)  # fmt: skip
def test_a_changed_label_source_or_digest_is_refused(dataset, tmp_path, old, new):
    path, forged = tmp_path / "walking.npz", tmp_path / "forged.npz"
    dataset.save(path)
    with np.load(path) as content:
        arrays = dict(content)
    header = str(arrays["header"])
    assert old in header
    np.savez(forged, **{**arrays, "header": np.array(header.replace(old, new))})
    with pytest.raises(DatasetError, match="does not match its hash"):
        ReferenceDataset.load(forged, LAYOUT, ROBOT)


def test_a_file_of_another_version_is_named_as_such(dataset, tmp_path, monkeypatch):
    # As version 0.3 wrote it: hash and all, without a format.
    header = json.loads(dataset._header())
    del header["format"]
    monkeypatch.setattr(ReferenceDataset, "_header", lambda self: json.dumps(header))
    path = tmp_path / "old.npz"
    dataset.save(path)
    with pytest.raises(
        DatasetError, match=r"another version .*0\.3.*make the reference again"
    ) as error:
        ReferenceDataset.load(path, LAYOUT, ROBOT)
    assert "\n" not in str(error.value)


def test_seconds_by_tier_and_support(dataset):
    assert [dataset.seconds(t) for t in ("0+", "0", "1", "2")] == pytest.approx([0.2, 0.8, 2.0, 0])


def test_the_selection_of_tiers_is_a_dataset_of_their_segments(dataset, tmp_path):
    chosen = dataset.select(("0+", "0"))
    assert chosen.segment_clip == ("a", "b")
    assert chosen.segment_tier == ("0", "0+")
    assert chosen.segment_support == ("harness", "none")
    assert chosen.segment_start.tolist() == [0, 40]
    assert chosen.segment_length.tolist() == [40, 10]
    assert chosen.segment_weight.tolist() == [3.0, 1.0]
    assert chosen.segment_velocity.tolist() == pytest.approx([0.1, 0.3])
    frames = torch.cat([torch.arange(40), torch.arange(140, 150)]).float()
    for name in ("amp", "qpos", "qvel"):
        assert torch.equal(getattr(chosen, name)[:, -1], frames)
    assert torch.equal(chosen.feature_mean, dataset.feature_mean)
    windows = chosen.sample_windows(500, 4, torch.Generator().manual_seed(0))
    assert set(windows[:, 0, 0].tolist()) == {0.0, 2.0}


def test_a_selection_without_segments_is_refused(dataset):
    with pytest.raises(DatasetError, match=r"no segment of tier 2, only 0.2 s of 0\+, 0.8 s of 0"):
        dataset.select(("2",))


def test_missing_and_truncated_files_are_refused(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    with pytest.raises(DatasetError, match="no such file"):
        ReferenceDataset.load(path, LAYOUT, ROBOT)
    dataset.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="truncated or damaged"):
        ReferenceDataset.load(path, LAYOUT, ROBOT)


def test_a_failed_save_leaves_the_old_file(dataset, tmp_path):
    path = tmp_path / "walking.npz"
    dataset.save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        replace(dataset, manifest={"speed": float("nan")}).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["walking.npz"]


def test_windows_never_straddle_a_segment(dataset):
    windows = dataset.sample_windows(2000, 6, torch.Generator().manual_seed(0))
    assert windows.shape == (2000, 6, 2)
    assert torch.equal(windows[:, 1:, 1] - windows[:, :-1, 1], torch.ones(2000, 5))
    assert torch.equal(windows[:, :1, 0].expand(-1, 6), windows[:, :, 0])
    assert set(windows[:, 0, 0].tolist()) == {0.0, 1.0, 2.0}


def test_windows_are_drawn_by_weight_times_length(dataset):
    # Windows of one frame: weights 3 x 40, 1 x 100, 1 x 10 of 230.
    windows = dataset.sample_windows(23000, 1, torch.Generator().manual_seed(0))
    counts = torch.bincount(windows[:, 0, 0].long(), minlength=3)
    expected = torch.tensor([12000.0, 10000.0, 1000.0])
    assert bool(((counts - expected).abs() < 4 * expected.sqrt()).all())


def test_every_window_of_a_segment_can_be_drawn(dataset):
    windows = dataset.sample_windows(4000, 10, torch.Generator().manual_seed(0))
    first = windows[:, 0, 1]
    assert set(first[windows[:, 0, 0] == 0].tolist()) == set(range(31))
    assert set(first[windows[:, 0, 0] == 2].tolist()) == {140.0}


def test_batches_must_be_equal(dataset):
    with pytest.raises(ValueError, match="10 windows cannot be drawn in 3 equal batches"):
        dataset.sample_windows(10, 4, batches=3)


def test_the_same_generator_state_draws_the_same_windows(dataset):
    draw = [dataset.sample_windows(64, 4, torch.Generator().manual_seed(7)) for _ in range(2)]
    other = dataset.sample_windows(64, 4, torch.Generator().manual_seed(8))
    assert torch.equal(*draw)
    assert not torch.equal(draw[0], other)


def test_windows_longer_than_every_segment_are_refused(dataset):
    assert dataset.sample_windows(5, 100, torch.Generator().manual_seed(0)).shape == (5, 100, 2)
    with pytest.raises(ValueError, match="windows of 101 frames: segments have 10 to 100"):
        dataset.sample_windows(5, 101)


def test_start_states_leave_half_a_second_of_motion(dataset):
    qpos, qvel, command = dataset.start_states()
    # 25 frames of 0.02 s: 40 - 25 from the first segment, 100 - 25 from the second, none of 10.
    frames = torch.cat([torch.arange(15), torch.arange(40, 115)]).float()
    assert torch.equal(qvel[:, 0], frames)
    assert torch.equal(qpos[:, 2], frames)
    assert torch.equal(qpos[:, :2], torch.zeros(90, 2))
    assert torch.equal(command, torch.tensor([0.1] * 15 + [0.2] * 75))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"segment_start": torch.tensor([0, 41, 140])}, "do not tile"),
        ({"segment_length": torch.tensor([40, 100, 11])}, "do not tile"),
        ({"segment_weight": torch.tensor([1.0, 0.0, 1.0])}, "not positive"),
        ({"qvel": torch.zeros(149, 8)}, "qvel has 149 rows"),
        ({"amp": torch.full((150, 2), float("nan"))}, "not finite"),
        (
            {"segment_tier": ("0", "unassisted", "0+")},
            r"segment_tier holds \['unassisted'\]; .*'0\+'",
        ),
        ({"segment_support": ("none", "rope", "none")}, r"segment_support holds \['rope'\]"),
        ({"segment_support": ("none", "none")}, "segment_support has 2 rows, expected 3"),
        ({"amp": torch.zeros(150, 3)}, "amp has 3 features, its layout 2"),
    ],
)
def test_contents_that_contradict_themselves_are_refused(dataset, change, complaint):
    with pytest.raises(DatasetError, match=complaint):
        replace(dataset, **change)
