"""An ablation study as data: arms, seeds, budget, and the tables of its page."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envs.settings import NonNegativeInt, PositiveInt
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.evaluation.suites import load_suite
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.training import require_free


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One recipe of a study."""

    name: str
    about: str
    """Its description in the tables."""
    options: str = ""
    """Options of `fit` beyond those of the study, as on a command line."""
    every: NonNegativeInt = 0
    """Iterations between two evaluations during its trainings; 0 for the study's."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the tables."""

    heading: str
    value: str
    """Dotted name in the results: walking.<metric>, style.<name>, training.<name>, suite.met,
    suite.<entry>.success, suite.<entry>.<measure>."""
    format: str
    """Format of a number, as in .3f or .0%."""
    floor: str = ""
    """Dotted name of the value that the reference itself reaches; empty for none."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Arms side by side."""

    name: str
    """Name of its place in the page."""
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Which trainings to run, and which numbers of them to show."""

    options: str = ""
    """Options of `fit` that all arms share."""
    seeds: tuple[int, ...]
    env_steps: PositiveInt
    """Environment steps of every training."""
    every: PositiveInt
    """Iterations between two evaluations during a training."""
    evaluation: str = "walking"
    """Scenario of the evaluations, during trainings and of their last checkpoints."""
    style: str
    """Options of `wildrobot style` beside the checkpoint and the folder to write."""
    suite: str = ""
    """Suite that the last checkpoints are held against as well; empty for none."""
    page: str
    """Markdown file of the tables, with a pair of markers for each."""
    results: str
    """Folder with a JSON file for each finished training, kept with the page."""
    arms: tuple[Arm, ...]
    tables: tuple[Table, ...]
    columns: tuple[Column, ...]
    needs: dict[str, str] = field(default_factory=dict)
    """Files that arms read -> the command that makes them."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        tables = [table.name for table in self.tables]
        for what, found in (("seeds", self.seeds), ("arms", names), ("tables", tables)):
            if not found or len(set(found)) < len(found):
                raise StudyError(f"{what} are {', '.join(map(str, found))}; name each once")
        for name in (*names, *(name for table in self.tables for name in table.arms)):
            self.arm(name)
            if not name.replace("_", "").isalnum():
                raise StudyError(f"arm {name!r} names a folder; use letters, digits and _")

    def arm(self, name: str) -> Arm:
        """The arm of that name; a StudyError where there is none."""
        known = {arm.name: arm for arm in self.arms}
        if name not in known:
            raise StudyError(f"there is no arm {name!r}; allowed: {', '.join(known)}")
        return known[name]

    def fit_options(self, arm: Arm, seed: int) -> list[str]:
        """All options of `fit` of one training, without its steps, folders and checkpoint."""
        own = [*shlex.split(self.options), *shlex.split(arm.options)]
        require_free(own, "--run.env_steps")
        every = str(arm.every or self.every)
        ours = ["--data.evaluation", self.evaluation, "--data.iterations_per_epoch", every]
        return [*own, "--seed", str(seed), *ours]

    def recipe(self, settings: Mapping[str, Any]) -> str:
        """Digest of all that an arm's results depend on: settings, limits, steps, style options.

        Seed, folder and number of threads do not count. StudyError where trainings end early.
        """
        parts = {
            **counted(settings),
            "scenario": asdict(load_scenario(self.evaluation)),
            "style": self.style,
            "env_steps": self.env_steps,
        }
        if self.suite:
            parts["suite"] = [asdict(entry) for entry in load_suite(self.suite).entries]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def counted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of all settings of `fit` those of the task and of learning, without seed and threads.

    Raises:
        StudyError: they end trainings early.
    """
    if settings["trainer"]["max_time"] or settings["run"]["stop_when_passed"]:
        raise StudyError(
            "an overlay sets trainer.max_time or run.stop_when_passed, and the trainings have "
            "equal budgets; leave it out"
        )
    data = {k: v for k, v in settings["data"].items() if k not in ("num_threads", "seed")}
    return {"data": data, "model": settings["model"]}


def load_study(path: Path) -> Study:
    """The study in a YAML file, whose arms' options are not looked at; or a StudyError."""
    return from_mapping(Study, read_yaml(path, StudyError), str(path), StudyError)
