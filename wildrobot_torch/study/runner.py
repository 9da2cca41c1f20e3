"""Runs what is missing of a study: trainings one after another, and the evaluations of each."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.continuing import Say, TrainingBroken, failure, go_on, require_whole
from wildrobot_torch.study.fitting import ROOT
from wildrobot_torch.study.history import last_checkpoint, load_history, read_json, write_json
from wildrobot_torch.study.plan import Arm, Study
from wildrobot_torch.study.results import style_values, training_values, writable

PARTS = "parts"


class ArmRun:
    """One training of a study and its files."""

    def __init__(self, study: Study, arm: Arm, seed: int, folder: Path, recipe: str) -> None:
        """Nothing is written yet.

        Args:
            study: what it belongs to.
            arm: what is trained.
            seed: with which seed.
            folder: of the study's trainings and evaluations.
            recipe: `Study.recipe` of the arm's settings.
        """
        self.study, self.arm, self.seed, self.recipe = study, arm, seed, recipe
        self.folder = folder / arm.name / f"seed_{seed}"
        self.result = study.result_path(arm, seed)
        self.options = study.training_arguments(arm, seed)

    @property
    def name(self) -> str:
        """Arm and seed, in words."""
        return f"{self.arm.name}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether its result is there.

        Raises:
            StudyError: it is that of other options or settings.
        """
        if not self.result.is_file():
            return False
        self._require_same(self.result)
        return True

    def _require_same(self, path: Path) -> None:
        found = read_json(path)
        if found["options"] != self.options:
            raise StudyError(
                f"{path} was made with {shlex.join(found['options'])}, arm {self.arm.name!r} now "
                f"is {shlex.join(self.options)}; delete it, or give the arm another name"
            )
        if found.get("recipe") != self.recipe:
            raise StudyError(
                f"{path} was made by the same options when they meant something else: defaults, "
                "overlays or the scenario's limits have changed since; delete it"
            )

    def require_same_training(self) -> None:
        """Refuse a folder that holds a training of something else.

        Raises:
            StudyError: it does.
        """
        if self._options_path.is_file():
            self._require_same(self._options_path)

    @property
    def _options_path(self) -> Path:
        """What is trained in the folder."""
        return self.folder / "options.json"

    def run(self, say: Say, physics: str) -> None:
        """Train what is left to train, evaluate, write the result.

        Raises:
            StudyError: the training or an evaluation was refused.
            TrainingBroken: the training was killed, or ended too early.
        """
        self.require_same_training()
        write_json(self._options_path, {"options": self.options, "recipe": self.recipe})
        walk = load_scenario(self.study.evaluation)
        history = load_history(self.folder / PARTS)
        if history.env_steps < self.study.env_steps or history.interrupted:
            if not failure(history):
                say(f"{self.name}: training")
                go_on(
                    self.name,
                    self.folder / PARTS,
                    history,
                    last_checkpoint(history.parts),
                    self.options,
                    evaluation=self.study.evaluation,
                    stops_when_passed=False,
                    watch=lambda: False,
                    say=say,
                    cwd=ROOT,
                )
            history = load_history(self.folder / PARTS)
        broken = failure(history)
        require_whole(self.name, history, self.study.env_steps)
        checkpoint = last_checkpoint(history.parts)
        result: dict[str, Any] = {
            "arm": self.arm.name,
            "seed": self.seed,
            "options": self.options,
            "recipe": self.recipe,
            "reference": "",
            "passed": False,
            "failure": broken,
            "training": writable(training_values(history, walk)),
        }
        if not broken:
            if checkpoint is None:
                raise TrainingBroken(f"{self.name}: the training left no checkpoint")
            path = str(checkpoint[0].absolute())
            result["walking"] = self._walking(path, physics)
            result["passed"] = result["walking"].pop("passed")
            result["reference"], result["style"] = self._style(path, physics)
        write_json(self.result, result)
        say(f"{self.name}: {'broke off: ' + broken if broken else 'done'}")

    def _walking(self, checkpoint: str, physics: str) -> dict[str, Any]:
        """Metrics of the last checkpoint, and whether they keep to the limits."""
        folder = self.folder / Path(self.study.evaluation).stem
        command = [
            *("evaluate", checkpoint, "--scenario", self.study.evaluation),
            *("--physics", physics, "--out", str(folder.absolute())),
        ]
        self._tool(command)
        report = read_json(folder / "report.json")
        metrics = {name: found["value"] for name, found in report["metrics"].items()}
        return {**metrics, "score": report["score"], "passed": report["passed"]}

    def _style(self, checkpoint: str, physics: str) -> tuple[str, dict[str, Any]]:
        """Hash of the reference of the style evaluation, and its numbers of the last checkpoint."""
        folder = self.folder / "style"
        self._tool(
            [
                *("style", checkpoint, *shlex.split(self.study.style)),
                *("--physics", physics, "--out", str(folder.absolute())),
            ]
        )
        report = read_json(folder / "style.json")
        hashed = str(report["about"]["reference_hash"])
        return hashed, style_values(report, Path(checkpoint).name)

    def _tool(self, command: Sequence[str]) -> None:
        """Run a verb of `wildrobot` in the repository's root.

        Raises:
            TrainingBroken: it fails; the training is kept.
        """
        done = subprocess.run(
            [sys.executable, "-m", "wildrobot_torch", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise TrainingBroken(
                f"{self.name}: {command[0]}: {last.removeprefix('error: ')}; the training is kept, "
                "the same command goes on here"
            )


def listing(runs: Sequence[ArmRun]) -> list[str]:
    """One line per arm: which seeds are finished, begun, missing, and its options."""
    lines = []
    for name in dict.fromkeys(run.arm.name for run in runs):
        mine = [run for run in runs if run.arm.name == name]
        states = "  ".join(f"{run.seed}: {_state(run)}" for run in mine)
        lines.append(f"{name:<18}{states}  {mine[0].arm.options}".rstrip())
    return lines


def _state(run: ArmRun) -> str:
    if run.finished:
        return "finished"
    steps = load_history(run.folder / PARTS).env_steps
    return f"begun, {steps / 1e6:.2f} M" if steps else "missing"


def run_missing(
    runs: Sequence[ArmRun], physics: dict[str, str], say: Say, after: Callable[[], None]
) -> list[str]:
    """Run what is not finished; returns one line for each that could not be.

    Args:
        runs: in the order they are to be run.
        physics: engine by arm.
        say: told what happens.
        after: called when one is finished.
    """
    problems = []
    for run in runs:
        if run.finished:
            continue
        try:
            run.run(say, physics[run.arm.name])
            after()
        except TrainingBroken as error:
            problems.append(str(error))
            say(f"error: {error}")
    return problems
