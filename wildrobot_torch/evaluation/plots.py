"""Pictures of an evaluation: velocity over time, and when the feet stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.evaluate import EvaluationResult
from wildrobot_torch.motion import gait

SIDES = (("left", "tab:blue"), ("right", "tab:orange"))
RASTER_S = 4.0
"""Stretch of time the contact raster shows [s]."""


def write_plots(result: EvaluationResult, robot: RobotSpec, folder: Path) -> list[Path]:
    """Write the plots as PNG into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"velocity": plot_velocity(result), "contacts": plot_contacts(result, robot)}
    for name, figure in figures.items():
        FigureCanvasAgg(figure).print_png(str(folder / f"{name}.png"))
    return [folder / f"{name}.png" for name in figures]


def _rows(
    result: EvaluationResult, height: float
) -> tuple[Figure, Iterator[tuple[Axes, float, Recording, np.ndarray]]]:
    """A figure with a row per command, and each row's axis, command, episodes and time [s]."""
    commands, recording = tuple(dict.fromkeys(result.scenario.commands)), result.recording
    figure = Figure((8.0, 1.0 + height * len(commands)), dpi=100, layout="constrained")
    axes = figure.subplots(len(commands), 1, squeeze=False, sharex="col")[:, 0]
    time = (np.arange(recording.num_steps) + 1) * recording.ctrl_dt
    axes[-1].set_xlabel("time [s]")
    for command, axis in zip(commands, axes, strict=True):
        axis.set_title(f"command {command:g} m/s", fontsize=9, loc="left")
    parts = (recording.select(recording.command == torch.tensor(c)) for c in commands)
    return figure, ((a, c, r, time) for a, c, r in zip(axes, commands, parts, strict=True))


def plot_velocity(result: EvaluationResult) -> Figure:
    """Forward velocity over time per command: median and 10th to 90th percentile of episodes."""
    figure, rows = _rows(result, height=1.4)
    for axis, command, recording, time in rows:
        alive = recording.valid.any(1).numpy()
        velocity = recording.velocity.masked_fill(~recording.valid, torch.nan).numpy()[alive]
        low, middle, high = np.nanpercentile(velocity, [10, 50, 90], axis=1)
        axis.fill_between(time[alive], low, high, alpha=0.3, linewidth=0)
        axis.plot(time[alive], middle, linewidth=0.8)
        axis.axhline(command, color="black", linestyle="--", linewidth=0.8)
        axis.axvline(result.scenario.settle_s, color="grey", linestyle=":", linewidth=0.8)
        axis.set_ylabel("v_x [m/s]")
    return figure


def plot_contacts(result: EvaluationResult, robot: RobotSpec) -> Figure:
    """Stance of both feet over some seconds of the longest episode per command."""
    figure, rows = _rows(result, height=0.8)
    start_s = result.scenario.settle_s
    for axis, _, recording, time in rows:
        longest = int(recording.valid.sum(0).argmax())
        standing = gait.stance(recording.loaded(robot), recording.valid, recording.ctrl_dt)
        draw_contacts(axis, standing[:, longest].numpy(), time)
        axis.set_xlim(start_s, start_s + RASTER_S)
    return figure


def draw_contacts(axis: Axes, standing: np.ndarray, time: np.ndarray) -> None:
    """A band where each foot stands (T, 2) bool, over time (T,) [s]."""
    for row, (_, color) in enumerate(SIDES):
        on = standing[:, row]
        axis.fill_between(time, 1.1 - row, 1.9 - row, where=on, color=color, step="post")
    axis.set_ylim(0.0, 2.0)
    axis.set_yticks([1.5, 0.5], [side for side, _ in SIDES], fontsize=8)
