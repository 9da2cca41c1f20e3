"""The account of a comparison of simulators: simulators.json with every number, simulators.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.report import environment, number, plain, table
from wildrobot_torch.evaluation.simulators.compare import (
    MOST_DROP,
    Comparison,
    SimulatorResult,
    meaning,
)
from wildrobot_torch.evaluation.statistics import Estimate

SHOWN = ("fallen", "speed_error", "torque_mean", "saturation", "heading")
"""Measures of the tables."""


def verdict(comparison: Comparison, result: SimulatorResult) -> str:
    """The verdict on a simulator in words."""
    if not comparison.judges:
        return "FAIL: it fails in its own environment"
    if not all(truth.holds for truth in result.truths):
        return "FAIL: not the same body"
    if comparison.passed(result):
        return "pass"
    drop = comparison.drop(result)
    return "FAIL" if drop.value > MOST_DROP else "FAIL: not shown by so few episodes"


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Everything in a form for JSON, but for numbers that are not finite."""

    def row(result: SimulatorResult) -> dict[str, Any]:
        return {
            "name": result.name,
            "meaning": meaning(result.name),
            "wall_s": result.wall_s,
            "truths": [{**vars(truth), "holds": truth.holds} for truth in result.truths],
            "entries": {
                name: {
                    "success": vars(one.rate),
                    "misses": one.misses,
                    "ends": one.ends,
                    "means": {measure: vars(one.mean(measure)) for measure in one.values},
                    "gait": one.gait,
                    "episodes": {
                        "success": one.success.tolist(),
                        **{
                            n: [float(f"{x:.5g}") for x in v.tolist()]
                            for n, v in one.values.items()
                        },
                    },
                }
                for name, one in result.outcomes.items()
            },
        }

    return {
        "passed": comparison.all_passed,
        "most_drop": MOST_DROP,
        "environment_row": row(comparison.trained),
        "simulators": [
            {
                **row(result),
                "drop": vars(comparison.drop(result)),
                "passed": comparison.passed(result),
                "verdict": verdict(comparison, result),
            }
            for result in comparison.simulators
        ],
    }


def markdown(comparison: Comparison, about: Mapping[str, Any], robot: RobotSpec) -> str:
    """The comparison as a page."""
    entries = [entry.name for entry in comparison.suite.entries]
    everyone = (comparison.trained, *comparison.simulators)
    episodes = len(comparison.trained.success)

    def percent(estimate: Estimate) -> str:
        return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"

    verdicts = [
        (
            one.name,
            meaning(one.name),
            *(percent(one.outcomes[name].rate) for name in entries),
            *(("", "") if one is comparison.trained else (
                percent(comparison.drop(one)), verdict(comparison, one))),
            f"{one.wall_s:.0f}",
        )
        for one in everyone
    ]  # fmt: skip
    lines = [
        "# Simulators",
        "",
        f"**{'Passed' if comparison.all_passed else 'Failed'}.** {episodes} episodes in each, from "
        "the same starts. A simulator passes where the success that is lost, over all episodes, is "
        f"at most {MOST_DROP:.0%} by the upper end of its 95 % interval.",
        "",
        *table(("simulator", "what it is", *entries, "lost", "verdict", "took s"), verdicts),
    ]
    head = (
        "simulator",
        *(f"{name} {MEASURES[name].unit}".removesuffix(" 1") for name in SHOWN),
        "strides 1/s",
        "missed by",
    )
    for entry in comparison.suite.entries:
        rows = []
        for one in everyone:
            found = one.outcomes[entry.name]
            missed = ", ".join(f"{name} {count}" for name, count in found.misses.items() if count)
            values = [found.mean(name).value for name in SHOWN]
            rows.append((one.name, *map(number, values),
                         number(found.gait["stride_frequency"]), missed))  # fmt: skip
        lines += ["", f"## {entry.title}", "", *table(head, rows)]
    truths = [
        (
            one.name, truth.what, truth.unit, f"{truth.value:.6g}", f"{truth.expected:.6g}",
            f"{truth.allowed:.2g}", "yes" if truth.holds else "**NO**",
        )
        for one in comparison.simulators
        for truth in one.truths
    ]  # fmt: skip
    if truths:
        head = ("simulator", "what", "unit", "value", "must be", "within", "holds")
        lines += ["", "## Truths about the body", "", *table(head, truths)]
    what = [*about.items(), *environment(robot, "native").items()]
    lines += ["", "## Policy and environment", "", *table(("what", "value"), what)]
    return "\n".join(lines) + "\n"


def write_comparison(
    comparison: Comparison, about: Mapping[str, Any], robot: RobotSpec, folder: Path
) -> list[Path]:
    """Write simulators.json and simulators.md into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    content = plain({
        **as_dict(comparison), "policy": about, "environment": environment(robot, "native"),
    })  # fmt: skip
    paths = [folder / "simulators.json", folder / "simulators.md"]
    paths[0].write_text(json.dumps(content, allow_nan=False, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(comparison, about, robot), encoding="utf-8")
    return paths
