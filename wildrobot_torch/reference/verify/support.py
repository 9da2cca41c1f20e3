"""Test 7: who carried the robot, by the manifest, the labels and the recorded forces?"""

from __future__ import annotations

import math

import torch

from wildrobot_torch.reference.verify.finding import FAIL, Finding, bounded
from wildrobot_torch.reference.verify.subject import Subject

TEST = "7"
LOAD = (0.85, 1.15)
"""Mean weight on the feet [m g]."""
UNLOADED = 0.10
"""Frames with less than 0.6 m g on the feet."""
FORCE_P90, FORCE_P95, TORQUE_P95 = 0.15, 0.25, 0.25
"""Harness force [m g] and torque [m g h] in tiers 0+ and 0."""


def support(subject: Subject) -> list[Finding]:
    """Weight on the feet and help of the harness, segment by segment; `none` means zero."""
    return [*_by_manifest(subject), *_by_record(subject)]


def _by_manifest(subject: Subject) -> list[Finding]:
    rows = [entry.get("metrics", {}) for entry in subject.dataset.manifest.get("segments", [])]
    if len(rows) != subject.dataset.num_segments:
        return [Finding(TEST, "metrics of every segment", FAIL, len(rows),
                        f"= {subject.dataset.num_segments}",
                        "the manifest must say of each segment what it measured")]  # fmt: skip
    limits = {
        "load_mean": LOAD,
        "unloaded_share": (-math.inf, UNLOADED),
        "support_force_p90": (-math.inf, FORCE_P90),
        "support_force_p95": (-math.inf, FORCE_P95),
        "support_torque_p95": (-math.inf, TORQUE_P95),
    }
    findings = []
    for name, (low, high) in limits.items():
        values = [row.get(name) for row in rows]
        numbers = [float("nan") if value is None else float(value) for value in values]
        # Of all segments the one farthest out of bounds; a missing number is farther than any.
        excess = torch.tensor([max(low - v, v - high) if v == v else torch.inf for v in numbers])
        worst = int(excess.argmax())
        unit = "m g h" if "torque" in name else "1" if name == "unloaded_share" else "m g"
        findings.append(
            bounded(TEST, f"{name}, worst segment", numbers[worst], unit, low=low, high=high,
                    detail=subject.dataset.segment_clip[worst])
        )  # fmt: skip
    alone = [i for i, label in enumerate(subject.dataset.segment_support) if label == "none"]
    if alone:
        shares = ("support_force_p95", "support_torque_p95")
        most = max(abs(rows[i].get(share) or 0.0) for i in alone for share in shares)
        findings.append(
            bounded(TEST, "support of segments said to have none", most, "m g, m g h", high=0.0)
        )
    return findings


def _by_record(subject: Subject) -> list[Finding]:
    """The same from the forces recorded frame by frame."""
    wrench, force = subject.dataset.support_wrench.cpu(), subject.foot_force
    none = torch.tensor([label == "none" for label in subject.dataset.segment_support])[
        subject.segment_of
    ]
    most = float(wrench[none].abs().max()) if bool(none.any()) else 0.0
    share = torch.linalg.vector_norm(wrench[:, :3], dim=-1) / subject.robot.weight
    load = torch.stack([
        force[frames].sum(-1).mean() / subject.robot.weight for _, frames in subject.segments()
    ])  # fmt: skip
    worst = int((load - 1.0).abs().argmax())
    return [
        bounded(TEST, "recorded support of frames said to have none", most, "N, N m", high=0.0),
        bounded(TEST, "recorded support, 95th percentile", float(share.quantile(0.95)), "m g",
                high=FORCE_P95),
        bounded(TEST, "recorded weight on the feet, worst segment", float(load[worst]), "m g",
                low=LOAD[0], high=LOAD[1], detail=subject.dataset.segment_clip[worst]),
    ]  # fmt: skip
