"""The account of an evaluation: report.json, report.md and plots, in one folder."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.evaluate import EvaluationResult
from wildrobot_torch.evaluation.plots import write_plots
from wildrobot_torch.motion.metrics import EPISODE_METRICS

PACKAGES = ("torch", "torchrl", "tensordict", "mujoco", "numpy")
WARP_PACKAGES = ("mujoco-warp", "warp-lang")
PER_COMMAND = (
    "fall_rate",
    "velocity",
    "velocity_error",
    "velocity_error_1s",
    "alternation",
    "duty_factor",
    "stride_frequency",
    "stride_length",
    "foot_slip",
    "heading_drift",
    "cost_of_transport",
)
"""Columns of the table per command; report.json holds all."""


def environment(robot: RobotSpec, physics: str) -> dict[str, Any]:
    """What the numbers depend on besides policy and scenario: engine, robot and versions."""
    packages = PACKAGES if physics == "native" else (*PACKAGES, *WARP_PACKAGES)
    return {
        "physics": physics,
        "robot": robot.name,
        "robot_digest": robot.digest,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: version(package) for package in packages},
    }


def as_dict(
    result: EvaluationResult, robot: RobotSpec, about: Mapping[str, Any], physics: str
) -> dict[str, Any]:
    """The evaluation as JSON values; undefined metrics are null.

    Args:
        result: the evaluation.
        robot: the robot it ran on.
        about: what the policy is (file, checksum, training steps), in the caller's words.
        physics: name of the engine that simulated it.
    """
    scenario = result.scenario
    return {
        "policy": dict(about),
        "scenario": {
            "name": scenario.name,
            "commands": list(scenario.commands),
            "episodes": scenario.episodes,
            "seconds": scenario.seconds,
            "settle_s": scenario.settle_s,
            "push_impulse": scenario.push_impulse,
            "seed": scenario.seed,
        },
        "passed": result.passed,
        "score": _null(result.score),
        "verdicts": [
            {
                "metric": verdict.metric,
                "value": _null(verdict.value),
                "limit": str(verdict.limit),
                "passed": verdict.passed,
            }
            for verdict in result.verdicts
        ],
        "metrics": {
            name: {"value": _null(value), "unit": EPISODE_METRICS[name].unit}
            for name, value in result.metrics.items()
        },
        "ends": result.ends,
        "per_command": [
            {name: _null(value) for name, value in row.items()} for row in result.per_command
        ],
        "environment": environment(robot, physics),
    }


def markdown(
    result: EvaluationResult, robot: RobotSpec, about: Mapping[str, Any], physics: str
) -> str:
    """The evaluation as a page: verdict, metrics with units and limits, commands, environment."""
    scenario = result.scenario
    judged = {verdict.metric: verdict for verdict in result.verdicts}
    lines = [
        f"# Evaluation: {scenario.name}",
        "",
        f"**{'Passed' if result.passed else 'Failed'}**, score {result.score:.3f}. "
        f"{scenario.episodes} episodes of {scenario.seconds:g} s, commands "
        f"{', '.join(f'{c:g}' for c in scenario.commands)} m/s, seed {scenario.seed}; tracking and "
        f"gait measured after {scenario.settle_s:g} s.",
        "",
        "| metric | value | unit | limit | verdict | meaning |",
        "|---|---|---|---|---|---|",
    ]
    order = [*judged, *(name for name in EPISODE_METRICS if name not in judged)]
    for name in order:
        metric, verdict = EPISODE_METRICS[name], judged.get(name)
        limit = str(verdict.limit) if verdict else ""
        word = ("pass" if verdict.passed else "**FAIL**") if verdict else ""
        value, meaning = number(result.metrics[name]), metric.meaning.replace("|", "\\|")
        lines.append(f"| {name} | {value} | {metric.unit} | {limit} | {word} | {meaning} |")
    ends = ", ".join(f"{cause} {number}" for cause, number in result.ends.items() if number)
    lines += ["", f"Episodes by the cause of their end: {ends}."]
    lines += ["", "## Per command", ""]
    lines.append("| command m/s | episodes | " + " | ".join(PER_COMMAND) + " |")
    lines.append("|---" * (len(PER_COMMAND) + 2) + "|")
    for row in result.per_command:
        cells = [number(row[name]) for name in PER_COMMAND]
        lines.append(f"| {row['command']:g} | {row['episodes']:.0f} | " + " | ".join(cells) + " |")
    lines += ["", "## Policy and environment", "", "| what | value |", "|---|---|"]
    dependencies = {**about, **environment(robot, physics)}
    lines += [f"| {key} | {value} |" for key, value in dependencies.items()]
    return "\n".join(lines) + "\n"


def write_report(
    result: EvaluationResult,
    robot: RobotSpec,
    folder: Path,
    about: Mapping[str, Any],
    physics: str,
) -> list[Path]:
    """Write report.json, report.md and plots/*.png into `folder`; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(as_dict(result, robot, about, physics), indent=2, allow_nan=False)
    page = markdown(result, robot, about, physics)
    plots = write_plots(result, robot, folder / "plots")
    pictures = "".join(f"\n![{path.stem}](plots/{path.name})\n" for path in plots)
    (folder / "report.json").write_text(content + "\n", encoding="utf-8")
    (folder / "report.md").write_text(f"{page}\n## Plots\n{pictures}", encoding="utf-8")
    return [folder / "report.json", folder / "report.md", *plots]


def number(value: float) -> str:
    """A number for a table: four digits, or a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None
