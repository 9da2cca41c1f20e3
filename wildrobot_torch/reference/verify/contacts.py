"""Tests 5 and 7: do the contacts belong to this motion, and who carried the robot?"""

from __future__ import annotations

import math

import torch

from wildrobot_torch.motion import gait
from wildrobot_torch.reference.verify.finding import FAIL, Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

LOAD = (0.85, 1.15)
"""Mean weight on the feet [m g]."""
FORCE_P95 = 0.25
"""Support force, 95th percentile [m g]."""
LIMITS = {
    "load_mean": (*LOAD, "m g"),
    "unloaded_share": (-math.inf, 0.10, "1"),
    "support_force_p90": (-math.inf, 0.15, "m g"),
    "support_force_p95": (-math.inf, FORCE_P95, "m g"),
    "support_torque_p95": (-math.inf, 0.25, "m g h"),
}
"""Metric of a segment -> least and greatest value in the tiers 0+ and 0, and unit."""


def contacts(subject: Subject) -> list[Finding]:
    """5: loaded feet against sole heights, stored rates against the states, left against right."""
    return [_grounded(subject), _sides(subject), _stored_rates(subject), _alternation(subject)]


def _grounded(subject: Subject) -> Finding:
    """Loaded feet that touch the floor."""
    height = subject.sole_height[subject.loaded_feet]
    share = float((height < 0.001).float().mean()) if len(height) else 0.0
    detail = "" if len(height) else "no foot is ever loaded"
    return bounded("5", "loaded soles that are on the floor", share, "1", low=0.95, detail=detail)


def _sides(subject: Subject) -> Finding:
    """In single support the loaded foot is the lower one; mirrored contacts say the opposite."""
    name = "loaded foot is the lower one, on one foot"
    single = subject.loaded_feet.sum(-1) == 1
    if not bool(single.any()):
        return skipped("5", name, "no frame is on one foot")
    higher = subject.sole_height[single].argmax(-1)
    share = float((subject.loaded_feet[single].int().argmin(-1) == higher).float().mean())
    detail = "left and right are mixed up" if share < 0.5 else ""
    return bounded("5", name, share, "1", low=0.9, detail=detail)


def _stored_rates(subject: Subject) -> Finding:
    """The manifest's contact rates against those of the recorded forces."""
    name = "contact rates of the manifest: error"
    rows = [[row.get(f"stance_{s}") for s in ("left", "right")] for row in subject.metrics()]
    if not rows or any(None in row for row in rows):
        return skipped("5", name, "the manifest has none for some segment")
    seen = [subject.standing(frames).float().mean((0, 1)) for _, frames in subject.segments()]
    error = (torch.tensor(rows) - torch.stack(seen)).abs().amax(-1)
    return bounded("5", name, float(error.max()), "1", high=0.01, detail=subject.worst(error))


def _alternation(subject: Subject) -> Finding:
    """Landings that follow one of the other foot, in segments that walk."""
    right, total = 0, 0
    for number, frames in subject.segments():
        if bool(subject.moving[number]):
            standing = subject.standing(frames)
            touchdown = gait.touchdowns(standing, torch.ones_like(standing[..., 0]))
            good, pairs = gait.alternation_counts(touchdown, subject.dataset.ctrl_dt)
            right, total = right + int(good), total + int(pairs)
    name = "left and right alternate"
    if not total:
        return skipped("5", name, "no segment walks more than one step")
    return bounded("5", name, right / total, "1", low=0.5, warn_low=0.9, detail=f"{total} steps")


def support(subject: Subject) -> list[Finding]:
    """7: weight on the feet and help by a support, by manifest, labels and recorded forces."""
    rows, clips = subject.metrics(), subject.dataset.segment_clip
    if not rows:
        reason = "the manifest must hold the metrics of every segment"
        return [Finding("7", "metrics of every segment", FAIL, detail=reason)]
    findings = []
    for name, (low, high, unit) in LIMITS.items():
        values = [math.nan if row.get(name) is None else float(row[name]) for row in rows]
        # The segment farthest outside the limits; a missing number is farther than any.
        excess = [math.inf if math.isnan(v) else max(low - v, v - high) for v in values]
        worst = excess.index(max(excess))
        findings.append(
            bounded("7", f"{name}, worst segment", values[worst], unit, low=low, high=high,
                    detail=clips[worst])
        )  # fmt: skip
    alone = [i for i, label in enumerate(subject.dataset.segment_support) if label == "none"]
    if alone:
        shares = ("support_force_p95", "support_torque_p95")
        most = max(abs(rows[i].get(share) or 0.0) for i in alone for share in shares)
        name = "support of segments labelled none"
        findings.append(bounded("7", name, most, "m g, m g h", high=0.0))
    return [*findings, *_recorded(subject)]


def _recorded(subject: Subject) -> list[Finding]:
    """The same from the forces recorded frame by frame."""
    dataset, weight = subject.dataset, subject.robot.weight
    none = torch.tensor([label == "none" for label in dataset.segment_support])[subject.segment_of]
    unsupported = dataset.support_wrench[none].abs()
    share = torch.linalg.vector_norm(dataset.support_wrench[:, :3], dim=-1) / weight
    load = subject.per_segment(dataset.foot_force.sum(-1)) / weight
    worst = int((load - 1.0).abs().argmax())
    return [
        bounded("7", "recorded support of frames labelled none",
                float(unsupported.max()) if len(unsupported) else 0.0, "N, N m", high=0.0),
        bounded("7", "recorded support, 95th percentile", float(share.quantile(0.95)), "m g",
                high=FORCE_P95),
        bounded("7", "recorded weight on the feet, worst segment", float(load[worst]), "m g",
                low=LOAD[0], high=LOAD[1], detail=dataset.segment_clip[worst]),
    ]  # fmt: skip
