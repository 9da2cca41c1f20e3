"""A study as data: arms, seeds, budget, and the tables its results go to."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from envs.yaml_files import read_yaml
from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.fitting import ROOT, fit_settings, require_free

OURS = {
    "--seed": "the study's seeds",
    "--run.folder": "the study's folder",
    "--run.name": "the study's folder",
    "--run.env_steps": "the study's env_steps",
    "--run.stop_when_passed": "nothing, for arms have equal budgets",
    "--trainer.max_time": "the study's env_steps",
    "--data.evaluation": "the study's evaluation",
    "--data.iterations_per_epoch": "every, the study's or the arm's",
    "--ckpt_path": "nothing, for the study resumes by itself",
}
"""Options of `fit` that an arm may not set, and what to use in their place."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One recipe of a study."""

    name: str
    about: str
    """What it is, for the tables."""
    options: str = ""
    """Options of `fit` beyond those of the study, as on a command line."""
    every: int = 0
    """Iterations between two evaluations during its trainings, where what an evaluation finds
    changes them; 0 for the study's."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the tables."""

    heading: str
    value: str
    """Dotted name in the results: walking.<metric>, style.<name>, training.<name>."""
    format: str
    """Format of a number, as in .3f or .0%."""
    floor: str = ""
    """Dotted name of what the reference itself reaches; empty for nothing."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Arms side by side."""

    name: str
    """Of its place in the page."""
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Which trainings to run, and what to make of them.

    Raises:
        StudyError: names that are used twice, or that are unknown.
    """

    name: str
    options: str
    """Options of `fit` that all arms share."""
    seeds: tuple[int, ...]
    env_steps: int
    """Environment steps of every training."""
    every: int
    """Iterations between two evaluations during a training."""
    evaluation: str = "walking"
    """Scenario of the evaluations, during trainings and of their last checkpoints."""
    style: str
    """Options of `wildrobot style` beside the checkpoint and the folder to write."""
    page: str
    """Markdown file the tables go to, with a pair of markers for each."""
    results: str
    """Folder with a JSON file for each finished training. It is kept with the page, so that a study
    goes on where trainings' own files are not at hand."""
    arms: tuple[Arm, ...]
    tables: tuple[Table, ...]
    columns: tuple[Column, ...]
    needs: Mapping[str, str] = field(default_factory=dict)
    """Files that arms read -> the command that makes them."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        for what, found in (("arms", names), ("tables", [table.name for table in self.tables])):
            twice = sorted({name for name in found if found.count(name) > 1})
            if twice:
                raise StudyError(f"study {self.name!r}: {what} of one name: {', '.join(twice)}")
        for table in self.tables:
            self.chosen(table.arms)
        for name in names:
            if not name.replace("_", "").isalnum():
                raise StudyError(
                    f"study {self.name!r}: arm {name!r} names a folder; use letters, digits and _"
                )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise StudyError(f"study {self.name!r}: seeds are {list(self.seeds)}; name each once")
        for key in ("env_steps", "every"):
            if getattr(self, key) < 1:
                raise StudyError(f"study {self.name!r}: {key} must be positive")
        for arm in self.arms:
            if arm.every < 0:
                raise StudyError(
                    f"study {self.name!r}: every of arm {arm.name!r} is {arm.every}; it must be "
                    "positive, or 0 for the study's"
                )

    def result_path(self, arm: Arm, seed: int) -> Path:
        """The file of a training's result."""
        return ROOT / self.results / f"{arm.name}-{seed}.json"

    def chosen(self, names: tuple[str, ...]) -> list[Arm]:
        """The arms of these names; all where there are none.

        Raises:
            StudyError: there is no such arm.
        """
        known = {arm.name: arm for arm in self.arms}
        for name in names:
            if name not in known:
                raise StudyError(
                    f"study {self.name!r} has no arm {name!r}; allowed: {', '.join(known)}"
                )
        return [known[name] for name in names] if names else list(self.arms)

    def arguments(self, arm: Arm) -> list[str]:
        """Options of `fit` that make an arm's recipe."""
        return [*shlex.split(self.options), *shlex.split(arm.options)]

    def training_arguments(self, arm: Arm, seed: int) -> list[str]:
        """All options of `fit` of one training, but for where it writes and resumes from."""
        return [
            *self.arguments(arm),
            *("--seed", str(seed)),
            *("--run.env_steps", str(self.env_steps)),
            *("--data.evaluation", self.evaluation),
            *("--data.iterations_per_epoch", str(arm.every or self.every)),
        ]

    def settings(self, arm: Arm) -> dict[str, Any]:
        """All settings of an arm's trainings, as the command line reads them.

        Raises:
            StudyError: it refuses them, or the arm sets what the study does.
        """
        try:
            require_free(self.arguments(arm), OURS)
            settings = fit_settings(self.training_arguments(arm, self.seeds[0]), ROOT)
            if settings["trainer"]["max_time"] or settings["run"]["stop_when_passed"]:
                raise StudyError(
                    "an overlay sets trainer.max_time or run.stop_when_passed, and arms have equal "
                    "budgets; leave it out"
                )
            return settings
        except (StudyError, ValueError) as error:
            raise StudyError(f"arm {arm.name!r} of study {self.name!r}: {error}") from None

    def recipe(self, settings: Mapping[str, Any]) -> str:
        """Digest of all that makes an arm's results: `settings`, limits, how style is measured.

        Options name overlays and leave defaults out, so they stay alike where these change. Where
        and on how many threads a training runs is no part of it.
        """
        data = {key: value for key, value in settings["data"].items() if key != "num_threads"}
        scenario = load_scenario(self.evaluation)
        parts = {"data": data, "model": settings["model"], "scenario": asdict(scenario)}
        parts |= {"style": self.style, "precision": settings["trainer"]["precision"]}
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_study(path: Path) -> Study:
    """The study in a YAML file; the file's name is the study's.

    Raises:
        StudyError: there is none, or it says what no study can. Options of the arms are looked at
            by `Study.settings`.
    """
    content = read_yaml(path, StudyError)
    values = dict(_checked(path, "the study", content, Study, {"name"}))
    for key, kind in (("arms", Arm), ("tables", Table), ("columns", Column)):
        entries = values[key]
        if not isinstance(entries, list) or not entries:
            raise StudyError(f"{path}: {key} must be a list with at least one entry")
        values[key] = tuple(
            kind(**_frozen(_checked(path, f"{key}[{index}]", entry, kind)))
            for index, entry in enumerate(entries)
        )
    needs = values.get("needs", {})
    if not isinstance(needs, dict) or not all(isinstance(text, str) for text in needs.values()):
        raise StudyError(f"{path}: needs must map files to commands")
    return Study(name=path.stem, **_frozen(values))


def _checked(
    path: Path, what: str, content: Any, kind: type, given: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """The keys of a mapping, when they are those of a dataclass with the right plain types."""
    if not isinstance(content, dict):
        raise StudyError(f"{path}: {what} must hold keys and values")
    known = {entry.name: entry for entry in fields(kind) if entry.name not in given}
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise StudyError(
            f"{path}: unknown key(s) {', '.join(unknown)} in {what}; allowed: {', '.join(known)}"
        )
    missing = [
        name
        for name, entry in known.items()
        if entry.default is MISSING and entry.default_factory is MISSING and name not in content
    ]
    if missing:
        raise StudyError(f"{path}: key(s) {', '.join(missing)} missing in {what}")
    plain = {"str": (str, "text"), "int": (int, "a whole number")}
    for name, value in content.items():
        expected = plain.get(str(known[name].type))
        if expected and (not isinstance(value, expected[0]) or isinstance(value, bool)):
            raise StudyError(f"{path}: {name} in {what} is {value!r}; it must be {expected[1]}")
        if str(known[name].type).startswith("tuple") and not isinstance(value, list):
            raise StudyError(f"{path}: {name} in {what} is {value!r}; it must be a list")
    return content


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
