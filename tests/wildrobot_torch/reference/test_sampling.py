"""Windows are drawn by mass, and every minibatch sees three clips."""

from __future__ import annotations

import pytest
import torch

from wildrobot_torch.reference.sampling import WindowTable


def table(masses: list[int], clips: list[int] | None = None, weight: float = 1.0) -> WindowTable:
    """Segments of `masses` frames, end to end, each a clip of its own unless told otherwise."""
    length = torch.tensor(masses)
    clip = torch.arange(len(masses)) if clips is None else torch.tensor(clips)
    weights = torch.full((len(masses),), weight)
    return WindowTable.of(length.cumsum(0) - length, length, weights, clip, frames=1)


def clips_of(first: torch.Tensor, masses: list[int]) -> torch.Tensor:
    ends = torch.tensor(masses).cumsum(0)
    return torch.searchsorted(ends, first, right=True)


def test_three_clips_are_in_every_minibatch_however_rare():
    masses = [100_000, 1, 1, 1]
    first = table(masses).draw(2000, 5, torch.Generator().manual_seed(0))
    assert first.shape == (2000, 5)
    clips = clips_of(first, masses)
    distinct = [len(set(row)) for row in clips.tolist()]
    assert min(distinct) >= 3
    assert all(len(set(row)) == 3 for row in clips[:, :3].tolist())


@pytest.mark.parametrize(("count", "size", "least"), [(2, 8, 2), (1, 8, 1), (5, 2, 2), (5, 3, 3)])
def test_fewer_clips_or_windows_than_three_give_as_many_as_there_are(count, size, least):
    masses = [9] * (count - 1) + [900]
    clips = clips_of(table(masses).draw(300, size, torch.Generator().manual_seed(0)), masses)
    assert min(len(set(row)) for row in clips.tolist()) == least


def test_clips_are_first_drawn_without_replacement_by_mass():
    # All three windows of a minibatch are such draws. Clip 0 has half of the mass: it is missing
    # when three others come first, 1/2 * 2/5 * 1/4 = 1/20.
    masses = [3, 1, 1, 1]
    first = table(masses).draw(20_000, 3, torch.Generator().manual_seed(0))
    counts = torch.bincount(clips_of(first, masses).flatten(), minlength=4)
    assert int(counts[0]) == pytest.approx(19_000, abs=4 * (20_000 * 0.05 * 0.95) ** 0.5)
    for count in counts[1:].tolist():  # the other 2.05 clips are equally likely
        assert count == pytest.approx(20_000 * 2.05 / 3, abs=4 * (20_000 * 0.22) ** 0.5)


def test_the_other_windows_are_drawn_by_mass():
    masses = [60, 30, 10]
    first = table(masses).draw(1000, 103, torch.Generator().manual_seed(0))
    clips = clips_of(first, masses)
    assert all(set(row) == {0, 1, 2} for row in clips[:, :3].tolist())
    for clip, share in enumerate((0.6, 0.3, 0.1)):
        count = int((clips[:, 3:] == clip).sum())
        assert count == pytest.approx(100_000 * share, abs=4 * (100_000 * share) ** 0.5)


def test_segments_of_one_clip_are_one_clip():
    # Clip 7 has the segments 0..9 and 30..39, clip 8 has 10..29; weights cancel.
    first = table([10, 20, 10], [7, 8, 7], weight=0.3).draw(3000, 4, torch.Generator())
    of_eight = (first >= 10) & (first < 30)
    assert bool((of_eight[:, 0] != of_eight[:, 1]).all())
    assert set(first.flatten().tolist()) == set(range(40))
    counts = torch.bincount(first[:, 2:].flatten(), minlength=40)
    assert bool(((counts - 150).abs() < 5 * 150**0.5).all())


def test_the_heavier_segment_of_a_clip_gives_more_of_its_windows():
    start, length = torch.tensor([0, 10]), torch.tensor([10, 10])
    weight, clip = torch.tensor([3.0, 1.0]), torch.tensor([0, 0])
    first = WindowTable.of(start, length, weight, clip, frames=1).draw(
        1, 4000, torch.Generator().manual_seed(0)
    )
    assert int((first < 10).sum()) == pytest.approx(3000, abs=4 * 750**0.5)


def test_segments_that_are_too_short_give_no_windows_and_count_for_no_clip():
    start, length = torch.tensor([0, 5, 25]), torch.tensor([5, 20, 20])
    made = WindowTable.of(start, length, torch.ones(3), torch.arange(3), frames=6)
    assert made.num_clips == 2
    first = made.draw(50, 20, torch.Generator().manual_seed(0))
    assert set(first.flatten().tolist()) == {*range(5, 20), *range(25, 40)}


@pytest.mark.parametrize("frames", [0, 21])
def test_windows_of_impossible_length_are_refused(frames):
    length = torch.tensor([20, 3])
    with pytest.raises(ValueError, match=f"windows of {frames} frames: segments have 3 to 20"):
        WindowTable.of(torch.tensor([0, 20]), length, torch.ones(2), torch.arange(2), frames)


@pytest.mark.gpu
def test_drawing_does_not_wait_for_the_device():
    length = torch.tensor([40, 30, 20, 10], device="cuda")
    start, weight = length.cumsum(0) - length, torch.ones(4, device="cuda")
    clip = torch.arange(4, device="cuda")
    made = WindowTable.of(start, length, weight, clip, frames=2)
    generator = torch.Generator("cuda").manual_seed(0)
    made.draw(4, 64, generator)
    try:
        torch.cuda.set_sync_debug_mode("error")
        first = made.draw(4, 64, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(((first >= 0) & (first < 99)).all())
