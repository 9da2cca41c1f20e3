"""Test 4: does a minibatch see many clips, in windows that no cut runs through?"""

from __future__ import annotations

import torch

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped

TEST = "4"
BATCH, BATCHES = 64, 50
"""Windows in a minibatch (the smallest that anyone trains with) and minibatches drawn."""
WINDOW = AMPConfig().window
CLIPS = 3
"""Clips that each minibatch must show."""


def coverage(dataset: ReferenceDataset, generator: torch.Generator) -> list[Finding]:
    """Clips per minibatch; a mirror image counts with its clip."""
    source = [name.removesuffix("_mirror") for name in dataset.segment_clip]
    names = sorted(set(source))
    segment = torch.repeat_interleave(
        torch.arange(dataset.num_segments), dataset.segment_length.cpu()
    )
    clip = torch.tensor([names.index(name) for name in source])
    first = torch.stack(
        [dataset.draw_windows(BATCH, WINDOW, generator).cpu() for _ in range(BATCHES)]
    )
    last = first + WINDOW - 1
    clips = clip[segment[first]]
    least = min(len(row.unique()) for row in clips)
    inside = (last < dataset.num_frames) & (
        segment[first] == segment[last.clamp(max=len(segment) - 1)]
    )
    findings = [
        bounded(TEST, "windows across a cut", float((~inside).float().mean()), "1", high=0.0)
    ]
    if len(names) < CLIPS:
        reason = f"the dataset has {len(names)} of the {CLIPS} clips that a minibatch needs"
        return [*findings, skipped(TEST, "clips per minibatch", reason)]
    never = len(names) - len(clips.unique())
    return [
        *findings,
        bounded(TEST, f"clips in a minibatch of {BATCH}, fewest", least, "1", low=CLIPS,
                detail=f"{len(names)} clips, {never} of them never drawn"),
    ]  # fmt: skip
