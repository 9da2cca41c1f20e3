"""The account of a style evaluation: style.json and style.md in one folder."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation.report import number
from wildrobot_torch.evaluation.style.assessment import (
    PER_COMMAND,
    SCOPES,
    SETTLE_S,
    Assessment,
    Scope,
)
from wildrobot_torch.evaluation.style.comparison import STYLE_METRICS
from wildrobot_torch.evaluation.style.verdicts import StyleVerdict
from wildrobot_torch.motion.metrics import EPISODE_METRICS

COMMAND_COLUMNS = ("fall_rate", "velocity", "foot_slip", "phase_offset", "duty_factor",
                   "stride_frequency", "stride_length")  # fmt: skip


@dataclass(frozen=True)
class StyleReward:
    """Style reward over all windows of a motion, by a prior that learns no more."""

    mean: float
    std: float
    """Over windows."""
    between_episodes: float
    """Standard deviation of the episodes' means."""
    p10: float
    p90: float
    zero: float
    """Share of windows with none."""


def as_dict(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Mapping[str, dict[str, StyleReward]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The evaluation as JSON values; what is undefined is null.

    Args:
        assessment: what was measured.
        verdicts: of each policy.
        rewards: of each policy with a prior, style reward of `policy` and of held-out `reference`.
        about: policies, reference and settings, in the caller's words.
    """
    content = {
        "about": dict(about),
        "verdicts": {name: [asdict(v) for v in found] for name, found in verdicts.items()},
        "style_reward": {
            name: {which: asdict(reward) for which, reward in both.items()}
            for name, both in rewards.items()
        },
        "scopes": {
            name: {
                "meaning": SCOPES[name],
                "families": scope.families,
                "floor_families": list(scope.floor_families),
                "floor": asdict(scope.floor),
                "columns": {column: asdict(found) for column, found in scope.columns.items()},
                "told_apart": scope.told,
                "evidence": {metric: scope.evidence(metric) for metric in STYLE_METRICS},
            }
            for name, scope in assessment.scopes.items()
        },
        "gait": assessment.gait,
        "per_command": assessment.per_command,
        "metrics": {
            name: {"unit": metric.unit, "meaning": metric.meaning, "sees": list(metric.sees)}
            for name, metric in STYLE_METRICS.items()
        },
    }
    return _plain(content)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def markdown(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Mapping[str, dict[str, StyleReward]],
    about: Mapping[str, Any],
) -> str:
    """The evaluation as a page: verdicts, style beside floor and controls, gait, commands."""
    lines = ["# Style", "", *_verdict_table(verdicts)]
    for name, scope in assessment.scopes.items():
        lines += ["", f"## Style: {name}", "", *_scope_lines(name, scope)]
    if rewards:
        lines += ["", "## Style reward of each checkpoint's own prior", "",
                  "| policy | motion | mean | std | between episodes | p10 | p90 | zero |",
                  "|---|---|---|---|---|---|---|---|"]  # fmt: skip
        lines += [
            f"| {name} | {which} | " + " | ".join(number(x) for x in asdict(reward).values()) + " |"
            for name, both in rewards.items()
            for which, reward in both.items()
        ]
    columns = list(assessment.gait)
    lines += ["", "## Gait", "", f"| metric | unit | {' | '.join(columns)} |",
              "|---" * (len(columns) + 2) + "|"]  # fmt: skip
    lines += [
        f"| {name} | {metric.unit} | "
        + " | ".join(number(assessment.gait[column][name]) for column in columns)
        + " |"
        for name, metric in EPISODE_METRICS.items()
    ]
    for policy, rows in assessment.per_command.items():
        names = (*PER_COMMAND, *COMMAND_COLUMNS)
        header = f"| family | m/s | {' | '.join(names)} |"
        rule = "|---" * (len(names) + 2) + "|"
        lines += ["", f"## Per command: {policy}", "", header, rule]
        lines += [
            f"| {row['family']} | {row['command']:.2f} | "
            + " | ".join(number(float(row[name])) for name in names)
            + " |"
            for row in rows
        ]
    lines += ["", "## About", "", "| what | value |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in about.items()]
    return "\n".join(lines) + "\n"


def _verdict_table(verdicts: Mapping[str, list[StyleVerdict]]) -> list[str]:
    return ["| policy | metric | value | limit | verdict |", "|---|---|---|---|---|"] + [
        f"| {name} | {v.metric} | {number(v.value)} | {v.limit} | {v.word} |"
        for name, found in verdicts.items()
        for v in found
    ]


def _scope_lines(name: str, scope: Scope) -> list[str]:
    columns = list(scope.columns)
    speeds = ", ".join(f"{family} {speed:.2f}" for family, speed in scope.families.items())
    lines = [
        f"{SCOPES[name][0].upper()}{SCOPES[name][1:]} ({', '.join(scope.floor_families)}). "
        f"Families and speeds [m/s]: {speeds}. The first {SETTLE_S:g} s of an episode are left "
        "out.",
        "",
        f"| metric | unit | floor | {' | '.join(columns)} | evidence |",
        "|---" * (len(columns) + 4) + "|",
    ]
    for metric, about in STYLE_METRICS.items():
        cells = [number(scope.columns[column].values[metric]) for column in columns]
        blind = [control for control, seen in scope.told[metric].items() if not seen]
        word = "yes" if scope.evidence(metric) else "**not evidence**"
        if blind:
            word += f"; blind to {', '.join(blind)}"
        floor = number(scope.floor.values[metric])
        lines.append(f"| {metric} | {about.unit} | {floor} | {' | '.join(cells)} | {word} |")
    lines += ["", *(f"- {metric}: {about.meaning}" for metric, about in STYLE_METRICS.items())]
    lines += ["", "Dimensions furthest apart (Wasserstein-1, std of the training reference):", ""]
    lines += [
        f"- {column}: " + ", ".join(f"{d} {number(found.dimensions[d])}" for d in found.worst)
        for column, found in scope.columns.items()
    ]
    joints = list(scope.floor.joint_rmse)
    lines += ["", "Mean stride, per joint: RMSE [rad] / Pearson's r:", "",
              f"| | {' | '.join(joints)} |", "|---" * (len(joints) + 1) + "|"]  # fmt: skip
    for column, found in {"floor": scope.floor, **scope.columns}.items():
        cells = [f"{number(found.joint_rmse[j])} / {number(found.joint_r[j])}" for j in joints]
        lines.append(f"| {column} | {' | '.join(cells)} |")
    return lines


def write_report(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Mapping[str, dict[str, StyleReward]],
    about: Mapping[str, Any],
    folder: Path,
) -> list[Path]:
    """Write style.json and style.md into `folder`, each whole or not at all; their paths."""
    everything = (assessment, verdicts, rewards, about)
    pages = {
        "style.json": json.dumps(as_dict(*everything), indent=2, allow_nan=False) + "\n",
        "style.md": markdown(*everything),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return [folder / name for name in pages]
