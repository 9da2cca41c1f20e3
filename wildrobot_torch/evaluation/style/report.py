"""The report of a style evaluation: style.json and style.md in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation.report import number, plain, table
from wildrobot_torch.evaluation.style.assess import (
    SCOPES,
    SETTLE_S,
    Assessment,
    Scope,
    StyleVerdict,
)
from wildrobot_torch.evaluation.style.compare import STYLE_METRICS
from wildrobot_torch.files import atomic_write
from wildrobot_torch.motion.metrics import EPISODE_METRICS

Rewards = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Policy with a prior -> `policy` and `held-out reference` -> statistics of the style reward."""


def write_report(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Rewards,
    about: Mapping[str, Any],
    folder: Path,
) -> list[Path]:
    """Write style.json and style.md into `folder`, each whole or not at all; their paths.

    Args:
        assessment: what was measured.
        verdicts: of each policy.
        rewards: what the policies' own priors say; empty without any.
        about: policies, reference and settings, in the caller's words.
        folder: where the files go.
    """
    everything = (assessment, verdicts, rewards, about)
    pages = {
        "style.json": json.dumps(as_dict(*everything), indent=2, allow_nan=False) + "\n",
        "style.md": markdown(*everything),
    }
    for name, text in pages.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in pages]


def as_dict(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Rewards,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The evaluation as JSON values; what is undefined is null."""
    scopes = {
        name: {
            "meaning": SCOPES[name],
            **asdict(scope),
            "evidence": {metric: scope.evidence(metric) for metric in STYLE_METRICS},
        }
        for name, scope in assessment.scopes.items()
    }
    return plain({
        "about": about,
        "verdicts": {name: [asdict(v) for v in found] for name, found in verdicts.items()},
        "style_reward": rewards,
        "scopes": scopes,
        "gait": assessment.gait,
        "metrics": {name: asdict(metric) for name, metric in STYLE_METRICS.items()},
    })  # fmt: skip


def markdown(
    assessment: Assessment,
    verdicts: Mapping[str, list[StyleVerdict]],
    rewards: Rewards,
    about: Mapping[str, Any],
) -> str:
    """The evaluation as a page: verdicts, style beside noise floor and controls, gait."""
    judged = [
        (name, v.metric, number(v.value), v.limit, v.word)
        for name, found in verdicts.items()
        for v in found
    ]
    lines = ["# Style", "", *table(("policy", "metric", "value", "limit", "verdict"), judged)]
    for name, scope in assessment.scopes.items():
        lines += ["", f"## Style: {name}", "", *_scope_lines(name, scope)]
    rows = [
        (name, which, *map(number, reward.values()))
        for name, both in rewards.items()
        for which, reward in both.items()
    ]
    if rows:
        head = next(iter(next(iter(rewards.values())).values()))
        lines += ["", "## Style reward of each checkpoint's own prior", ""]
        lines += table(("policy", "motion", *head), rows)
    columns = list(assessment.gait)
    lines += ["", "## Gait", ""]
    lines += table(
        ("metric", "unit", *columns),
        [
            (name, metric.unit, *(number(assessment.gait[column][name]) for column in columns))
            for name, metric in EPISODE_METRICS.items()
        ],
    )
    lines += ["", "## About", "", *table(("what", "value"), list(about.items()))]
    return "\n".join(lines) + "\n"


def _scope_lines(name: str, scope: Scope) -> list[str]:
    columns = {"noise floor": scope.noise_floor, **scope.columns}
    speeds = ", ".join(f"{family} {speed:.2f}" for family, speed in scope.families.items())
    meaning = SCOPES[name]
    lines = [
        f"{meaning[0].upper()}{meaning[1:]} ({', '.join(scope.floor_families)}). Families and "
        f"speeds [m/s]: {speeds}. The first {SETTLE_S:g} s of an episode are left out.",
        "",
    ]
    rows = []
    for metric, about in STYLE_METRICS.items():
        missed = [control for control, seen in scope.detected[metric].items() if not seen]
        word = "yes" if scope.evidence(metric) else "**no**"
        word += f"; misses {', '.join(missed)}" if missed else ""
        values = (number(found[metric]) for found in columns.values())
        rows.append((metric, about.unit, *values, word))
    lines += table(("metric", "unit", *columns, "evidence"), rows)
    lines += ["", *(f"- {metric}: {about.meaning}" for metric, about in STYLE_METRICS.items())]
    return lines
