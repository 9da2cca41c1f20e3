"""The account of a dataset: what it holds, as markdown, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.reference.report.analysis import (
    ADVICE,
    DURATION_EDGES,
    GOOD_TIERS,
    NEAR_CONSTANT,
    SPEED_BIN,
    Analysis,
)
from wildrobot_torch.reference.report.plots import plot_coverage, plot_features, save


def verdict(found: Analysis) -> str:
    """The decision in one line."""
    both = f"{found.good_s:.1f} s of tiers {' and '.join(GOOD_TIERS)}"
    seconds = f"{found.best_s:.1f} s of tier {GOOD_TIERS[0]} ({both})"
    return f"{found.decision}: {seconds}; {ADVICE[found.decision]}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def analysis_markdown(found: Analysis, pictures: Sequence[Path] = ()) -> str:
    """All that `analyse` found, without a title.

    Args:
        found: the analysis.
        pictures: to show, relative to where the text goes.
    """
    d = found.diversity
    parts = [f"**{verdict(found)}**"]
    if found.notes:
        parts.append("\n".join(f"- {note}" for note in found.notes))
    parts += [f"![{path.stem}]({path.as_posix()})" for path in pictures]
    supports = ("none", "harness")
    parts += [
        "### Seconds by tier and support",
        table(
            ("tier", *(f"support {support}, s" for support in supports)),
            [
                (tier, *(f"{by.get(support, 0.0):.2f}" for support in supports))
                for tier, by in found.seconds.items()
            ],
        ),
        "### Coverage",
        f"{len(found.clips)} clips from {found.num_sources} sources, {found.num_segments} segments;"
        f" {found.standing_s:.1f} s standing, {found.starts} starts, {found.stops} stops.",
        _speed_table(found),
        _clip_table(found),
        _duration_table(found),
        "### Features",
        f"Hardly varying: standard deviation below {NEAR_CONSTANT:g}.",
        _feature_table(found),
        "### A minibatch",
        f"Of {d.batch} windows: {d.clips:.1f} clips, never fewer than {d.least_clips}, and "
        f"{d.segments:.1f} segments. By their shares the clips are as diverse as "
        f"{d.effective_clips:.1f} equal ones.",
        "### Quality of the segments",
        table(
            ("metric", "unit", "mean", "least", "most", "meaning"),
            [
                (name, METRICS[name].unit, *(f"{x:.4g}" for x in values), METRICS[name].meaning)
                for name, values in found.metrics.items()
                if name in METRICS
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _speed_table(found: Analysis) -> str:
    rows = []
    for k in range(len(next(iter(found.speeds.values())))):
        low = found.speed_low + k * SPEED_BIN
        seconds = [by[k] for by in found.speeds.values()]
        if any(seconds):
            rows.append((f"{low:.1f} to {low + SPEED_BIN:.1f}", *(f"{s:.2f}" for s in seconds)))
    return table(("m/s", *(f"tier {tier}, s" for tier in found.speeds)), rows)


def _clip_table(found: Analysis) -> str:
    return table(
        ("clip", *(f"tier {tier}, s" for tier in found.seconds), "harness, s", "segments", "m/s",
         "of a minibatch", "source"),
        [
            (
                clip.name,
                *(f"{clip.seconds.get(tier, 0.0):.2f}" for tier in found.seconds),
                f"{clip.harness_s:.2f}",
                str(clip.segments),
                f"{clip.speed:.3f}",
                f"{clip.batch_share:.1%}",
                clip.source,
            )
            for clip in found.clips
        ],
    )  # fmt: skip


def _duration_table(found: Analysis) -> str:
    edges = [f"{edge:g}" for edge in DURATION_EDGES]
    names = [f"{low} to {high}" for low, high in pairwise(edges)]
    return table(
        ("segment length, s", *names), [("segments", *(str(count) for count in found.durations))]
    )


def _feature_table(found: Analysis) -> str:
    rows = []
    for block in found.blocks:
        flat = ", ".join(map(str, block.near_constant)) or "-"
        spans = (f"{min(values):.3g} to {max(values):.3g}" for values in (block.mean, block.std))
        whole = f"{min(block.low):.3g} to {max(block.high):.3g}"
        rows.append((block.name, block.unit, str(len(block.mean)), *spans, whole, flat))
    head = ("block", "unit", "dimensions", "mean", "standard deviation", "range", "hardly varying")
    return table(head, rows)


def draw_analysis(found: Analysis, folder: Path) -> list[Path]:
    """Write the pictures of an analysis into a folder; returns their paths."""
    return [
        save(plot_coverage(found), folder / "coverage.png"),
        save(plot_features(found), folder / "features.png"),
    ]


def analysis_json(found: Analysis) -> str:
    """The analysis as JSON text."""
    return json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n"


def write_analysis(found: Analysis, folder: Path, title: str) -> Path:
    """Write analysis.md, analysis.json and pictures into a folder; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [path.relative_to(folder) for path in draw_analysis(found, folder)]
    (folder / "analysis.json").write_text(analysis_json(found), encoding="utf-8")
    path = folder / "analysis.md"
    text = f"# {title}\n\n{analysis_markdown(found, pictures)}"
    path.write_text(text, encoding="utf-8")
    return path
