"""One clip over time, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, rad2deg

from envs.robot.spec import RobotSpec
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.judge.gates import TIERS
from wildrobot_torch.reference.report.comparison import Span

TIER_COLORS: dict[str, str] = dict(
    zip(TIERS, ("#1a7f37", "#7cc576", "#e3b341", "#9a9a9a"), strict=True)
)
REJECTED_COLOR, FALLEN_COLOR = "#f2b8b5", "#555555"
PANELS = (0.35, 1.0, 1.0, 1.0, 0.6, 1.0)
"""Heights of the panels over time, relative."""


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
