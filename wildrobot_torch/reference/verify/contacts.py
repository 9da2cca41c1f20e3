"""Test 5: do the contacts belong to this motion?"""

from __future__ import annotations

import torch

from wildrobot_torch.motion import gait
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

TEST = "5"


def contacts(subject: Subject) -> list[Finding]:
    """Loaded feet against sole heights, stored rates against the states, left against right."""
    return [_grounded(subject), *_sides(subject), *_stored_rates(subject), _alternation(subject)]


def _grounded(subject: Subject) -> Finding:
    """Loaded feet that touch the floor."""
    height = subject.sole_height[subject.loaded_feet]
    share = float((height < 0.001).float().mean()) if len(height) else 0.0
    return bounded(TEST, "loaded soles that are on the floor", share, "1", low=0.95,
                   detail="" if len(height) else "no foot is ever loaded")  # fmt: skip


def _sides(subject: Subject) -> list[Finding]:
    """In single support the loaded foot is the lower one; mirrored contacts say the opposite."""
    single = subject.loaded_feet.sum(-1) == 1
    if not bool(single.any()):
        return [skipped(TEST, "loaded foot is the lower one", "no frame is on one foot")]
    higher = subject.sole_height[single].argmax(-1)
    share = float((subject.loaded_feet[single].int().argmin(-1) == higher).float().mean())
    detail = "left and right are mixed up" if share < 0.5 else ""
    return [bounded(TEST, "loaded foot is the lower one, on one foot", share, "1", low=0.9,
                    detail=detail)]  # fmt: skip


def _stored_rates(subject: Subject) -> list[Finding]:
    """The manifest's contact rates against those of the states, as stored and mirrored."""
    name = "contact rates of the manifest"
    rows = [entry.get("metrics", {}) for entry in subject.dataset.manifest.get("segments", [])]
    stored = [[row.get("stance_left"), row.get("stance_right")] for row in rows]
    if len(stored) != subject.dataset.num_segments or any(None in row for row in stored):
        return [skipped(TEST, name, "the manifest has none for some segment")]
    said = torch.tensor(stored)
    seen = torch.stack(
        [subject.standing(frames)[:, 0].float().mean(0) for _, frames in subject.segments()]
    )
    error, mirrored = ((said - seen).abs().amax(-1), (said.flip(-1) - seen).abs().amax(-1))
    # Evidence of a mix-up is a segment whose feet differ by more than the error that is allowed.
    lopsided = (said[:, 0] - said[:, 1]).abs() > 0.02
    mixed = lopsided & (mirrored < 0.5 * error)
    wrong = error[mixed | (error > 0.15)]
    detail = f"{subject.worst(error)}; {int(mixed.sum())} segments fit mirrored"
    value = float(error.max()) if len(wrong) else float(error.median())
    return [bounded(TEST, name + ": error", value, "1", high=0.01 if bool(mixed.any()) else 0.15,
                    detail=detail)]  # fmt: skip


def _alternation(subject: Subject) -> Finding:
    """Landings that follow one of the other foot, in segments that go somewhere."""
    right, total = 0, 0
    for number, frames in subject.segments():
        if bool(subject.moving[number]):
            standing = subject.standing(frames)
            touchdown = gait.touchdowns(standing, torch.ones_like(standing[..., 0]))
            good, pairs = gait.alternation_counts(touchdown, subject.dataset.ctrl_dt)
            right, total = right + int(good), total + int(pairs)
    name = "left and right alternate"
    if not total:
        return skipped(TEST, name, "no segment goes somewhere in more than one step")
    return bounded(TEST, name, right / total, "1", low=0.5, warn_low=0.9, detail=f"{total} steps")
