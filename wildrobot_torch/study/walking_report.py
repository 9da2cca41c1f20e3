"""The account of a measurement of the time to WALK: two tables as CSV, a picture, a page."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wildrobot_torch.motion.metrics import METRICS
from wildrobot_torch.study.history import History, read_json
from wildrobot_torch.study.machine import Machine
from wildrobot_torch.study.walking import (
    STYLE,
    SeedResult,
    WalkPlan,
    first_walk,
    passes,
    spread,
)
from wildrobot_torch.study.walking_runner import MACHINE, SeedRun, clock, outcome

_PLOT_CEILING = 4.0
"""Values beyond so many times their limit are drawn at it."""


def write_walking_report(
    runs: Sequence[SeedRun], results: Sequence[SeedResult], folder: Path, command: str
) -> list[Path]:
    """Write seeds.csv, evaluations.csv, walking.png and report.md; returns their paths.

    Args:
        runs: the seeds' trainings.
        results: what came of those that have begun.
        folder: where to.
        command: that made it all.
    """
    plan = runs[0].plan
    begun = {result.seed: result for result in results}
    histories = {run.seed: run.history() for run in runs if run.seed in begun}
    machines = {run.seed: _machines(run) for run in runs if run.seed in begun}
    paths = [folder / name for name in ("seeds.csv", "evaluations.csv", "walking.png", "report.md")]
    _write_csv(paths[0], [_seed_row(begun[seed], machines[seed]) for seed in begun])
    _write_csv(
        paths[1],
        [row for seed, found in histories.items() for row in _evaluation_rows(seed, found, plan)],
    )
    FigureCanvasAgg(plot_walking(histories, plan)).print_png(str(paths[2]))
    paths[3].write_text(page(runs, results, machines, command), encoding="utf-8")
    return paths


def _machines(run: SeedRun) -> list[Machine]:
    path = run.folder / MACHINE
    return [Machine(**seen) for seen in read_json(path)["starts"]] if path.is_file() else []


def _seed_row(result: SeedResult, machines: Sequence[Machine]) -> dict[str, Any]:
    first = machines[0] if machines else Machine(None, 0, None, None)
    return {
        "seed": result.seed,
        "finished": result.finished,
        "walk_env_steps": _cell(result.walk_steps),
        "walk_training_s": _cell(result.walk_s),
        "resolution_s": _cell(result.resolution_s),
        "later_evaluations": result.later,
        "later_share_passed": _cell(result.held),
        "env_steps": result.env_steps,
        "training_s": _cell(result.training_s),
        "wall_s": _cell(result.wall_s),
        "style_at_walk": _cell(result.style_at_walk),
        "style_lowest_after": _cell(result.style_lowest),
        "style_at_end": _cell(result.style_at_end),
        "load_1min_at_start": _cell(first.load_1min),
        "cores": first.cores,
        "cores_free_at_start": _cell(first.cores_free),
        "starts": len(machines),
        "failure": result.failure,
    }


def _evaluation_rows(seed: int, history: History, plan: WalkPlan) -> list[dict[str, Any]]:
    scenarios = {plan.walk.name: plan.walk}
    if plan.screening is not None:
        scenarios[plan.screening.name] = plan.screening
    rows, before = [], 0
    for found in history.evaluations:
        style = [
            it.values[STYLE]
            for it in history.iterations
            if before < it.env_steps <= found.env_steps and STYLE in it.values
        ]
        rows.append(
            {
                "seed": seed,
                "env_steps": found.env_steps,
                "training_s": _cell(found.training_s),
                "scenario": found.scenario,
                "passed": passes(found.metrics, scenarios[found.scenario]),
                **{name: _cell(found.metrics[name]) for name in plan.walk.limits},
                "style_reward": _cell(float(np.mean(style)) if style else None),
            }
        )
        # An evaluation in WALK right after its screening shares the screening's iterations.
        if found.scenario == plan.walk.name or plan.screening is None:
            before = found.env_steps
    return rows


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["seed"])
        writer.writeheader()
        writer.writerows(rows)


def plot_walking(histories: Mapping[int, History], plan: WalkPlan) -> Figure:
    """Each limited metric and the style reward over training time, a line per seed.

    Hollow points are screenings, full ones evaluations in WALK, the star is the first that passes.
    """
    limits = plan.walk.limits
    figure = Figure(figsize=(10.0, 2.1 * (len(limits) + 1)), dpi=100, layout="constrained")
    axes = figure.subplots(len(limits) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for index, (seed, history) in enumerate(histories.items()):
        color = f"C{index % 10}"
        walked = first_walk(history, plan)
        minutes = [found.training_s / 60 for found in history.evaluations]
        full = [found.scenario == plan.walk.name for found in history.evaluations]
        for axis, (name, limit) in zip(axes, limits.items(), strict=False):
            ceiling = math.inf if limit.max is None else _PLOT_CEILING * limit.max
            values = [min(found.metrics[name], ceiling) for found in history.evaluations]
            axis.plot(minutes, values, color=color, linewidth=1, label=f"seed {seed}")
            for kind, face in ((True, color), (False, "white")):
                chosen = [i for i, is_full in enumerate(full) if is_full == kind]
                axis.scatter(
                    [minutes[i] for i in chosen],
                    [values[i] for i in chosen],
                    s=18, facecolors=face, edgecolors=color, zorder=3,
                )  # fmt: skip
            if walked is not None:
                axis.scatter(
                    walked.training_s / 60, walked.metrics[name],
                    marker="*", s=160, color=color, edgecolors="black", zorder=4,
                )  # fmt: skip
        style = [(it.training_s / 60, it.values[STYLE]) for it in history.iterations
                 if STYLE in it.values]  # fmt: skip
        axes[-1].plot(*(zip(*style, strict=True) if style else ([], [])), color=color, linewidth=1)
        if walked is not None:
            axes[-1].axvline(walked.training_s / 60, color=color, linestyle=":", linewidth=1)
    for axis, (name, limit) in zip(axes, limits.items(), strict=False):
        for bound in (limit.min, limit.max):
            if bound is not None:
                axis.axhline(bound, color="black", linestyle="--", linewidth=1)
        axis.set_ylabel(f"{name.replace('_', ' ')}\n[{METRICS[name].unit}] {limit}")
    axes[-1].set_ylabel("style reward [1]\nof an iteration")
    axes[-1].set_xlabel("training time [min], evaluations apart")
    if histories:
        axes[0].legend(loc="upper right", fontsize="small")
    return figure


def page(
    runs: Sequence[SeedRun],
    results: Sequence[SeedResult],
    machines: Mapping[int, Sequence[Machine]],
    command: str,
) -> str:
    """The measurement as markdown."""
    plan = runs[0].plan
    limits = ", ".join(f"{name} {limit}" for name, limit in plan.walk.limits.items())
    lines = [
        "# Time to WALK",
        "",
        f"    {command}",
        "",
        f"WALK: {plan.walk.episodes} deterministic episodes of {plan.walk.seconds:g} s at "
        f"{', '.join(f'{c:g}' for c in plan.walk.commands)} m/s: {limits}.",
        "",
        _verdict(results, len(runs)),
        "",
        "| seed | training time to WALK | env steps | at most earlier by | later evaluations that "
        "pass | training in all | with start-ups and evaluations | machine at the start |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        held = f"{result.held:.0%} of {result.later}" if result.later else "-"
        seen = machines.get(result.seed, ())
        again = f" ({len(seen)} starts)" if len(seen) > 1 else ""
        time = clock(result.walk_s) if not result.failure else outcome(result)
        lines.append(
            f"| {result.seed} | {time} | {_millions(result.walk_steps)} | "
            f"{clock(result.resolution_s)} | {held} | {clock(result.training_s)}, "
            f"{_millions(result.env_steps)} | {clock(result.wall_s)} | "
            f"{seen[0] if seen else '-'}{again} |"
        )
    if any(math.isfinite(result.style_at_end) for result in results):
        lines += [
            "",
            "| seed | style reward at WALK | lowest afterwards | at the end |",
            "|---|---|---|---|",
            *(
                f"| {r.seed} | {_number(r.style_at_walk)} | {_number(r.style_lowest)} | "
                f"{_number(r.style_at_end)} |"
                for r in results
            ),
            "",
            "Means over a tenth of all iterations, of the training's own rollouts.",
        ]
    lines += ["", "![criteria over training time](walking.png)", "", _method(plan), ""]
    notes = [
        f"- seed {run.seed}: {part.note}"
        for run in runs
        for part in run.history().parts
        if part.note
    ]
    return "\n".join([*lines, *notes, *([""] if notes else [])])


def _verdict(results: Sequence[SeedResult], seeds: int) -> str:
    done = [result for result in results if result.finished]
    left = seeds - len(done)
    missing = f" {left} of {seeds} seeds are still to come." if left else ""
    if not done:
        return f"**No seed is finished.**{missing}"
    walked = sum(math.isfinite(result.walk_s) for result in done)
    seconds = spread([result.walk_s for result in done])
    steps = spread([result.walk_steps for result in done])

    def text(value: float) -> str:
        return clock(value) if math.isfinite(value) else "never"

    return (
        f"**{walked} of {len(done)} seeds reach WALK; median {text(seconds.median)} of training "
        f"({text(seconds.lowest)} to {text(seconds.highest)}), {_millions(steps.median)} "
        f"environment steps ({_millions(steps.lowest)} to {_millions(steps.highest)}).**{missing}"
    )


def _method(plan: WalkPlan) -> str:
    text = (
        "Training time is Perf/collection_time + Perf/learning_time; start-ups, checkpoints and "
        "evaluations have no part in it. "
    )
    if plan.screening is None:
        text += f"WALK is evaluated every {plan.every} iterations. "
    else:
        short = plan.screening
        bounds = ", ".join(f"{name} {limit}" for name, limit in short.limits.items())
        text += (
            f"Until WALK, every {plan.every} iterations {short.episodes} episodes of "
            f"{short.seconds:g} s ({bounds}) decide whether WALK itself is evaluated; a policy "
            "that fails them counts as failing WALK, so times can only come out too long. "
        )
    return text + (
        f"An iteration is {plan.iteration_steps} environment steps. After the first pass all "
        "evaluations are WALK. A seed that never passes counts as the longest time."
    )


def _millions(steps: float) -> str:
    return f"{steps / 1e6:.2f} M" if math.isfinite(steps) else "-"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
