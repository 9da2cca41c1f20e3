"""The report of a style evaluation: style.json and style.md in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation.evaluate import Verdict
from wildrobot_torch.evaluation.report import number, plain, table
from wildrobot_torch.evaluation.style.assess import SCOPES, SETTLE_S, Assessment
from wildrobot_torch.evaluation.style.compare import STYLE_METRICS
from wildrobot_torch.files import atomic_write
from wildrobot_torch.motion.metrics import EPISODE_METRICS

Rewards = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Policy with a prior -> `policy` and `held-out reference` -> statistics of the style reward."""


def write_report(
    assessment: Assessment,
    verdicts: Mapping[str, list[Verdict]],
    rewards: Rewards,
    about: Mapping[str, Any],
    folder: Path,
) -> list[Path]:
    """Write style.json and style.md into `folder`; their paths. In JSON undefined values are null.

    `verdicts` and `rewards` are by policy; `about` names policies, reference and settings.
    """
    scopes = {
        name: {
            "meaning": SCOPES[name],
            **asdict(scope),
            "evidence": {metric: scope.evidence(metric) for metric in STYLE_METRICS},
        }
        for name, scope in assessment.scopes.items()
    }
    content = {
        "about": about,
        "verdicts": {name: [v.as_dict() for v in found] for name, found in verdicts.items()},
        "style_reward": rewards,
        "scopes": scopes,
        "gait": assessment.gait,
        "metrics": {name: asdict(metric) for name, metric in STYLE_METRICS.items()},
    }
    pages = {
        "style.json": json.dumps(plain(content), indent=2, allow_nan=False) + "\n",
        "style.md": markdown(assessment, verdicts, rewards, about),
    }
    for name, text in pages.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in pages]


def markdown(
    assessment: Assessment,
    verdicts: Mapping[str, list[Verdict]],
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
        speeds = ", ".join(f"{family} {speed:.2f}" for family, speed in scope.families.items())
        lines += [
            f"\n## Style: {name}\n",
            f"Part of the reference: {SCOPES[name]} ({', '.join(scope.floor_families)}). Families "
            f"and speeds [m/s]: {speeds}. The first {SETTLE_S:g} s of an episode are left out.\n",
        ]
        columns = {"noise floor": scope.noise_floor, **scope.columns}
        rows = []
        for metric, what in STYLE_METRICS.items():
            missed = [control for control, seen in scope.detected[metric].items() if not seen]
            word = "yes" if scope.evidence(metric) else "**no**"
            word += f"; misses {', '.join(missed)}" if missed else ""
            values = (number(found[metric]) for found in columns.values())
            rows.append((f"{metric}: {what.meaning}", what.unit, *values, word))
        lines += table(("metric", "unit", *columns, "evidence"), rows)
    rows = [
        (name, which, *map(number, reward.values()))
        for name, both in rewards.items()
        for which, reward in both.items()
    ]
    if rows:
        head = next(iter(next(iter(rewards.values())).values()))
        lines += ["\n## Style reward of each checkpoint's own prior\n"]
        lines += table(("policy", "motion", *head), rows)
    gait = [
        (name, metric.unit, *(number(values[name]) for values in assessment.gait.values()))
        for name, metric in EPISODE_METRICS.items()
    ]
    lines += ["\n## Gait\n", *table(("metric", "unit", *assessment.gait), gait)]
    lines += ["\n## About\n", *table(("what", "value"), list(about.items()))]
    return "\n".join(lines) + "\n"
