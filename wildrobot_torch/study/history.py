"""A training in several parts, as its files tell: environment steps, time, evaluations.

A part is one run of `fit`. It starts from nothing or from a checkpoint of an earlier part, and what
an earlier part did beyond that checkpoint does not count: neither its steps nor its time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from envs.errors import UserError
from wildrobot_torch.ppo.policy_file import load_checkpoint
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.training_log import LogRow, read_log

ABOUT = "part.json"


@dataclass(frozen=True)
class Part:
    """One run of `fit`."""

    folder: Path
    """Holds part.json, log.txt, and the run folder in a folder of its own."""
    start: int
    """Environment steps of the checkpoint it goes on from; 0 for none."""
    evaluation: str
    """Scenario of the evaluations within the training."""
    stops_when_passed: bool
    """Whether it ends at an evaluation that passes."""
    note: str = ""
    """Why it started, where that was not as planned."""
    code: int | None = None
    """Exit code; None while it runs, and where it was killed together with its tool."""
    wall_s: float = 0.0
    """Time it took in all, start-up and evaluations included [s]."""
    message: str = ""
    """Last error it reported."""

    def save(self) -> None:
        """Write part.json."""
        content = asdict(self)
        content.pop("folder")
        write_json(self.folder / ABOUT, content)

    @property
    def run(self) -> Path | None:
        """The run folder; None where the training has not made one."""
        return next(iter(sorted(path.parent for path in self.folder.glob("*/metrics.csv"))), None)

    def rows(self) -> list[LogRow]:
        """What it logged so far."""
        if self.run is None:
            return []
        path = self.run / "metrics.csv"
        about = path.stat()
        return _rows(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=64)
def _rows(path: Path, size: int, time_ns: int) -> list[LogRow]:
    """Rows of a log; read again only where its size or time has changed.

    A training is looked at every few seconds, and reading all its parts each time would take from
    it what is being measured.
    """
    return read_log(path)


@dataclass(frozen=True)
class Iteration:
    """State of the training after an iteration."""

    env_steps: int
    training_s: float
    """Time of all iterations up to this one [s]; evaluations have no part in it."""
    values: dict[str, float]
    """What was logged of it."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation made during the training."""

    env_steps: int
    training_s: float
    scenario: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class History:
    """What counts of all parts, in order."""

    parts: list[Part]
    iterations: list[Iteration]
    evaluations: list[Evaluation]

    @property
    def env_steps(self) -> int:
        """Environment steps so far."""
        return self.iterations[-1].env_steps if self.iterations else 0

    @property
    def training_s(self) -> float:
        """Time of all iterations so far [s]."""
        return self.iterations[-1].training_s if self.iterations else 0.0

    @property
    def interrupted(self) -> bool:
        """Whether the last part neither ended by itself nor was ended as planned."""
        return bool(self.parts) and self.parts[-1].code != 0

    @property
    def wall_s(self) -> float:
        """Time of all parts in all, as far as they ended [s]."""
        return sum(part.wall_s for part in self.parts)

    def seconds_at(self, env_steps: int) -> float:
        """Time of all iterations up to so many environment steps [s]."""
        return max((i.training_s for i in self.iterations if i.env_steps <= env_steps), default=0.0)


def load_parts(folder: Path) -> list[Part]:
    """The parts in a folder, in the order they were run.

    Raises:
        StudyError: the file of one cannot be read.
    """
    parts = []
    for path in sorted(folder.glob(f"*/{ABOUT}")):
        content = read_json(path)
        try:
            parts.append(Part(path.parent, **content))
        except TypeError:
            raise StudyError(f"{path}: not the file of a part of a training") from None
    return parts


def load_history(folder: Path) -> History:
    """The training whose parts are in a folder.

    Raises:
        StudyError: a file cannot be read.
    """
    return joined(load_parts(folder))


def joined(parts: list[Part]) -> History:
    """The parts as one training."""
    iterations: list[Iteration] = []
    evaluations: list[Evaluation] = []
    for part in parts:
        iterations = [it for it in iterations if it.env_steps <= part.start]
        evaluations = [found for found in evaluations if found.env_steps <= part.start]
        seconds = iterations[-1].training_s if iterations else 0.0
        for row in part.rows():
            if row.env_steps <= part.start:
                continue
            if row.seconds > 0.0:
                seconds += row.seconds
                iterations.append(Iteration(row.env_steps, seconds, row.values))
            if row.evaluation is not None:
                evaluations.append(
                    Evaluation(row.env_steps, seconds, part.evaluation, row.evaluation)
                )
    return History(parts, iterations, evaluations)


def last_checkpoint(parts: list[Part]) -> tuple[Path, int] | None:
    """The newest checkpoint that can be read, with its environment steps; None where none is."""
    for part in reversed(parts):
        path = part.run and part.run / "checkpoints" / "last.ckpt"
        if path and path.is_file():
            try:
                return path, int(load_checkpoint(path)["wildrobot"]["env_steps"])
            except UserError:
                continue  # cut off while it was written; the one before is whole
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises:
        StudyError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StudyError(f"{path}: not readable ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path}: it must hold an object")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one go, so that nobody finds half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
