"""The account of a reference generation: one folder of markdown, numbers and pictures."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor, rad2deg

from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.reference.config import CTRL_DT
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GOOD_TIERS, TIERS
from wildrobot_torch.reference.judge.selection import Rejection
from wildrobot_torch.reference.report.analysis import analyse, analysis_markdown
from wildrobot_torch.reference.report.comparison import (
    NOTE,
    Row,
    Span,
    before_after_table,
    clip_table,
    rejected_table,
    rejection_table,
    summary,
    worst_clips,
)
from wildrobot_torch.render.film import RenderConfig, beside, film_strip
from wildrobot_torch.render.gl import available_platform

TIER_COLORS: dict[str, str] = dict(
    zip(TIERS, ("#1a7f37", "#7cc576", "#e3b341", "#9a9a9a"), strict=True)
)
REJECTED_COLOR, FALLEN_COLOR = "#f2b8b5", "#555555"
PANELS = (0.35, 1.0, 1.0, 1.0, 0.6, 1.0)
"""Heights of the panels over time, relative."""
STRIP = RenderConfig(width=288, height=224)
"""Size of a picture on a film strip."""


def write_generation_report(
    folder: Path,
    generation: Generation,
    rows: Sequence[Row],
    robot_model: RobotModel,
    *,
    pictured: int,
    film: RenderConfig = STRIP,
) -> Path:
    """Write report.md, report.json, rejected.csv and pictures into a folder; returns the first.

    Args:
        folder: made if it is not there; files of an earlier report are overwritten.
        generation: what was made; it has a dataset.
        rows: of `compare`.
        robot_model: the robot that was simulated.
        pictured: most clips to draw; those of which least was accepted go first.
        film: size and renderer of the film strips' pictures.
    """
    dataset = generation.dataset
    assert dataset is not None
    folder.mkdir(parents=True, exist_ok=True)
    if film.renderer == "auto" and available_platform() is None:
        film = replace(film, renderer="software")
    found = analyse(dataset)
    shown = worst_clips(rows, pictured)
    gallery = []
    for row in (row for row in rows if row.clip in shown and not math.isnan(row.survival)):
        paths = _draw(row, generation.rollouts[row.method], robot_model, film, folder)
        gallery += [f"![{path.stem}]({path.relative_to(folder).as_posix()})" for path in paths]
    _write_csv(generation.rejected, folder / "rejected.csv")
    content = {
        "clips": [asdict(row) for row in rows],
        "rejected": [asdict(rejection) for rejection in generation.rejected],
        "segments": dataset.manifest["segments"],
        "dataset": found.as_dict(),
    }
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    parts = [
        "# Reference motion",
        summary(generation),
        f"Content {dataset.content_hash[:16]}, robot {dataset.robot_digest}, features "
        f"{dataset.amp_layout.digest}, {dataset.num_frames} frames of {CTRL_DT:g} s, physics "
        f"{dataset.manifest['config']['physics']}.",
        analysis_markdown(found),
        "## Clip by clip",
        NOTE,
        clip_table(rows),
        "## Before and after",
        before_after_table(rows),
        "## Rejected",
        rejected_table(generation.rejected),
        rejection_table(generation),
        "## Pictures",
        f"The {len(shown)} clips with the least motion in the tiers {' and '.join(GOOD_TIERS)}. "
        "Orange: the simulated robot; blue: its clip as a ghost, moved aside (policies have none).",
        *gallery,
    ]
    path = folder / "report.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _draw(
    row: Row,
    rollouts: Sequence[Rollout],
    robot_model: RobotModel,
    film: RenderConfig,
    folder: Path,
) -> list[Path]:
    """Pictures of one clip and method: everything over time, and a film strip."""
    made = [r for r in rollouts if r.task.clip.name == row.clip]
    stem = re.sub(r"[^\w.+-]", "_", f"{row.clip}_{row.method}")
    paths = [folder / "clips" / f"{stem}.png"]
    paths[0].parent.mkdir(exist_ok=True)
    figure = plot_rollouts(made, row.spans, robot_model.robot.to("cpu"))
    FigureCanvasAgg(figure).print_png(str(paths[0]))
    if made[0].num_frames:
        paths.append(folder / "clips" / f"{stem}_film.png")
        Image.fromarray(ghost_strip(made[0], row.spans, robot_model, film)).save(paths[-1])
    return paths


def plot_rollouts(made: Sequence[Rollout], spans: Sequence[Span], robot: RobotSpec) -> Figure:
    """One clip over time: tiers, load, harness, tilt, contacts, slip.

    Args:
        made: its rollouts by one method, the first of which shows contacts.
        spans: what was accepted of it.
        robot: the robot.
    """
    clip, dt = made[0].task.clip, made[0].recording.ctrl_dt
    figure = Figure(figsize=(8.5, 8.5), dpi=100, layout="constrained")
    panels = np.asarray(figure.subplots(len(PANELS), sharex=True, height_ratios=PANELS))
    tiers, *_, contacts, _ = panels
    figure.suptitle(f"{clip.name}, {made[0].method}", fontsize=10)
    reached = max(r.task.first_frame + r.num_frames for r in made)
    tiers.axvspan(0.0, reached * dt, color=REJECTED_COLOR, linewidth=0)
    tiers.axvspan(reached * dt, clip.duration_s, color=FALLEN_COLOR, linewidth=0)
    for span in spans:
        tiers.axvspan(span.start * dt, span.stop * dt, color=TIER_COLORS[span.tier], linewidth=0.5)
    tiers.set_yticks([])
    for rollout in made:
        time = (rollout.task.first_frame + 1 + np.arange(rollout.num_frames)) * dt
        for axis, series in zip(panels[[1, 2, 3, 5]], _series(rollout, robot), strict=True):
            for number, (name, values) in enumerate(series.items()):
                label = name if rollout is made[0] else None
                axis.plot(time, values[:, 0].numpy(), f"C{number}", linewidth=0.9, label=label)
    loaded = made[0].recording.loaded(robot)[:, 0].numpy()
    time = (made[0].task.first_frame + 1 + np.arange(len(loaded))) * dt
    for foot in range(2):
        bar = (1.1 - foot, 1.9 - foot)
        contacts.fill_between(time, *bar, where=loaded[:, foot], color=f"C{foot}", step="post")
    contacts.set_yticks([1.5, 0.5], ["left", "right"], fontsize=8)
    labels = ("tier", "load\n[m g]", "harness\n[m g], [m g h]", "tilt [deg]", "loaded\nfoot",
              "slip of loaded\nfoot [m/s]")  # fmt: skip
    for axis, label in zip(panels, labels, strict=True):
        axis.set_ylabel(label, fontsize=9)
    for axis in panels[[1, 2, 3, 5]]:
        axis.legend(fontsize=8, loc="upper right", ncols=2, framealpha=0.8)
        axis.grid(axis="y", linewidth=0.3)
    panels[-1].set_xlabel("time in the clip [s]")
    panels[-1].set_xlim(0.0, clip.duration_s)
    colors = {f"tier {tier}": TIER_COLORS[tier] for tier in TIERS}
    colors |= {"rejected": REJECTED_COLOR, "fell": FALLEN_COLOR}
    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _series(rollout: Rollout, robot: RobotSpec) -> list[dict[str, Tensor]]:
    """Lines (T, 1) of the panels for load, harness, tilt and slip."""
    recording = rollout.recording
    roll, pitch = recording.roll_pitch
    slip = recording.sole_speed.masked_fill(~recording.loaded(robot), math.nan)
    force, torque = recording.support_force(robot), recording.support_torque(robot)
    return [
        {"both feet": recording.load(robot)},
        {"force [m g]": force, "torque [m g h]": torque},
        {"pitch": rad2deg(pitch), "roll": rad2deg(roll)},
        {"left": slip[..., 0], "right": slip[..., 1]},
    ]


def ghost_strip(
    rollout: Rollout, spans: Sequence[Span], robot_model: RobotModel, film: RenderConfig
) -> np.ndarray:
    """Film strip (H, W, 3) uint8 of a rollout, the clip's ghost beside the robot.

    What a policy did is its own clip: without a ghost.

    Args:
        rollout: of at least one frame.
        spans: what was accepted of it; captions say so.
        robot_model: the robot, in its scene.
        film: size of each picture, and renderer.
    """
    task, number = rollout.task, rollout.num_frames
    clip = clip_states(task.clip, robot_model.robot)[0].double().numpy()
    captions = []
    for index in range(task.first_frame, task.first_frame + number):
        tier = next((f"tier {s.tier}" for s in spans if s.start <= index < s.stop), "rejected")
        captions.append(f"{(index + 1) * CTRL_DT:.2f} s, {tier}")
    return film_strip(
        robot_model.model,
        rollout.recording.qpos[:, 0].double().numpy(),
        None if task.command is not None else beside(clip[task.first_frame + 1 :][:number]),
        CTRL_DT,
        film,
        captions,
    )


def _plain(value: object) -> object:
    """The same content with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_csv(rejected: Sequence[Rejection], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "from_s", "seconds", "gates", "reason"))
        for r in rejected:
            times = (f"{frames * CTRL_DT:.2f}" for frames in (r.clip_frame - 1, r.frames))
            writer.writerow((r.clip, *times, " ".join(r.gates), r.reason))
