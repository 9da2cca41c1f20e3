"""The report of a measurement of the time to WALK: numbers, a picture, a page."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.study.training import STYLE, passes, write_json
from wildrobot_torch.study.walking import SeedResult, SeedRun, WalkPlan, clock, outcome

CEILING = 4.0
"""Values beyond so many times their limit are drawn at it."""


def write_walking_report(runs: Sequence[SeedRun], folder: Path, command: str) -> Path:
    """Write report.md, report.json and walking.png; returns the first.

    Args:
        runs: the seeds' trainings; those that have begun are reported.
        folder: where to.
        command: that made it all.
    """
    begun = [run for run in runs if run.history().parts]
    results = [run.result() for run in begun]
    evaluations = [
        {"seed": run.seed, "env_steps": row.env_steps, "training_s": row.training_s,
         "passed": passes(row.values, run.plan.walk.limits), "metrics": _plain(row.values)}
        for run in begun
        for row in run.history().evaluations
    ]  # fmt: skip
    seeds = [_plain(asdict(result)) for result in results]
    write_json(
        folder / "report.json", {"command": command, "seeds": seeds, "evaluations": evaluations}
    )
    FigureCanvasAgg(plot_walking(begun, runs[0].plan)).print_png(str(folder / "walking.png"))
    path = folder / "report.md"
    path.write_text(page(results, len(runs), runs[0].plan, command), encoding="utf-8")
    return path


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The same with null for numbers that are infinite or undefined."""
    bad = [k for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)]
    return values | dict.fromkeys(bad)


def plot_walking(runs: Sequence[SeedRun], plan: WalkPlan) -> Figure:
    """Each limited metric and the style reward over training time, a line per seed.

    The star is the first evaluation that passes WALK.
    """
    limits = plan.walk.limits
    figure = Figure(figsize=(10.0, 2.1 * (len(limits) + 1)), dpi=100, layout="constrained")
    axes = figure.subplots(len(limits) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for index, run in enumerate(runs):
        history, color = run.history(), f"C{index % 10}"
        walked = run.walked(history)
        minutes = [row.training_s / 60 for row in history.evaluations]
        for axis, (name, limit) in zip(axes, limits.items(), strict=False):
            ceiling = math.inf if limit.max is None else CEILING * limit.max
            values = [min(row.values[name], ceiling) for row in history.evaluations]
            axis.plot(minutes, values, "o-", color=color, ms=4, lw=1, label=f"seed {run.seed}")
            if walked is not None:
                axis.plot(walked.training_s / 60, walked.values[name], "*", ms=12, color=color,
                          markeredgecolor="black")  # fmt: skip
        style = [row for row in history.iterations if STYLE in row.values]
        axes[-1].plot([row.training_s / 60 for row in style], [row.values[STYLE] for row in style],
                      color=color, lw=1)  # fmt: skip
    for axis, (name, limit) in zip(axes, limits.items(), strict=False):
        for bound in (limit.min, limit.max):
            if bound is not None:
                axis.axhline(bound, color="black", linestyle="--", linewidth=1)
        axis.set_ylabel(f"{name.replace('_', ' ')}\n[{METRICS[name].unit}] {limit}")
    axes[-1].set_ylabel("style reward [1]\nof an iteration")
    axes[-1].set_xlabel("training time without evaluations [min]")
    if runs:
        axes[0].legend(loc="upper right", fontsize="small")
    return figure


def page(results: Sequence[SeedResult], seeds: int, plan: WalkPlan, command: str) -> str:
    """The measurement as markdown."""
    limits = ", ".join(f"{name} {limit}" for name, limit in plan.walk.limits.items())
    speeds = ", ".join(f"{speed:g}" for speed in plan.walk.commands)
    lines = [
        "# Time to WALK",
        "",
        f"    {command}",
        "",
        f"WALK: {plan.walk.episodes} deterministic episodes of {plan.walk.seconds:g} s at {speeds} "
        f"m/s: {limits}.",
        "",
        _verdict(results, seeds),
        "",
        "| seed | training time to WALK | env steps | at most earlier by | later evaluations that "
        "pass | training in all | wall time | load at the start | style reward at WALK, lowest "
        "after, at the end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        held = f"{r.held:.0%} of {r.later}" if r.later else "-"
        style = ", ".join(_number(v) for v in (r.style_at_walk, r.style_lowest, r.style_at_end))
        lines.append(
            f"| {r.seed} | {outcome(r) if r.failure else clock(r.walk_s)} | "
            f"{_millions(r.walk_steps)} | {clock(r.resolution_s)} | {held} | "
            f"{clock(r.training_s)}, {_millions(r.env_steps)} | {clock(r.wall_s)} | "
            f"{_number(math.nan if r.load is None else r.load)} | {style} |"
        )
    return "\n".join([
        *lines,
        "",
        "![limited metrics over training time](walking.png)",
        "",
        "Training time is Perf/collection_time + Perf/learning_time; start-ups, checkpoints and "
        f"evaluations are not part of it. WALK is evaluated every {plan.every} iterations of "
        f"{plan.iteration_steps} environment steps. A seed that never passes counts as the longest "
        "time. Style rewards are means over a tenth of all iterations.",
        "",
    ])  # fmt: skip


def _verdict(results: Sequence[SeedResult], seeds: int) -> str:
    done = [result for result in results if result.finished]
    missing = f" {seeds - len(done)} of {seeds} seeds are missing." if len(done) < seeds else ""
    if not done:
        return f"**No seed is finished.**{missing}"
    walked = sum(math.isfinite(result.walk_s) for result in done)

    def spread(values: list[float], form: Callable[[float], str]) -> str:
        median, low, high = (
            form(f(values)) if math.isfinite(f(values)) else "never"
            for f in (statistics.median, min, max)
        )
        return f"{median} ({low} to {high})"

    times = spread([result.walk_s for result in done], clock)
    steps = spread([result.walk_steps for result in done], _millions)
    return (
        f"**{walked} of {len(done)} seeds reach WALK; median {times} of training, {steps} "
        f"environment steps.**{missing}"
    )


def _millions(steps: float) -> str:
    return f"{steps / 1e6:.2f} M" if math.isfinite(steps) else "-"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
