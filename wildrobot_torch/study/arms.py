"""Trainings of an ablation study: what is missing is run, and each leaves one small JSON file."""

from __future__ import annotations

import math
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import RunError
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study import StudyError, TrainingBroken
from wildrobot_torch.study.plan import Arm, Study
from wildrobot_torch.study.training import (
    STYLE,
    History,
    last_checkpoint,
    load_history,
    passes,
    read_json,
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
    """All numbers by dotted name: training.<name>, walking.<metric>, style.<name>."""


class ArmRun:
    """One training of a study and its files."""

    def __init__(self, study: Study, arm: Arm, seed: int, folder: Path, settings: Any) -> None:
        """Nothing is written yet.

        Args:
            study: the study.
            arm: what is trained.
            seed: with which seed.
            folder: of the study's trainings and evaluations.
            settings: all settings of `fit` for the arm.
        """
        self.study, self.arm, self.seed = study, arm, seed
        self.physics = str(settings["data"]["physics"])
        self.about = {
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
        """Refuse a result or a training that was made with other settings.

        Raises:
            StudyError: names the file.
        """
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
        result: dict[str, Any] = {
            **self.about,
            "reference": "",
            "passed": False,
            "failure": history.failure,
            "training": _writable(training_values(history, limits)),
        }
        if not history.failure:
            checkpoint = last_checkpoint(history.parts)
            if checkpoint is None:
                raise TrainingBroken(f"{self.name}: the training left no checkpoint")
            path = checkpoint[0]
            report = self._verb("evaluate", path, "--scenario", self.study.evaluation)
            metrics = {name: found["value"] for name, found in report["metrics"].items()}
            result["walking"] = {**metrics, "score": report["score"]}
            result["passed"] = report["passed"]
            report = self._verb("style", path, *shlex.split(self.study.style))
            result["reference"] = report["about"]["reference_hash"]
            result["style"] = style_values(report, path.name)
        write_json(self.result, result)
        return f"{self.name}: {history.failure or 'done'}"

    def _verb(self, verb: str, checkpoint: Path, *options: str) -> dict[str, Any]:
        """The report of `wildrobot VERB` on a checkpoint.

        Raises:
            TrainingBroken: it fails; the training is kept.
        """
        out = self.folder / verb
        where = ("--physics", self.physics, "--out", str(out))
        command = [sys.executable, "-m", "wildrobot_torch", verb, str(checkpoint), *options, *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise TrainingBroken(f"{self.name}: wildrobot {verb}: {last.removeprefix('error: ')}")
        return read_json(out / ("report.json" if verb == "evaluate" else "style.json"))


def training_values(history: History, limits: Mapping[str, Limit]) -> dict[str, float]:
    """Numbers of a training's course, for a result's `training`.

    minutes, env_steps, steps_per_s; walk_minutes and walk_steps to the first evaluation that
    passed, infinite without; style_reward, style_std, style_zero, auc_held_out and accuracy of the
    last tenth of the iterations, where they are logged.
    """
    walked = next((e for e in history.evaluations if passes(e.values, limits)), None)
    seconds = history.training_s
    values = {
        "minutes": seconds / 60,
        "env_steps": float(history.env_steps),
        "steps_per_s": history.env_steps / seconds if seconds else math.nan,
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
        if found := [row.values[logged] for row in tail if logged in row.values]:
            values[name] = statistics.fmean(found)
    return values


def style_values(report: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """The numbers of a policy in the report of a style evaluation (style.json).

    held_out and whole hold its style metrics on these parts of the reference, held_out_floor and
    whole_floor those of the reference against itself, reward the style reward that its own prior
    gives it and reference_reward the one it gives the reference, gait its gait.

    Raises:
        StudyError: the report lacks the policy, or has another structure.
    """
    try:
        values: dict[str, Any] = {}
        for name, scope in report["scopes"].items():
            part = name.replace(" ", "_")
            values[part] = scope["columns"][policy]["values"]
            values[f"{part}_floor"] = scope["noise_floor"]["values"]
        rewards = report["style_reward"].get(policy, {})
        values["reward"] = rewards.get("policy", {})
        values["reference_reward"] = rewards.get("held-out reference", {})
        values["gait"] = report["gait"][policy]
    except (KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"the style report has no {error} for policy {policy!r}") from None
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
            results.append(
                Result(
                    arm=content["arm"],
                    seed=int(content["seed"]),
                    passed=bool(content["passed"]),
                    failure=content["failure"],
                    reference=content["reference"],
                    values=_flat({k: content.get(k, {}) for k in ("training", "walking", "style")}),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
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


def _writable(values: Mapping[str, float]) -> dict[str, Any]:
    """Numbers as JSON holds them: infinite ones as `never`, undefined ones as null."""
    return {
        name: "never" if math.isinf(value) else None if math.isnan(value) else value
        for name, value in values.items()
    }


def run_missing(
    runs: Sequence[ArmRun], say: Callable[[str], None], after: Callable[[], None]
) -> bool:
    """Run what is not finished; whether all of it could be.

    Args:
        runs: in the order in which they are run.
        say: called with what happens.
        after: called when one is finished.
    """
    complete = True
    for run in runs:
        if run.state == "finished":
            continue
        say(f"{run.name}: training")
        try:
            say(run.run())
            after()
        except RunError as error:
            complete = False
            say(f"error: {error}")
    return complete
