"""Pictures of reference motion: rollouts over time, before and after, what a dataset covers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, rad2deg

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.metrics import SLIPPING, UNLOADED
from wildrobot_torch.reference.follow.rollout import Rollout
from wildrobot_torch.reference.judge.gates import TIERS
from wildrobot_torch.reference.report.analysis import (
    CAUTION_S,
    DURATION_EDGES,
    GO_S,
    GOOD_TIERS,
    SPEED_BIN,
    Analysis,
)
from wildrobot_torch.reference.report.comparison import CLIP, ORIGINAL, Row, Span

TIER_COLORS: dict[str, str] = dict(
    zip(TIERS, ("#1a7f37", "#7cc576", "#e3b341", "#9a9a9a"), strict=True)
)
REJECTED_COLOR, FALLEN_COLOR = "#f2b8b5", "#555555"
SIDES = (("left", "tab:blue"), ("right", "tab:orange"))
WAY_COLORS = ("tab:blue", "tab:red", "tab:purple", "tab:cyan")
CLIP_COLORS = {ORIGINAL: "#bbbbbb", CLIP: "#555555"}
PANELS = (0.35, 1.0, 1.0, 1.0, 0.6, 1.0)
"""Heights of the panels over time, relative."""


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path


def plot_rollouts(
    made: Mapping[str, Sequence[Rollout]], spans: Mapping[str, Sequence[Span]], robot: RobotSpec
) -> Figure:
    """One clip over time, a column per way: tiers, load, harness, tilt, contacts, slip.

    Args:
        made: way -> its rollouts of this clip, the first of which shows contacts.
        spans: way -> what was accepted of it.
        robot: the robot.
    """
    figure = Figure(figsize=(1.5 + 7.0 * len(made), 8.5), dpi=100, layout="constrained")
    axes = np.asarray(
        figure.subplots(
            len(PANELS),
            len(made),
            squeeze=False,
            sharex="all",
            sharey="row",
            height_ratios=PANELS,
        )
    )
    for column, (way, mine) in zip(axes.T, made.items(), strict=True):
        column[0].set_title(f"{mine[0].task.clip.name}, {way}", fontsize=10)
        _tiers(column[0], mine, spans[way])
        for rollout in mine:
            _series(column, rollout, robot, first=rollout is mine[0])
        _contacts(column[4], mine[0], robot)
        column[-1].set_xlabel("time in the clip [s]")
        column[-1].set_xlim(0.0, mine[0].task.clip.duration_s)
    # A slack harness is a line at zero, not noise blown up to the panel's height; and legends
    # stand above the lines.
    for row, least in ((1, 1.2), (2, 0.05), (5, 0.2)):
        highest = [axis.dataLim.y1 for axis in axes[row] if np.isfinite(axis.dataLim.y1)]
        axes[row, 0].set_ylim(0.0, 1.3 * max([least, *highest]))
    low, high = axes[3, 0].get_ylim()
    axes[3, 0].set_ylim(low, high + 0.3 * (high - low))
    labels = ("tier", "load [m g]", "harness\n[m g], [m g h]", "tilt [deg]", "loaded\nfoot",
              "slip of loaded\nfoot [m/s]")  # fmt: skip
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=9)
    for axis in axes[[1, 2, 3, 5], -1]:
        axis.legend(fontsize=8, loc="upper right", ncols=2, framealpha=0.8)
    shown = [Patch(color=TIER_COLORS[tier], label=f"tier {tier}") for tier in TIERS]
    shown += [
        Patch(color=REJECTED_COLOR, label="rejected"),
        Patch(color=FALLEN_COLOR, label="fell"),
    ]
    figure.legend(handles=shown, loc="outside lower center", ncols=len(shown), fontsize=8)
    return figure


def _tiers(axis: Axes, mine: Sequence[Rollout], spans: Sequence[Span]) -> None:
    """A bar over the whole clip: accepted by tier, rejected, fallen."""
    dt, total = mine[0].recording.ctrl_dt, mine[0].task.clip.num_frames - 1
    reached = max(r.task.start + r.num_frames for r in mine)
    axis.axvspan(0.0, reached * dt, color=REJECTED_COLOR, linewidth=0)
    if reached < total:
        axis.axvspan(reached * dt, total * dt, color=FALLEN_COLOR, linewidth=0)
    for span in spans:
        axis.axvspan(span.start * dt, span.stop * dt, color=TIER_COLORS[span.tier], linewidth=0.5)
    axis.set_yticks([])


def _series(column: Sequence[Axes], rollout: Rollout, robot: RobotSpec, first: bool) -> None:
    recording = rollout.recording
    time = _time(rollout)

    def draw(axis: Axes, values: Tensor, color: str, label: str, style: str = "-") -> None:
        axis.plot(
            time, values.numpy(), style, color=color, linewidth=0.9, label=label if first else None
        )

    if first:
        for level in (1.0, UNLOADED):
            column[1].axhline(level, color="grey", linestyle=":", linewidth=0.8)
        column[5].axhline(SLIPPING, color="grey", linestyle=":", linewidth=0.8)
        column[3].axhline(0.0, color="grey", linestyle=":", linewidth=0.8)
    draw(column[1], recording.load(robot)[:, 0], "black", "both feet")
    draw(column[2], recording.support_force(robot)[:, 0], "tab:red", "force [m g]")
    draw(column[2], recording.support_torque(robot)[:, 0], "tab:purple", "torque [m g h]", "--")
    roll, pitch = recording.roll_pitch
    draw(column[3], rad2deg(pitch[:, 0]), "tab:green", "pitch")
    draw(column[3], rad2deg(roll[:, 0]), "tab:brown", "roll")
    speed = recording.sole_speed.masked_fill(~recording.loaded(robot), math.nan)[:, 0]
    for foot, (side, color) in enumerate(SIDES):
        draw(column[5], speed[:, foot], color, side)


def _contacts(axis: Axes, rollout: Rollout, robot: RobotSpec) -> None:
    loaded = rollout.recording.loaded(robot)[:, 0].numpy()
    for foot, (_, color) in enumerate(SIDES):
        axis.fill_between(
            _time(rollout), 1.1 - foot, 1.9 - foot, where=loaded[:, foot], color=color, step="post"
        )
    axis.set_ylim(0.0, 2.0)
    axis.set_yticks([1.5, 0.5], [side for side, _ in SIDES], fontsize=8)


def _time(rollout: Rollout) -> np.ndarray:
    """Time in the clip of each frame [s]."""
    number = np.arange(rollout.num_frames)
    return (rollout.task.start + 1 + number) * rollout.recording.ctrl_dt


def plot_before_after(rows: Sequence[Row]) -> Figure:
    """Penetration, slip and joint stops of every clip, and of what the robot made of it."""
    clips = list(dict.fromkeys(row.clip for row in rows))
    ways = list(dict.fromkeys(row.way for row in rows))
    figure = Figure(figsize=(12.0, 1.8 + 0.26 * len(clips)), dpi=100, layout="constrained")
    axes = np.asarray(figure.subplots(1, 3, sharey=True))
    simulated = [way for way in ways if way not in CLIP_COLORS]
    colors = CLIP_COLORS | dict(zip(simulated, WAY_COLORS * len(simulated), strict=False))
    values = {
        "penetration [mm]": lambda row: 1e3 * row.penetration,
        "slip of standing soles, p95 [m/s]": lambda row: row.slip_p95,
        "frames on a joint stop, worst joint [%]": lambda row: 1e2 * row.joint_stop,
    }
    for axis, (label, value) in zip(axes, values.items(), strict=True):
        for place, way in enumerate(ways):
            mine = [row for row in rows if row.way == way]
            y = [clips.index(row.clip) + 0.16 * (place - (len(ways) - 1) / 2) for row in mine]
            marker = "D" if way in CLIP_COLORS else "o"
            axis.plot([value(row) for row in mine], y, marker, color=colors[way], label=way,
                      markersize=5)  # fmt: skip
        axis.set_xlabel(label, fontsize=9)
        axis.set_xlim(left=-0.03 * max(axis.get_xlim()[1], 1e-3))
        axis.grid(axis="y", linewidth=0.3)
    axes[0].set_yticks(range(len(clips)), clips, fontsize=8)
    axes[0].set_ylim(len(clips) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(ways), fontsize=9)
    return figure


def plot_coverage(found: Analysis) -> Figure:
    """Seconds per tier, per speed and per clip, and how long segments are."""
    tall = max(3.2, 0.2 * len(found.clips))
    figure = Figure(figsize=(12.0, 4.2 + tall), dpi=100, layout="constrained")
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=(4.0, tall)))
    tiers, speeds, durations = upper.subplots(1, 3)
    bottom = dict.fromkeys(found.seconds, 0.0)
    for support, hatch in (("none", ""), ("harness", "//")):
        for tier, by in found.seconds.items():
            if by.get(support):
                tiers.bar(tier, by[support], bottom=bottom[tier], color=TIER_COLORS[tier],
                          hatch=hatch, edgecolor="white")  # fmt: skip
                bottom[tier] += by[support]
    for level, word in ((GO_S, "go"), (CAUTION_S, "caution")):
        tiers.axhline(level, color="grey", linestyle=":", linewidth=0.8)
        tiers.text(0.99, level, word, transform=tiers.get_yaxis_transform(), ha="right",
                   va="bottom", fontsize=8)  # fmt: skip
    tiers.set_ylim(0.0, 1.1 * max(GO_S, *bottom.values()))
    tiers.set_xlabel(f"tier (hatched: harness); {GOOD_TIERS[0]} decides", fontsize=9)
    tiers.set_ylabel("motion [s]")
    _stacked(speeds, found)
    edges = [f"{edge:g}" for edge in DURATION_EDGES[:-1]]
    names = [f"{a} to {b}" for a, b in pairwise(edges)] + [f"over {edges[-1]}"]
    durations.bar(names, found.durations, color="tab:blue")
    durations.tick_params(axis="x", rotation=40, labelsize=8)
    durations.set_xlabel("length of a segment [s]", fontsize=9)
    durations.set_ylabel("segments")
    durations.yaxis.get_major_locator().set_params(integer=True)
    axis = lower.subplots()
    left = np.zeros(len(found.clips))
    names = [clip.name for clip in found.clips]
    for tier in found.seconds:
        width = np.array([clip.seconds.get(tier, 0.0) for clip in found.clips])
        axis.barh(names, width, left=left, color=TIER_COLORS[tier])
        left += width
    for row, clip in enumerate(found.clips):
        axis.text(left[row], row, f" {clip.speed:.2f} m/s, {clip.batch_share:.0%} of a minibatch",
                  va="center", fontsize=7)  # fmt: skip
    axis.set_xlim(0.0, 1.25 * left.max())
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("accepted motion per clip [s]; colours as above")
    return figure


def _stacked(axis: Axes, found: Analysis) -> None:
    bins = len(next(iter(found.speeds.values())))
    centers = found.speed_low + SPEED_BIN * (np.arange(bins) + 0.5)
    bottom = np.zeros(bins)
    for tier, seconds in found.speeds.items():
        axis.bar(centers, seconds, 0.9 * SPEED_BIN, bottom, color=TIER_COLORS[tier],
                 label=f"tier {tier}")  # fmt: skip
        bottom += np.array(seconds)
    axis.set_xlabel("mean forward speed of the segment [m/s]", fontsize=9)
    axis.set_ylabel("motion [s]")
    axis.legend(fontsize=8)


def plot_features(found: Analysis) -> Figure:
    """Every feature: mean, one standard deviation either way, and range; red: hardly varies."""
    figure = Figure(figsize=(12.0, 6.0), dpi=100, layout="constrained")
    columns = 3
    rows = -(-len(found.blocks) // columns)
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis, block in zip(axes, found.blocks, strict=False):
        x, mean, std = np.arange(len(block.mean)), np.array(block.mean), np.array(block.std)
        axis.vlines(x, block.low, block.high, color="tab:blue", linewidth=1.0)
        axis.vlines(x, mean - std, mean + std, color="tab:blue", linewidth=7.0, alpha=0.45)
        axis.plot(x, mean, "_", color="black", markersize=10)
        flat = list(block.near_constant)
        axis.plot(x[flat], mean[flat], "x", color="red", markersize=8)
        axis.set_title(f"{block.name} [{block.unit}]", fontsize=9)
        axis.set_xticks(x)
        axis.tick_params(labelsize=8)
        axis.axhline(0.0, color="grey", linestyle=":", linewidth=0.6)
    for axis in axes[len(found.blocks) :]:
        axis.set_axis_off()
    figure.supxlabel(
        "dimension of the block; line: range, bar: mean and standard deviation, red cross: hardly "
        "varies",
        fontsize=9,
    )
    return figure
