"""The account of an evaluation: report.json, report.md and plots, in one folder."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
    """The evaluation as JSON values; undefined metrics are null. `about` describes the policy."""
    return plain({
        "policy": about,
        "scenario": asdict(result.scenario),
        "passed": result.passed,
        "score": result.score,
        "verdicts": [verdict.as_dict() for verdict in result.verdicts],
        "metrics": {
            name: {"value": value, "unit": EPISODE_METRICS[name].unit}
            for name, value in result.metrics.items()
        },
        "ends": result.ends,
        "per_command": result.per_command,
        "environment": environment(robot, physics),
    })  # fmt: skip


def markdown(
    result: EvaluationResult, robot: RobotSpec, about: Mapping[str, Any], physics: str
) -> str:
    """The evaluation as a page: verdict, metrics with units and limits, commands, environment."""
    scenario = result.scenario
    judged = {verdict.metric: verdict for verdict in result.verdicts}
    metrics = []
    for name in dict.fromkeys((*judged, *EPISODE_METRICS)):
        metric, value = EPISODE_METRICS[name], number(result.metrics[name])
        limit, word = (judged[name].limit, judged[name].word) if name in judged else ("", "")
        metrics.append((name, value, metric.unit, limit, word, metric.meaning))
    commands = [
        (f"{row['command']:g}", f"{row['episodes']:.0f}", *(number(row[n]) for n in PER_COMMAND))
        for row in result.per_command
    ]
    dependencies = {**about, **environment(robot, physics)}
    lines = [
        f"# Evaluation: {scenario.name}",
        "",
        f"**{'Passed' if result.passed else 'Failed'}**, score {result.score:.3f}. "
        f"{scenario.episodes} episodes of {scenario.seconds:g} s, commands "
        f"{', '.join(f'{c:g}' for c in scenario.commands)} m/s, seed {scenario.seed}; tracking and "
        f"gait measured after {scenario.settle_s:g} s.",
        "",
        *table(("metric", "value", "unit", "limit", "verdict", "meaning"), metrics),
        *(
            "",
            f"Episodes by the cause of their end: {result.ends_in_words}.",
            "",
            "## Per command",
            "",
        ),
        *table(("command m/s", "episodes", *PER_COMMAND), commands),
        *("", "## Policy and environment", ""),
        *table(("what", "value"), list(dependencies.items())),
    ]
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


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a table in markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    ]


def plain(value: Any) -> Any:
    """Mappings, sequences and numbers as JSON knows them; a number that is not finite is null."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
