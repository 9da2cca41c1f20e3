"""Pictures of a suite's HTML page: curves, push roses, recovery maps, contacts and falls."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape

import mujoco
import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from PIL import Image
from torch import Tensor

from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING
from wildrobot_torch.evaluation.ladder import LadderConfig, Rung, one_step_limit
from wildrobot_torch.evaluation.outcomes import EntryResult, Fall, Outcome, SuiteResult
from wildrobot_torch.evaluation.page import Picture
from wildrobot_torch.evaluation.plots import draw_contacts
from wildrobot_torch.render.film import RenderConfig, stills

TONES = (("#00548a", "o", "-"), ("#555c64", "s", ":"), ("#c05600", "^", "--"))
"""Colour, mark and line of the policy, home hold, and the policy it is held against."""
WIDTH = 3.6
"""Of a picture [in]: text of 9 points stays readable where it fills a phone's width."""
SHARES = LinearSegmentedColormap.from_list("shares", ["#f3b98a", "#f4f4f4", "#8fc1e6"])
"""Colour of a share of successes: orange none, blue all; told apart by all, and by lightness."""
MOST_FALLS, FRAMES = 6, 6
"""Most causes of falls that are filmed, and instants of each."""
MOST_RASTERS = 6
"""Most contact diagrams."""
STILL = RenderConfig(width=192, height=208, renderer="software")
"""Picture of an instant of a fall."""
_SIZE = re.compile(r"^(\D*)(\d+(?:\.\d+)?)(.*)$")


@contextmanager
def _figure(alt: str, height: float, polar: bool = False) -> Iterator[tuple[Axes, list[str]]]:
    """An axis to draw on, and a list that gets the SVG when that is done."""
    svg: list[str] = []
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "suite", "font.size": 9.0}):
        figure = Figure((WIDTH, height), layout="constrained")
        axis = figure.add_subplot(projection="polar" if polar else None)
        axis.grid(alpha=0.3, linewidth=0.6)
        yield axis, svg
        svg.append(_svg(figure, alt))


def _svg(figure: Figure, alt: str) -> str:
    """The figure as an SVG element to stand in a page among others."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Names of groups are the same in every figure; nothing refers to them.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    label = f'<svg role="img" aria-label="{escape(alt)}"'
    return re.sub(r"\n\s*", "\n", text.replace("<svg", label, 1))


def sizes(rungs: Sequence[str]) -> tuple[list[float], str] | None:
    """Numbers in the names of a family's rungs, and what they share; None where they differ more.

    "20 ms" and "40 ms" are 20 and 40 of "ms".
    """
    found = [_SIZE.match(rung) for rung in rungs]
    if len(rungs) < 2 or not all(found):
        return None
    parts = [match.groups() for match in found if match]
    units = {f"{before}{after}".strip() for before, _, after in parts}
    return ([float(number) for _, number, _ in parts], units.pop()) if len(units) == 1 else None


def families(result: SuiteResult) -> dict[str, list[EntryResult]]:
    """Family -> its entries with a success rate, where their sizes differ by a number alone."""
    found: dict[str, list[EntryResult]] = {}
    for one in result.entries:
        if one.entry.ladder is None and one.entry.rung:
            found.setdefault(one.entry.family, []).append(one)
    return {name: e for name, e in found.items() if sizes([x.entry.rung for x in e])}


def family_title(one: EntryResult) -> str:
    """Title of an entry's family."""
    return one.entry.title.removesuffix(f": {one.entry.rung}")


def curves(result: SuiteResult) -> list[Picture]:
    """Success over the size of each fault, with intervals; a line for each column."""
    pictures = []
    for entries in families(result).values():
        title = family_title(entries[0])
        numbers, unit = sizes([one.entry.rung for one in entries]) or ([], "")
        with _figure(f"Success rate over the size of: {title}", 2.6) as (axis, svg):
            # Columns stand a little apart, so that none hides another.
            apart = 0.012 * (max(numbers) - min(numbers))
            for place, column in enumerate(result.columns):
                color, mark, line = TONES[place]
                known = sorted(
                    (number + (place - 1) * apart, one.outcomes[column].rate)
                    for number, one in zip(numbers, entries, strict=True)
                    if column in one.outcomes
                )
                if not known:
                    continue
                rates = [estimate for _, estimate in known]
                axis.errorbar(
                    [number for number, _ in known], [100.0 * r.value for r in rates],
                    100.0 * np.array([[r.value - r.low, r.high - r.value] for r in rates]).T,
                    color=color, marker=mark, linestyle=line, capsize=3, markersize=4,
                    linewidth=1.3, label=column,
                )  # fmt: skip
            for number, one in zip(numbers, entries, strict=True):
                if one.entry.above is not None:
                    axis.plot(number, 100.0 * one.entry.above, "_k", markersize=18, label="target")
            axis.set(ylim=(-4.0, 104.0), ylabel="success [%]", xlabel=unit.replace("x", "times"))
            axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
            axis.set_title(title, fontsize=9.5, loc="left")
            handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            axis.legend(handles.values(), handles.keys(), fontsize=7.5, ncols=len(handles),
                        loc="upper center", bbox_to_anchor=(0.45, -0.22), columnspacing=1.0,
                        handlelength=1.8)  # fmt: skip
        pictures.append(Picture(svg[0], ""))
    return pictures


def breaks(entries: Sequence[EntryResult], column: str) -> tuple[str, str] | None:
    """Success rates by size in words, and the sizes at which fewer than half succeed."""
    known = [(e.entry.rung, e.outcomes[column].rate) for e in entries if column in e.outcomes]
    if not known:
        return None
    below = [rung for rung, estimate in known if estimate.value < 0.5]
    shown = ", ".join(f"{rung} {estimate.value:.1%}" for rung, estimate in known)
    return shown, ", ".join(below) or "none"


def roses(result: SuiteResult) -> list[Picture]:
    """Impulse recovered from by direction, of each ladder, with the one-step capture limit."""
    pictures = []
    for one in result.entries:
        found = {c: o.rungs for c, o in one.outcomes.items() if o.rungs}
        if not found:
            continue
        with _figure(f"Impulse recovered from by direction: {one.entry.title}", 3.5, True) as (
            axis, svg,
        ):  # fmt: skip
            for column, (color, mark, line) in zip(result.columns, TONES, strict=False):
                _petals(axis, found.get(column, ()), color, mark, line, column)
            rungs = next(iter(found.values()))
            angles, limits = _closed([(r.direction, r.one_step) for r in rungs])
            axis.plot(angles, limits, "k--", linewidth=1.0, label="one step's limit")
            _compass(axis, one.entry.title)
        caption = (
            "Largest impulse [N s] by where the push goes: mean over the phases of the stride, "
            "of the policy also least to most as a band."
        )
        pictures.append(Picture(svg[0], caption))
    return pictures


def _petals(
    axis: Axes, rungs: Sequence[Rung], color: str, mark: str, line: str, label: str
) -> None:
    """Mean of what was survived by direction, and for the first column the range as a band."""
    if not rungs:
        return
    angles, means = _closed([(r.direction, sum(r.survived) / len(r.survived)) for r in rungs])
    axis.plot(angles, means, color=color, marker=mark, linestyle=line, markersize=4,
              linewidth=1.3, label=label)  # fmt: skip
    if color == TONES[0][0]:
        least = _closed([(r.direction, min(r.survived)) for r in rungs])[1]
        most = _closed([(r.direction, max(r.survived)) for r in rungs])[1]
        axis.fill_between(angles, least, most, color=color, alpha=0.2, linewidth=0)


def _closed(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Angles and radii in the order of the angles, the first again at the end."""
    ordered = sorted(points)
    ordered.append((ordered[0][0] + 2.0 * math.pi, ordered[0][1]))
    return [angle for angle, _ in ordered], [radius for _, radius in ordered]


def _compass(axis: Axes, title: str) -> None:
    """Forwards at the top, the robot's left at the left."""
    assert isinstance(axis, PolarAxes)
    axis.set_theta_zero_location("N")
    axis.set_thetagrids([0.0, 90.0, 180.0, 270.0], ["forwards", "left", "back", "right"])
    axis.set_rlim(0.0)
    axis.set_rlabel_position(22.0)
    axis.tick_params(labelsize=8)
    axis.set_title(title, fontsize=9.5, loc="left")
    axis.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def push_maps(result: SuiteResult, robot_model: RobotModel) -> list[Picture]:
    """Recoveries after pushes of given sizes by direction, with the one-step capture limit."""
    policy, pictures = result.columns[0], []
    for entries in pushed(result).values():
        title = family_title(entries[0])
        with _figure(f"Recoveries by direction and impulse: {title}", 3.5, True) as (axis, svg):
            for one in entries:
                for (impulse, angle), (won, number) in counts(one, one.outcomes[policy]).items():
                    axis.scatter(angle, impulse, s=330, color=SHARES(won / number),
                                 edgecolor="#333333", linewidth=0.7, zorder=3)  # fmt: skip
                    axis.text(angle, impulse, f"{won}/{number}", fontsize=6.5, zorder=4,
                              ha="center", va="center")  # fmt: skip
            angles = np.linspace(0.0, 2.0 * math.pi, 73)
            height, config = home_com_height(robot_model), step_config(result)
            limits = [one_step_limit(a, height, robot_model.robot, config) for a in angles]
            axis.plot(angles, limits, "k--", linewidth=1.0, label="one step's limit")
            _compass(axis, title)
        caption = (
            "Episodes that succeeded of those with a push of this impulse [N s] to this side; "
            "blue all, orange none."
        )
        pictures.append(Picture(svg[0], caption))
    return pictures


def pushed(result: SuiteResult) -> dict[str, list[EntryResult]]:
    """Family -> its entries with pushes to three sides or more that the policy was run in."""
    found: dict[str, list[EntryResult]] = {}
    for one in result.entries:
        plan = one.entry.scenario.disturbances
        if plan is None or not plan.impulses or len(plan.directions) < 3:
            continue
        if one.entry.ladder is None and result.columns[0] in one.outcomes:
            found.setdefault(one.entry.family, []).append(one)
    return found


def counts(one: EntryResult, outcome: Outcome) -> dict[tuple[float, float], tuple[int, int]]:
    """(impulse, direction) -> episodes of these that succeeded, and all."""
    plan = one.entry.scenario.disturbances
    assert plan is not None
    # Which episode has which push does not depend on the control step.
    schedule = plan.schedule(torch.arange(len(outcome.success)), 0.02)
    pairs = list(zip(schedule.impulse.tolist(), schedule.direction.tolist(), strict=True))
    flags = outcome.success.tolist()
    return {
        pair: (
            sum(flag for flag, other in zip(flags, pairs, strict=True) if other == pair),
            pairs.count(pair),
        )
        for pair in dict.fromkeys(pairs)
    }


def step_config(result: SuiteResult) -> LadderConfig:
    """The step that the suite's ladder computes limits for, or the usual one."""
    ladders = [e.entry.ladder for e in result.entries if e.entry.ladder is not None]
    return ladders[0] if ladders else LadderConfig(largest=1.0)


def home_com_height(robot_model: RobotModel) -> float:
    """Height of the centre of mass in the home pose [m]."""
    data = mujoco.MjData(robot_model.model)
    data.qpos[:] = robot_model.robot.home_qpos.double().numpy()
    mujoco.mj_kinematics(robot_model.model, data)
    mujoco.mj_comPos(robot_model.model, data)
    return float(data.subtree_com[robot_model.robot.root_body, 2])


def recovery_maps(result: SuiteResult, robot: RobotSpec) -> list[Picture]:
    """Success of standing episodes over lean and rate at the start, and over the capture point."""
    policy, pictures = result.columns[0], []
    for one in result.entries:
        scenario = one.entry.scenario
        leans = scenario.reset is not None and scenario.reset.lean > 0.0
        stands = max(map(abs, scenario.commands)) < MOVING and scenario.wave is None
        if not leans or not stands or one.entry.ladder or policy not in one.outcomes:
            continue
        values, success = one.outcomes[policy].values, one.outcomes[policy].success
        with _figure(f"Success over start lean and rate: {one.entry.title}", 2.9) as (axis, svg):
            _field(axis, values["start_tilt"], values["start_rate"], success)
            axis.set(xlabel="lean at the start [deg]", ylabel="rate at the start [rad/s]")
            axis.set_title(one.entry.title, fontsize=9.5, loc="left")
        pictures.append(Picture(svg[0], "Successes of all episodes in each field."))
        with _figure(f"Success over the capture point: {one.entry.title}", 2.9) as (axis, svg):
            _field(axis, -100.0 * values["start_left"], 100.0 * values["start_ahead"], success)
            _feet(axis, robot)
            axis.set(xlabel="capture point to the right [cm]", ylabel="ahead [cm]")
            axis.set_title(one.entry.title, fontsize=9.5, loc="left")
        caption = (
            "Where the robot would have to put the pressure, or step, to come to rest; between the "
            "dashed edges of the soles it can stay as it stands."
        )
        pictures.append(Picture(svg[0], caption))
    return pictures


def _feet(axis: Axes, robot: RobotSpec) -> None:
    """The box around both soles [cm], about the middle of the ankles."""
    leg = robot.leg
    aside, heel, toe = 100.0 * (leg.leg_y + leg.sole_width / 2.0), 100.0 * leg.heel, 100.0 * leg.toe
    corners = [(aside, heel), (aside, toe), (-aside, toe), (-aside, heel), (aside, heel)]
    axis.plot(*zip(*corners, strict=True), "k--", linewidth=1.0)


def _field(axis: Axes, x: Tensor, y: Tensor, success: Tensor, fields: int = 3) -> None:
    """Episodes by their success, over fields of equal size with the share of each."""
    known = x.isfinite() & y.isfinite()
    x, y, success = x[known].double(), y[known].double(), success[known]
    if len(x) == 0:
        return
    edges = []
    for values in (x, y):
        low, high = float(values.min()), float(values.max())
        margin = 0.04 * max(high - low, 1e-3)
        edges.append(torch.linspace(low - margin, high + margin, fields + 1).double())
    columns, rows = (
        (torch.bucketize(values, edge) - 1).clamp(0, fields - 1)
        for values, edge in zip((x, y), edges, strict=True)
    )
    share = np.full((fields, fields), np.nan)
    for row in range(fields):
        for column in range(fields):
            here = (rows == row) & (columns == column)
            number = int(here.sum())
            if number:
                won = int(success[here].sum())
                share[row, column] = won / number
                axis.annotate(
                    f"{won}/{number}", (float(edges[0][column]), float(edges[1][row])), (3, 3),
                    textcoords="offset points", fontsize=7.5, zorder=4,
                    bbox={"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.8},
                )  # fmt: skip
    axis.pcolormesh(edges[0].numpy(), edges[1].numpy(), share, cmap=SHARES, vmin=0.0, vmax=1.0,
                    edgecolor="white", linewidth=1.0)  # fmt: skip
    for won, color, mark in ((True, "#00548a", "o"), (False, "#8a2f00", "x")):
        mine = success == won
        axis.scatter(x[mine], y[mine], s=12, color=color, marker=mark, linewidth=1.1,
                     label=f"{'success' if won else 'failure'} {int(mine.sum())}",
                     zorder=3)  # fmt: skip
    axis.grid(False)
    axis.locator_params(nbins=5)
    axis.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def rasters(result: SuiteResult) -> list[Picture]:
    """When the feet stand, in the first entry of each family in which the robot steps."""
    policy, found = result.columns[0], {}
    for one in result.entries:
        outcome = one.outcomes.get(policy)
        if outcome is None or outcome.contacts is None or one.entry.ladder is not None:
            continue
        if not math.isnan(outcome.gait["alternation"]):
            found.setdefault(one.entry.family, (one, outcome))
    pictures = []
    for one, outcome in list(found.values())[:MOST_RASTERS]:
        standing = outcome.contacts.numpy()
        with _figure(f"When the feet stand: {one.entry.title}", 1.15) as (axis, svg):
            time = one.entry.scenario.settle_s + outcome.ctrl_dt * np.arange(len(standing))
            draw_contacts(axis, standing, time)
            axis.grid(False)
            axis.set_xlim(time[0], time[-1] + outcome.ctrl_dt)
            axis.set_xlabel("time [s]")
            axis.set_title(one.entry.title, fontsize=9.5, loc="left")
        gait = outcome.gait
        caption = (
            f"Stance of the episode with the median speed. Alternation {gait['alternation']:.0%}, "
            f"{gait['stride_frequency']:.2f} strides/s, duty {gait['duty_factor']:.2f}."
        )
        pictures.append(Picture(svg[0], caption))
    return pictures


def falls(result: SuiteResult, robot_model: RobotModel) -> list[Picture]:
    """The second before a typical fall of each of the most frequent causes."""
    policy = result.columns[0]
    by_cause: dict[str, list[tuple[EntryResult, Fall, float]]] = {}
    for one in result.entries:
        if one.entry.ladder is None and policy in one.outcomes:
            outcome = one.outcomes[policy]
            for fall in outcome.falls:
                by_cause.setdefault(fall.cause, []).append((one, fall, outcome.ctrl_dt))
    ordered = sorted(by_cause.items(), key=lambda pair: -sum(f.count for _, f, _ in pair[1]))
    pictures = []
    for cause, found in ordered[:MOST_FALLS]:
        one, fall, dt = max(found, key=lambda each: each[1].count)
        total = sum(each.count for _, each, _ in found)
        falls = "1 fall" if total == 1 else f"{total} falls"
        scenarios = "1 scenario" if len(found) == 1 else f"{len(found)} scenarios"
        caption = (
            f"{cause}: {falls} in {scenarios}. Shown: {one.entry.title}, the fall after "
            f"{fall.typical_s:.1f} s, the median of {fall.count}; its last "
            f"{len(fall.typical) * dt:.1f} s."
        )
        pictures.append(Picture(film(fall, dt, robot_model), caption, wide=True))
    return pictures


def film(fall: Fall, ctrl_dt: float, robot_model: RobotModel) -> str:
    """Instants of the second before a fall side by side, as HTML."""
    number = len(fall.typical)
    left = [f"{(index + 1 - number) * ctrl_dt:.2f} s" for index in range(number)]
    frames = stills(
        robot_model.model, fall.typical.double().numpy(), None, ctrl_dt, STILL, left, FRAMES
    )  # fmt: skip
    images = "".join(
        f'<img src="{_data(frame)}" alt="{escape(fall.cause)}, picture {place + 1}">'
        for place, frame in enumerate(frames)
    )
    return f'<div class="strip">{images}</div>'


def _data(frame: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as an address that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
