"""Pictures in the account of a generation: each clip over time, and as a film strip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from envs.robot.model import RobotModel
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.report.comparison import Row, Span
from wildrobot_torch.reference.report.plots import plot_rollouts, save
from wildrobot_torch.render.film import RenderConfig, beside, film_strip


def worst_clips(rows: Sequence[Row], number: int) -> list[str]:
    """Up to `number` clips in their order; of more, those with the least share accepted."""
    best: dict[str, float] = {}
    for row in rows:
        best[row.clip] = max(best.get(row.clip, 0.0), row.good_s)
    chosen = sorted(best, key=lambda name: best[name])[:number]
    return [name for name in best if name in chosen]


def draw_clip(
    name: str,
    rollouts: Mapping[str, Sequence[Rollout]],
    spans: Mapping[tuple[str, str], Sequence[Span]],
    robot_model: RobotModel,
    film: RenderConfig,
    folder: Path,
) -> list[Path]:
    """Pictures of one clip: everything over time, and a film strip for each way."""
    made = {
        way: mine
        for way, all_made in rollouts.items()
        if (mine := [r for r in all_made if r.task.clip.name == name])
    }
    robot, stem = robot_model.robot.to("cpu"), _file_name(name)
    accepted = {way: spans[name, way] for way in made}
    figure = plot_rollouts(made, accepted, robot)
    paths = [save(figure, folder / "clips" / f"{stem}.png")]
    for way, mine in made.items():
        if mine[0].num_frames:
            path = folder / "clips" / f"{stem}_{_file_name(way)}.png"
            strip = ghost_strip(mine[0], accepted[way], robot_model, film)
            Image.fromarray(strip).save(path)
            paths.append(path)
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
    task, dt, number = rollout.task, rollout.recording.ctrl_dt, rollout.num_frames
    robot = robot_model.robot.to("cpu")
    clip = clip_states(task.clip, robot)[0].double().numpy()
    captions = []
    for index in range(task.start, task.start + number):
        tier = next((f"tier {s.tier}" for s in spans if s.start <= index < s.stop), "rejected")
        captions.append(f"{(index + 1) * dt:.2f} s, {tier}")
    return film_strip(
        robot_model.model,
        rollout.recording.qpos[:, 0].double().numpy(),
        None if task.command is not None else beside(clip[task.start + 1 :][:number]),
        dt,
        film,
        captions,
    )


def gallery(pictures: Mapping[str, Sequence[Path]], number: int, folder: Path) -> list[str]:
    """Markdown of the pictures, clip by clip; says so where not all `number` clips are shown."""
    parts = []
    if len(pictures) < number:
        parts.append(
            f"Of {number} clips, the {len(pictures)} of which least was accepted are shown."
        )
    for name, paths in pictures.items():
        parts.append(f"### {name}")
        parts += [f"![{path.stem}]({path.relative_to(folder).as_posix()})" for path in paths]
    return parts


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)
