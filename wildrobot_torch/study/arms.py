"""Trainings of an ablation study: what is missing is run, and each leaves one small JSON file."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study import StudyError, TrainingBroken
from wildrobot_torch.study.plan import Arm, Study
from wildrobot_torch.study.training import (
    History,
    last_checkpoint,
    load_history,
    read_json,
    suite_report,
    train,
    write_json,
)


@dataclass(frozen=True)
class Result:
    """The numbers of one training."""

    arm: str
    seed: int
    passed: bool
    """Whether the last checkpoint keeps to the limits of the study's evaluation."""
    failure: str
    """Why the training could not go on; empty where it could."""
    reference: str
    """Content hash of the reference that style was measured by; empty without."""
    values: dict[str, float]
    """All numbers by dotted name: training.<name>, walking.<metric>, style.<name>, suite.<name>."""


class ArmRun:
    """One training of a study and its files."""

    def __init__(self, study: Study, arm: Arm, seed: int, folder: Path, settings: Any) -> None:
        """`folder` is that of the study's trainings, `settings` are all of `fit` for the arm."""
        self.study, self.arm, self.seed = study, arm, seed
        self.physics = str(settings["data"]["physics"])
        self.about: dict[str, Any] = {
            "arm": arm.name,
            "seed": seed,
            "options": study.fit_options(arm, seed),
            "recipe": study.recipe(settings),
        }
        self.name = f"{arm.name}, seed {seed}"
        self.folder = folder / arm.name / f"seed_{seed}"
        self.result = Path(study.results) / f"{arm.name}-{seed}.json"

    @property
    def state(self) -> str:
        """`finished`, `begun` with its steps, `missing`, or `other settings`."""
        if self.result.is_file():
            same = read_json(self.result).get("recipe") == self.about["recipe"]
            return "finished" if same else "other settings"
        steps = load_history(self.folder / "parts").env_steps
        return f"begun, {steps / 1e6:.2f} M steps" if steps else "missing"

    def require_same(self) -> None:
        """Refuse a result or a training that was made with other settings, with a StudyError."""
        for path in (self.result, self.folder / "about.json"):
            if path.is_file() and read_json(path).get("recipe") != self.about["recipe"]:
                raise StudyError(
                    f"{path} was made with other settings, limits, steps or style options than arm "
                    f"{self.arm.name!r} has now; delete it, or give --accept if only names changed"
                )

    def accept(self) -> bool:
        """Record the present settings in a result; whether there was one of other settings."""
        if self.state != "other settings":
            return False
        write_json(self.result, {**read_json(self.result), **self.about})
        return True

    def run(self) -> str:
        """Train what is left to train, evaluate, write the result; the outcome in words.

        Raises:
            StudyError: the training or an evaluation was refused.
            TrainingBroken: one of them was cut short.
        """
        write_json(self.folder / "about.json", self.about)
        history = load_history(self.folder / "parts")
        if history.env_steps < self.study.env_steps and not history.failure:
            options = [*self.about["options"], "--trainer.max_time", "null"]
            history = train(self.folder / "parts", options, self.study.env_steps)
        if history.env_steps < self.study.env_steps and not history.failure:
            raise TrainingBroken(f"{self.name}: the training ended at {history.env_steps:,} steps")
        limits = load_scenario(self.study.evaluation).limits
        result = {**self.about, "reference": "", "passed": False, "failure": history.failure}
        result["training"] = training_values(history, limits)
        if not history.failure:
            path = last_checkpoint(history.parts)
            if path is None:
                raise TrainingBroken(f"{self.name}: the training left no checkpoint")
            report = self._verb("evaluate", path, "--scenario", self.study.evaluation)
            metrics = {name: found["value"] for name, found in report["metrics"].items()}
            result["walking"] = {**metrics, "score": report["score"]}
            result["passed"] = report["passed"]
            report = self._verb("style", path, *shlex.split(self.study.style))
            result["reference"] = report["about"]["reference_hash"]
            result["style"] = style_values(report, path.name)
            if self.study.suite:
                options = ("--suite", self.study.suite, "--physics", self.physics)
                result["suite"] = suite_values(suite_report(path, self.folder / "suite", options))
        write_json(self.result, result)
        return f"{self.name}: {history.failure or 'done'}"

    def _verb(self, verb: str, checkpoint: Path, *options: str) -> dict[str, Any]:
        """The report of `wildrobot VERB` on a checkpoint; TrainingBroken where the verb fails."""
        out = self.folder / verb
        where = ("--physics", self.physics, "--out", str(out))
        command = [sys.executable, "-m", "wildrobot_torch", verb, str(checkpoint), *options, *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise TrainingBroken(f"{self.name}: wildrobot {verb}: {last.removeprefix('error: ')}")
        return read_json(out / ("report.json" if verb == "evaluate" else "style.json"))


def training_values(history: History, limits: Mapping[str, Limit]) -> dict[str, float | str]:
    """Numbers of a training's course, for a result's `training`.

    minutes and env_steps in all; walk_minutes and walk_steps to the first evaluation that keeps to
    the limits, `never` without one.
    """
    walked = history.first_pass(limits)
    return {
        "minutes": history.training_s / 60,
        "env_steps": float(history.env_steps),
        "walk_minutes": "never" if walked is None else walked.training_s / 60,
        "walk_steps": "never" if walked is None else float(walked.env_steps),
    }


def style_values(report: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """The numbers of a policy in the report of a style evaluation (style.json).

    held_out and whole hold its style metrics on these parts of the reference, held_out_floor and
    whole_floor those of the reference against itself, reward the style reward that its own prior
    gives it and reference_reward the one it gives the reference, gait its gait.
    """
    rewards = report["style_reward"].get(policy, {})
    values = {
        "reward": rewards.get("policy", {}),
        "reference_reward": rewards.get("held-out reference", {}),
        "gait": report["gait"][policy],
    }
    for name, scope in report["scopes"].items():
        part = name.replace(" ", "_")
        values[part] = scope["columns"][policy]
        values[f"{part}_floor"] = scope["noise_floor"]
    return values


def suite_values(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the first policy in a suite's report (suite.json).

    met is the share of the entries with a target whose targets are all met; each entry has its
    share of successful episodes and the means of its measures.
    """
    policy = report["columns"][0]
    values: dict[str, Any] = {}
    verdicts = []
    for entry in report["entries"]:
        column = entry["columns"].get(policy)
        if column is None:  # an entry that this policy's task cannot have
            continue
        means = {name: mean["value"] for name, mean in column["means"].items()}
        values[entry["name"]] = {"success": column["success"]["value"], **means}
        if column["targets"]:
            verdicts.append(all(target["passed"] for target in column["targets"]))
    values["met"] = sum(verdicts) / len(verdicts) if verdicts else None
    return values


def load_results(folder: Path) -> list[Result]:
    """Every result in a folder, by arm and seed.

    Raises:
        StudyError: one cannot be read, or style was measured by more than one reference.
    """
    results: list[Result] = []
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        try:
            fields = {k: content[k] for k in ("arm", "seed", "passed", "failure", "reference")}
            groups = {k: content.get(k, {}) for k in ("training", "walking", "style", "suite")}
            results.append(Result(**fields, values=_flat(groups)))
        except (KeyError, TypeError) as error:
            raise StudyError(f"{path}: not the result of a training ({error!r})") from None
    references = {r.reference: f"{r.arm}-{r.seed}.json" for r in results if r.reference}
    if len(references) > 1:
        raise StudyError(
            f"{folder}: style was measured by different references in "
            f"{', '.join(sorted(references.values()))}; delete the results of the older one"
        )
    return results


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All numbers of nested mappings by dotted name; null is NaN, `never` infinity."""
    numbers: dict[str, float] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            numbers |= _flat(value, f"{name}.")
        elif value is None or value == "never":
            numbers[name] = math.nan if value is None else math.inf
        elif isinstance(value, (int, float)):
            numbers[name] = float(value)
    return numbers
