"""The account of a reference generation: one folder of markdown, numbers and pictures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from envs.robot.model import RobotModel
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import Gate
from wildrobot_torch.reference.report.analysis import GOOD_TIERS, Analysis, analyse, decide
from wildrobot_torch.reference.report.analysis_report import (
    ADVICE,
    analysis_markdown,
    draw_analysis,
    table,
    verdict,
)
from wildrobot_torch.reference.report.comparison import (
    RejectedSecond,
    accepted_spans,
    compare,
    rejected_seconds,
)
from wildrobot_torch.reference.report.comparison_tables import (
    COMPARISON_NOTE,
    before_after_table,
    comparison_table,
    rejected_table,
)
from wildrobot_torch.reference.report.pictures import draw_clip, gallery, worst_clips
from wildrobot_torch.reference.report.plots import plot_before_after, save
from wildrobot_torch.render.film import RenderConfig
from wildrobot_torch.render.gl import available_platform

PICTURED = 40
"""Clips that are given pictures, unless told otherwise."""
STRIP = RenderConfig(width=288, height=224)
"""Size of a picture on a film strip."""


def write_generation_report(
    folder: Path | str,
    generation: Generation,
    rollouts: Mapping[str, Sequence[Rollout]],
    robot_model: RobotModel,
    gates: Sequence[Gate],
    *,
    originals: Mapping[str, Clip] | None = None,
    film: RenderConfig = STRIP,
    pictured: int = PICTURED,
) -> Path:
    """Write report.md, report.json, rejected.csv and pictures into a folder; returns the first.

    Args:
        folder: made if it is not there; files of an earlier report are overwritten.
        generation: what came of the rollouts.
        rollouts: way of following clips, for example tracker or policy -> its rollouts.
        robot_model: the robot that was simulated.
        gates: what judged its motion.
        originals: clips by name as they were before their repair, for those that were repaired.
        film: size and renderer of the film strips' pictures.
        pictured: most clips to draw; those of which least was accepted go first.

    Raises:
        ValueError: there are no rollouts, or the dataset holds a clip without any.
        RenderError: no such renderer here.
    """
    if not any(rollouts.values()):
        raise ValueError("there are no rollouts to report on")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if film.renderer == "auto" and available_platform() is None:
        film = replace(film, renderer="software")
    robot, dataset = robot_model.robot.to("cpu"), generation.dataset
    spans = accepted_spans(dataset, rollouts)
    rows = compare(rollouts, spans, robot_model, originals or {})
    rejected = rejected_seconds(rollouts, spans, gates, robot)
    found = None if dataset is None else analyse(dataset)
    pictures = {
        name: draw_clip(name, rollouts, spans, robot_model, film, folder)
        for name in worst_clips(rows, pictured)
    }
    save(plot_before_after(rows), folder / "before_after.png")
    drawn = [] if found is None else [p.relative_to(folder) for p in draw_analysis(found, folder)]
    _write_csv(rejected, folder / "rejected.csv")
    content = {
        "decision": decide(0.0 if found is None else found.best_s),
        "clips": [{**_plain(asdict(row)), "good_s": row.good_s} for row in rows],
        "rejected": [asdict(one) for one in rejected],
        "dataset": None if found is None else found.as_dict(),
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    parts = [
        "# Reference motion",
        f"**{_decision(found)}**",
        summary(generation),
        *([] if dataset is None else [_identity(generation)]),
        "## Clip by clip",
        COMPARISON_NOTE,
        comparison_table(rows),
        "## Before and after",
        before_after_table(rows),
        "![penetration, slip and joint stops, before and after](before_after.png)",
        "## Rejected",
        f"Seconds outside the tiers {' and '.join(GOOD_TIERS)}, with the gates that refused them; "
        "neighbours with the same reasons are joined here, rejected.csv has every second.",
        rejected_table(rejected),
        rejection_table(generation),
        *([] if found is None else ["## Dataset", analysis_markdown(found, drawn)]),
        "## Pictures",
        "Orange: the simulated robot; blue: its clip as a ghost, moved aside (policies have none).",
        *gallery(pictures, len({row.clip for row in rows}), folder),
        *([] if dataset is None else ["## Segments", _segment_table(generation)]),
    ]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def clip_table(generation: Generation) -> str:
    """Markdown table: a row per clip, what went in, what was accepted, how, and why not more."""
    rows = [
        "| clip | in s | accepted s | segments | survival | pushed by 0.36 N s | v m/s | of clip "
        "| load mg | harness force p95 mg | torque p95 mgh | joint error rad | slip p95 m/s "
        "| first rejection |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {c.name} | {c.seconds_in:.2f} | {c.seconds_accepted:.2f} | {c.num_segments} "
        f"| {c.survival:.0%} | {_share(c.survival_pushed)} "
        f"| {c.speed:.3f} | {_number(c.clip_speed)} | {c.load_mean:.2f} "
        f"| {c.force_share:.3f} | {c.torque_share:.3f} "
        f"| {_number(c.joint_error)} | {c.slip:.3f} | {c.first_failure} |"
        for c in generation.clips
    ]
    return "\n".join(rows)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def rejection_table(generation: Generation) -> str:
    """Markdown table: how many stretches each gate rejected."""
    rows = ["| gate | rejected stretches |", "|---|---|"]
    rows += [f"| {name} | {count} |" for name, count in generation.rejections.items()]
    return "\n".join(rows)


def summary(generation: Generation) -> str:
    """One line: seconds accepted of seconds in, segments, clips."""
    total = sum(clip.seconds_in for clip in generation.clips)
    segments = sum(clip.num_segments for clip in generation.clips)
    used = sum(clip.num_segments > 0 for clip in generation.clips)
    return (
        f"accepted {generation.seconds_accepted:.1f} s of {total:.1f} s in {segments} segments "
        f"from {used} of {len(generation.clips)} clips; {generation.windows} windows judged"
    )


def markdown(generation: Generation) -> str:
    """The account without pictures: summary, dataset, clips, rejections, gates."""
    parts = ["# Reference motion", summary(generation)]
    if generation.dataset is not None:
        parts.append(_identity(generation))
    parts += ["## Clips", clip_table(generation)]
    parts += ["## Rejections", rejection_table(generation)]
    if generation.dataset is not None:
        parts += ["## Segments", _segment_table(generation)]
    return "\n\n".join(parts) + "\n"


def _identity(generation: Generation) -> str:
    dataset = generation.dataset
    assert dataset is not None
    return (
        f"Content {dataset.content_hash[:16]}, robot {dataset.robot_digest}, features "
        f"{dataset.amp_layout.digest}, {dataset.num_frames} frames of {dataset.ctrl_dt:g} s, "
        f"physics {dataset.manifest['config']['physics']}."
    )


def _segment_table(generation: Generation) -> str:
    dataset = generation.dataset
    assert dataset is not None
    columns = ("load_mean", "support_force_p90", "support_torque_p95", "pitch_p95", "roll_p95",
               "slip_share", "double_support", "alternation", "joint_error")  # fmt: skip
    body = []
    for i, segment in enumerate(dataset.manifest["segments"]):
        values = (segment["metrics"].get(name) for name in columns)
        start = segment["clip_frame"] * dataset.ctrl_dt
        body.append(
            (
                dataset.segment_clip[i],
                f"{start:.2f}",
                f"{segment['frames'] * dataset.ctrl_dt:.2f}",
                f"{float(dataset.segment_velocity[i]):.3f}",
                f"{float(dataset.segment_weight[i]):.2f}",
                dataset.segment_tier[i],
                dataset.segment_support[i],
                *("-" if value is None else f"{value:.3f}" for value in values),
            )
        )
    return table(("clip", "from s", "s", "v m/s", "weight", "tier", "support", *columns), body)


def _decision(found: Analysis | None) -> str:
    return f"stop: nothing was accepted; {ADVICE['stop']}" if found is None else verdict(found)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """The same with null for what is not a number."""
    undefined = (k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v))
    return {**values, **dict.fromkeys(undefined)}


def _write_csv(rejected: Sequence[RejectedSecond], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "way", "second", "rejected_s", "kept_as", "gates", "reason"))
        for one in rejected:
            seconds, gates = f"{one.rejected_s:.2f}", " ".join(one.gates)
            writer.writerow(
                (one.clip, one.way, one.second, seconds, one.kept_as, gates, one.reason)
            )
