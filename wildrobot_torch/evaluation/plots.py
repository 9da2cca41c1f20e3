"""Pictures of an evaluation: velocity, contacts, joints over the stride, heading."""

from __future__ import annotations

from collections.abc import Callable
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
    draw: dict[str, Callable[[EvaluationResult, RobotSpec], Figure]] = {
        "velocity": plot_velocity,
        "contacts": plot_contacts,
        "joints": plot_joints,
        "heading": plot_heading,
    }
    paths = []
    for name, function in draw.items():
        figure = function(result, robot)
        paths.append(folder / f"{name}.png")
        FigureCanvasAgg(figure).print_png(str(paths[-1]))
    return paths


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, sharex="col"))


def _commands(result: EvaluationResult) -> list[tuple[float, Recording]]:
    """The episodes of each command."""
    recording = result.recording
    return [
        (command, recording.select(recording.command == torch.tensor(command)))
        for command in dict.fromkeys(result.scenario.commands)
    ]


def _masked(values: torch.Tensor, valid: torch.Tensor) -> np.ndarray:
    return torch.where(valid, values, torch.full_like(values, torch.nan)).numpy()


def _time(recording: Recording) -> np.ndarray:
    return (np.arange(recording.num_steps) + 1) * recording.ctrl_dt


def plot_velocity(result: EvaluationResult, robot: RobotSpec) -> Figure:
    """Forward velocity over time per command: median and 10th to 90th percentile of episodes."""
    groups = _commands(result)
    figure, axes = _figure(len(groups), 1, 8.0, 1.0 + 1.4 * len(groups))
    for (command, recording), axis in zip(groups, axes[:, 0], strict=True):
        alive = recording.valid.any(1).numpy()
        velocity = _masked(recording.velocity, recording.valid)[alive]
        time = _time(recording)[alive]
        low, middle, high = np.nanpercentile(velocity, [10, 50, 90], axis=1)
        axis.fill_between(time, low, high, alpha=0.3, linewidth=0)
        axis.plot(time, middle, linewidth=0.8)
        axis.axhline(command, color="black", linestyle="--", linewidth=0.8)
        axis.axvline(result.scenario.settle_s, color="grey", linestyle=":", linewidth=0.8)
        axis.set_ylabel("v_x [m/s]")
        axis.set_title(f"command {command:g} m/s", fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("time [s]")
    return figure


def plot_contacts(result: EvaluationResult, robot: RobotSpec) -> Figure:
    """Stance of both feet over some seconds of the longest episode per command."""
    groups = _commands(result)
    figure, axes = _figure(len(groups), 1, 8.0, 1.0 + 0.8 * len(groups))
    start_s = result.scenario.settle_s
    for (command, recording), axis in zip(groups, axes[:, 0], strict=True):
        longest = int(recording.valid.sum(0).argmax())
        standing = gait.stance(recording.loaded(robot), recording.valid, recording.ctrl_dt)
        standing = standing[:, longest]
        time = _time(recording)
        for row, (side, color) in enumerate(SIDES):
            on = standing[:, row].numpy()
            axis.fill_between(time, 1.1 - row, 1.9 - row, where=on, color=color, step="post")
            axis.text(start_s - 0.02, 1.5 - row, side, ha="right", va="center", fontsize=8)
        axis.set_xlim(start_s, start_s + RASTER_S)
        axis.set_yticks([])
        axis.set_title(f"command {command:g} m/s", fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("time [s]; coloured: the foot stands")
    return figure


def plot_joints(result: EvaluationResult, robot: RobotSpec) -> Figure:
    """Joint velocity over joint angle in the longest episode at the middle command."""
    groups = sorted(_commands(result), key=lambda group: group[0])
    command, recording = groups[len(groups) // 2]
    longest = int(recording.valid.sum(0).argmax())
    settled = recording.settled(result.scenario.settle_s)[:, longest]
    angle = torch.rad2deg(recording.joint_pos(robot)[settled, longest])
    speed = recording.joint_vel(robot)[settled, longest]
    joints = [name.removeprefix("left_") for name in robot.joint_names if name.startswith("left_")]
    figure, axes = _figure(1, len(joints), 3.0 * len(joints), 3.2)
    figure.suptitle(f"command {command:g} m/s; right side mirrored to left", fontsize=9)
    for joint, axis in zip(joints, axes[0], strict=True):
        for side, color in SIDES:
            index = robot.joint_names.index(f"{side}_{joint}")
            sign = 1.0 if side == "left" else float(robot.mirror_sign[index])
            axis.plot(
                sign * angle[:, index],
                sign * speed[:, index],
                color=color,
                linewidth=0.5,
                label=side,
            )
        axis.set_title(joint, fontsize=9)
        axis.set_xlabel("angle [deg]")
    axes[0, 0].set_ylabel("speed [rad/s]")
    axes[0, 0].legend(fontsize=8)
    return figure


def plot_heading(result: EvaluationResult, robot: RobotSpec) -> Figure:
    """Paths of all episodes from above, and their headings over time, coloured by command."""
    figure = Figure(figsize=(10.0, 4.0), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    groups = _commands(result)
    for index, (command, recording) in enumerate(groups):
        color = f"C{index}"
        x, y = (_masked(recording.qpos[..., k], recording.valid) for k in (0, 1))
        turn = np.rad2deg(np.unwrap(recording.yaw.numpy(), axis=0))
        turn = np.where(recording.valid.numpy(), turn, np.nan)
        left.plot(x, y, color=color, linewidth=0.4)
        right.plot(_time(recording), turn, color=color, linewidth=0.4)
        _label(left, color, f"{command:g} m/s")
    left.set_aspect("equal", adjustable="datalim")
    left.set_xlabel("x [m]")
    left.set_ylabel("y [m]")
    left.legend(fontsize=8)
    right.set_xlabel("time [s]")
    right.set_ylabel("heading [deg]")
    return figure


def _label(axis: Axes, color: str, text: str) -> None:
    """A line in the legend without a line in the picture."""
    axis.plot([], [], color=color, label=text)
