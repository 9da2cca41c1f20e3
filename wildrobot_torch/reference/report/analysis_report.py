"""The account of a dataset: what it holds, as markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.reference.judge.gates import GOOD_TIERS
from wildrobot_torch.reference.report.analysis import ADVICE, Analysis
from wildrobot_torch.reference.report.comparison import table


def verdict(found: Analysis) -> str:
    """The decision in one line."""
    both = f"{found.good_s:.1f} s of tiers {' and '.join(GOOD_TIERS)}"
    seconds = f"{found.best_s:.1f} s of tier {GOOD_TIERS[0]} ({both})"
    return f"{found.decision}: {seconds}; {ADVICE[found.decision]}"


def analysis_markdown(found: Analysis) -> str:
    """All that `analyse` found, without a title."""
    features = []
    for block in found.blocks:
        spans = (f"{min(x):.3g} to {max(x):.3g}" for x in (block.mean, block.std))
        whole = f"{min(block.low):.3g} to {max(block.high):.3g}"
        flat = ", ".join(map(str, block.near_constant)) or "-"
        features.append((block.name, block.unit, str(len(block.mean)), *spans, whole, flat))
    tiers = [f"tier {tier}, s" for tier in found.seconds]
    parts = [
        f"**{verdict(found)}**",
        "\n".join(f"- {note}" for note in found.notes),
        "### Coverage",
        table(
            ("tier", "support none, s", "support harness, s"),
            [
                (tier, *(f"{by.get(support, 0.0):.2f}" for support in ("none", "harness")))
                for tier, by in found.seconds.items()
            ],
        ),
        f"{len(found.clips)} clips from {found.num_sources} sources, {found.num_segments} segments;"
        f" {found.standing_s:.1f} s standing, {found.starts} starts, {found.stops} stops.",
        table(
            ("m/s from", *tiers),
            [
                (f"{low:.1f}", *(f"{s:.2f}" for s in seconds))
                for low, *seconds in zip(found.speed_bins, *found.speeds.values(), strict=True)
            ],
        ),
        table(
            ("clip", *tiers, "segments", "m/s", "of a minibatch", "source"),
            [
                (
                    clip.name,
                    *(f"{clip.seconds.get(tier, 0.0):.2f}" for tier in found.seconds),
                    str(clip.segments),
                    f"{clip.speed:.3f}",
                    f"{clip.batch_share:.1%}",
                    clip.source,
                )
                for clip in found.clips
            ],
        ),
        "### Features",
        table(
            ("block", "unit", "size", "mean", "standard deviation", "range", "hardly varying"),
            features,
        ),
        "### Quality of the segments",
        table(
            ("metric", "unit", "mean", "least", "most", "meaning"),
            [
                (name, METRICS[name].unit, *(f"{x:.4g}" for x in values), METRICS[name].meaning)
                for name, values in found.metrics.items()
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_analysis(found: Analysis, folder: Path, title: str) -> Path:
    """Write analysis.md and analysis.json into a folder; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(found.as_dict(), indent=1, allow_nan=False) + "\n"
    (folder / "analysis.json").write_text(numbers, encoding="utf-8")
    path = folder / "analysis.md"
    path.write_text(f"# {title}\n\n{analysis_markdown(found)}", encoding="utf-8")
    return path
