"""Results of a study's trainings: one JSON file each, and how several seeds are summed up."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation import Scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.history import History, read_json
from wildrobot_torch.study.walking import STYLE, passes


@dataclass(frozen=True)
class Result:
    """What came of one training."""

    arm: str
    seed: int
    options: list[str]
    """Of `fit`, without where it wrote."""
    passed: bool
    """Whether the last checkpoint keeps to the limits of the study's evaluation."""
    failure: str
    """Why the training broke off; empty where it did not."""
    reference: str
    """Content hash of the reference that style was measured by; empty where it was not."""
    values: dict[str, float]
    """All numbers by dotted name: training.<name>, walking.<metric>, style.<name>."""


def training_values(history: History, walk: Scenario) -> dict[str, float]:
    """Numbers of a training's course, for a result's `training`.

    minutes, env_steps, steps_per_s; walk_minutes and walk_steps to the first evaluation during the
    training that passed, infinite where none did; style_reward, style_std and held-out auc of the
    last tenth of the iterations, where they are logged.
    """
    walked = next((e for e in history.evaluations if passes(e.metrics, walk)), None)
    values = {
        "minutes": history.training_s / 60,
        "env_steps": float(history.env_steps),
        "steps_per_s": history.env_steps / history.training_s if history.training_s else math.nan,
        "walk_minutes": math.inf if walked is None else walked.training_s / 60,
        "walk_steps": math.inf if walked is None else float(walked.env_steps),
    }
    tail = history.iterations[-max(len(history.iterations) // 10, 1) :]
    for name, logged in (
        ("style_reward", STYLE),
        ("style_std", f"{STYLE}_std"),
        ("style_zero", f"{STYLE}_zero"),
        ("auc_held_out", "AMP/auc_held_out"),
        ("accuracy", "AMP/accuracy"),
    ):
        found = [it.values[logged] for it in tail if logged in it.values]
        if found:
            values[name] = statistics.fmean(found)
    return values


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All numbers of nested mappings by dotted name; lists and text are left out, null is NaN."""
    numbers: dict[str, float] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            numbers |= flat(value, f"{name}.")
        elif value is None:
            numbers[name] = math.nan
        elif isinstance(value, (int, float)):  # bool included: a share of seeds that is true
            numbers[name] = float(value)
    return numbers


def style_values(report: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """The numbers of a policy in the report of a style evaluation (style.json).

    held_out and whole hold its style metrics on these parts of the reference, held_out_floor and
    whole_floor what the reference reaches against itself, reward the style reward its own prior
    gives it and reference_reward the one it gives the reference, gait its gait.

    Args:
        report: content of the file.
        policy: its name there.

    Raises:
        StudyError: the report lacks the policy, or is laid out otherwise.
    """
    try:
        values: dict[str, Any] = {}
        for name, scope in report["scopes"].items():
            part = name.replace(" ", "_")
            values[part] = scope["columns"][policy]["values"]
            values[f"{part}_floor"] = scope["floor"]["values"]
        rewards = report["style_reward"].get(policy, {})
        values["reward"] = rewards.get("policy", {})
        values["reference_reward"] = rewards.get("held-out reference", {})
        values["gait"] = report["gait"][policy]
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"the report of the style evaluation has no {error} for policy {policy!r}"
        ) from None
    return values


def load_results(folder: Path) -> list[Result]:
    """Every result in a folder of results, by arm and seed.

    Raises:
        StudyError: one cannot be read, or style was measured by more than one reference.
    """
    results: list[Result] = []
    for path in folder.glob("*.json"):
        content = read_json(path)
        values = flat({key: content.get(key, {}) for key in ("training", "walking", "style")})
        # Infinity is written as text: JSON has no number for it.
        values |= {
            f"training.{name}": math.inf
            for name, value in content.get("training", {}).items()
            if value == "never"
        }
        results.append(
            Result(
                arm=str(content["arm"]),
                seed=int(content["seed"]),
                options=list(content["options"]),
                passed=bool(content["passed"]),
                failure=str(content["failure"]),
                reference=str(content["reference"]),
                values=values,
            )
        )
    results.sort(key=lambda result: (result.arm, result.seed))
    by_reference = {r.reference: f"{r.arm}-{r.seed}.json" for r in reversed(results) if r.reference}
    if len(by_reference) > 1:
        raise StudyError(
            f"{folder}: style was measured by different references in "
            f"{', '.join(sorted(by_reference.values()))}, among others; delete what belongs to one "
            "that is gone"
        )
    return results


def writable(values: Mapping[str, float]) -> dict[str, Any]:
    """Numbers as JSON holds them: infinite ones as `never`, undefined ones as null."""
    return {
        name: "never" if math.isinf(value) else None if math.isnan(value) else value
        for name, value in values.items()
    }


@dataclass(frozen=True)
class Summary:
    """One number over the seeds of an arm."""

    median: float
    lowest: float
    highest: float
    known: int
    """Seeds that have it."""


def summary(results: Iterable[Result], value: str) -> Summary | None:
    """Median and range of a number over results; None where none has it.

    Undefined numbers are left out; infinite ones, of trainings that never walked, count.
    """
    known = [r.values[value] for r in results if not math.isnan(r.values.get(value, math.nan))]
    if not known:
        return None
    return Summary(statistics.median(known), min(known), max(known), len(known))
