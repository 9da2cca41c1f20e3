"""The account of a reference generation: one folder of markdown, numbers and pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from PIL import Image

from envs.robot.model import RobotModel
from wildrobot_torch.files import to_json
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.reference.config import CTRL_DT
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GOOD_TIERS
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
    """Write report.md, report.json and pictures into a folder; returns the first.

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
    for row in (row for row in rows if row.clip in shown and row.method in generation.rollouts):
        made = generation.rollouts[row.method]
        rollout = next(r for r in made if r.task.clip.name == row.clip)
        if rollout.num_frames:
            name = re.sub(r"[^\w.+-]", "_", f"{row.clip}_{row.method}")
            (folder / "clips").mkdir(exist_ok=True)
            strip = ghost_strip(rollout, row.spans, robot_model, film)
            Image.fromarray(strip).save(folder / "clips" / f"{name}.png")
            gallery.append(f"![{name}](clips/{name}.png)")
    content = {
        "clips": [asdict(row) for row in rows],
        "rejected": [asdict(rejection) for rejection in generation.rejected],
        "segments": dataset.manifest["segments"],
        "dataset": found.as_dict(),
    }
    (folder / "report.json").write_text(to_json(content), encoding="utf-8")
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


def ghost_strip(
    rollout: Rollout, spans: Sequence[Span], robot_model: RobotModel, film: RenderConfig
) -> np.ndarray:
    """Film strip (H, W, 3) uint8 of a rollout, the clip's ghost beside the robot.

    Captions say what was accepted. What a policy did is its own clip: without a ghost.
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
