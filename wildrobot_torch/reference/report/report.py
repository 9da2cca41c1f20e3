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
from PIL import Image

from envs.robot.model import RobotModel
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.reference.config import CTRL_DT
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GOOD_TIERS
from wildrobot_torch.reference.judge.selection import Rejection
from wildrobot_torch.reference.report.analysis import analyse
from wildrobot_torch.reference.report.analysis_report import analysis_markdown
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
from wildrobot_torch.reference.report.plots import plot_rollouts
from wildrobot_torch.render.film import RenderConfig, beside, film_strip
from wildrobot_torch.render.gl import available_platform

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
