"""A training of a study: runs of `wildrobot fit` that resume each other, and what they logged.

Each run of `fit` is a part, in a folder of its own. A part starts from nothing or from the last
checkpoint; what an earlier part did beyond that checkpoint counts neither in steps nor in time.
"""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import UserError
from wildrobot_torch.files import atomic_write
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.ppo.policy_file import load_checkpoint
from wildrobot_torch.study import StudyError, TrainingBroken

TIME = ("Perf/collection_time", "Perf/learning_time")
"""Metrics whose sum is the time of an iteration; evaluations and checkpoints are not part of it."""
EVALUATION = "Evaluation/"
FAILED, REFUSED = 1, 2
"""Exit codes of `fit`: with an error in one line, the training diverged; the settings are bad."""
OURS = {
    "--seed": "seeds of the study, or --seeds",
    "--run.folder": "--out",
    "--run.name": "--out",
    "--run.stop_when_passed": "nothing, for the tool decides",
    "--trainer.max_time": "env_steps of the study, or --run.env_steps",
    "--data.evaluation": "the evaluation of the study; the time to WALK is measured in WALK",
    "--data.iterations_per_epoch": "every of the study or arm, or --every",
    "--ckpt_path": "the same command again, which resumes by itself",
}
"""Options of `fit` that a study sets itself, and what to use in their place."""
PATIENCE_S = 120.0
"""Time that an interrupted training has to save its checkpoint [s]."""
LOOK_S = 5.0
"""Time between two looks at a training that may be stopped early [s]."""
PROGRAM = (sys.executable, "-m", "wildrobot_torch")
"""Command whose verbs train and evaluate."""


@dataclass(frozen=True)
class Part:
    """One run of `fit`."""

    folder: Path
    """Holds part.json, log.txt and the run's folder."""
    code: int | None = None
    """Exit code; None while it runs, or after it was killed together with its tool."""
    wall_s: float = 0.0
    """Time from start to end, evaluations included [s]."""
    error: str = ""
    """Last error that it reported."""

    @property
    def run(self) -> Path | None:
        """The run's folder; None before there is one."""
        return next(iter(sorted(path.parent for path in self.folder.glob("*/metrics.csv"))), None)

    def save(self) -> None:
        """Write part.json."""
        content = {"code": self.code, "wall_s": self.wall_s, "error": self.error}
        write_json(self.folder / "part.json", content)


@dataclass(frozen=True)
class Row:
    """What was logged at some environment steps, of an iteration or an evaluation."""

    env_steps: int
    training_s: float
    """Time of all iterations so far [s]."""
    values: dict[str, float]
    """Metric -> value; names of evaluations without their prefix."""

    def passes(self, limits: Mapping[str, Limit]) -> bool:
        """Whether an evaluation keeps to all limits."""
        return all(limit.holds(self.values.get(k, float("nan"))) for k, limit in limits.items())


@dataclass(frozen=True)
class History:
    """What counts of all parts, in order."""

    parts: list[Part]
    iterations: list[Row]
    evaluations: list[Row]

    @property
    def env_steps(self) -> int:
        """Environment steps so far."""
        return self.iterations[-1].env_steps if self.iterations else 0

    @property
    def training_s(self) -> float:
        """Time of all iterations so far [s]."""
        return self.iterations[-1].training_s if self.iterations else 0.0

    @property
    def failure(self) -> str:
        """Why the training cannot go on; empty where it can."""
        last = self.parts[-1] if self.parts else None
        return last.error if last is not None and last.code == FAILED else ""

    def first_pass(self, limits: Mapping[str, Limit]) -> Row | None:
        """The first evaluation that keeps to all limits; None where none does."""
        return next((row for row in self.evaluations if row.passes(limits)), None)


def load_history(folder: Path) -> History:
    """The training whose parts are in a folder."""
    history = History([], [], [])
    for path in sorted(folder.glob("*/part.json")):
        content = read_json(path)
        part = Part(path.parent, content["code"], content["wall_s"], content["error"])
        logged = {} if part.run is None else read_log(part.run / "metrics.csv")
        first = min(logged, default=sys.maxsize)
        history = History(
            [*history.parts, part],
            [row for row in history.iterations if row.env_steps < first],
            [row for row in history.evaluations if row.env_steps < first],
        )
        seconds = history.training_s
        for steps, values in logged.items():
            passed = sum(values.get(name, 0.0) for name in TIME)
            seconds += passed
            found = {
                name.removeprefix(EVALUATION): value
                for name, value in values.items()
                if name.startswith(EVALUATION)
            }
            if passed > 0.0:
                history.iterations.append(Row(steps, seconds, values))
            if found:
                history.evaluations.append(Row(steps, seconds, found))
    return history


def read_log(path: Path) -> dict[int, dict[str, float]]:
    """Environment steps -> metrics of a metrics.csv, ascending.

    A last line without its end is still being written, and left out.
    """
    text = path.read_text(encoding="utf-8")
    rows: dict[int, dict[str, float]] = {}
    for line in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        values = {name: float(cell) for name, cell in line.items() if name and cell}
        rows.setdefault(int(values.pop("step")), {}).update(values)
    return dict(sorted(rows.items()))


def last_checkpoint(parts: Sequence[Part]) -> Path | None:
    """The newest checkpoint that can be read; None without any."""
    for part in reversed(parts):
        path = part.run and part.run / "checkpoints" / "last.ckpt"
        if path and path.is_file():
            with suppress(UserError):  # cut off while it was written; the one before is whole
                load_checkpoint(path)
                return path
    return None


def train(
    folder: Path,
    options: Sequence[str],
    env_steps: int,
    stop: Callable[[History], bool] = lambda history: False,
    program: Sequence[str] = PROGRAM,
) -> History:
    """The training after one more part, from its last checkpoint to `env_steps`.

    Args:
        folder: of its parts.
        options: of `fit`, without folders, checkpoint and `--run.env_steps`.
        env_steps: environment steps at which it ends, if no evaluation ends it earlier.
        stop: looks at the training every `LOOK_S`, and once more at its end; where it is true, the
            training is interrupted, which leaves a checkpoint.
        program: command that `fit` is a verb of.

    Raises:
        StudyError: the settings are bad; the part is gone.
        TrainingBroken: it was cut short.
    """
    parts = load_history(folder).parts
    checkpoint, part = last_checkpoint(parts), folder / f"part_{len(parts):03d}"
    where = ["--run.folder", str(folder.absolute()), "--run.name", part.name]
    resume = [] if checkpoint is None else ["--ckpt_path", str(checkpoint.absolute())]
    words = ["fit", *options, "--run.env_steps", str(env_steps), *where, *resume]
    done = run_part(part, [*program, *words], lambda: stop(load_history(folder)))
    if done.code == REFUSED and done.run is None:
        shutil.rmtree(part)
        raise StudyError(done.error or f"`wildrobot {' '.join(words)}` was refused")
    history = load_history(folder)
    if not stop(history) and done.code and not history.failure:
        why = f" ({done.error})" if done.error else ""
        raise TrainingBroken(
            f"the training ended with code {done.code}{why}, see {part / 'log.txt'}; the same "
            "command resumes it"
        )
    return history


def run_part(
    folder: Path, command: Sequence[str], stop: Callable[[], bool] = lambda: False
) -> Part:
    """Run a command to its end, with its output in log.txt.

    It is interrupted when this program is, and once `stop` is true.
    """
    Part(folder).save()
    begin, log = time.monotonic(), folder / "log.txt"
    with log.open("wb") as output:
        # In a group of its own: Ctrl-C at a terminal would reach it beside the interrupt that is
        # sent to it here, and `fit` ends at the second one without a checkpoint.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
                    break
                if stop():
                    _interrupt(process)
                    break
        except BaseException:
            _interrupt(process)
            raise
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    wall_s = time.monotonic() - begin
    done = Part(folder, process.returncode, wall_s, errors[-1] if errors else "")
    done.save()
    return done


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Have a training end with a checkpoint; it is killed where it takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def require_free(options: Sequence[str], *others: str) -> None:
    """Refuse options of `fit` that a study sets itself, and `others`, with a StudyError."""
    for word in options:
        name = word.split("=")[0]
        if name in OURS or name in others:
            instead = OURS.get(name, "that of the study")
            raise StudyError(f"{name} is set by this tool; use {instead}")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; a StudyError where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{path}: not readable ({' '.join(str(error).split())})") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def suite_report(
    checkpoint: Path, out: Path, options: Sequence[str], program: Sequence[str] = PROGRAM
) -> dict[str, Any]:
    """Content of the suite.json that `evaluate` writes of a checkpoint, whatever its verdict.

    `options` are those of the verb beside the folder `out`.

    Raises:
        TrainingBroken: the evaluation failed.
    """
    report = out / "suite.json"
    report.unlink(missing_ok=True)  # so that it is this evaluation's, which may exit with 1
    command = [*program, "evaluate", str(checkpoint), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not report.is_file():
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise TrainingBroken(f"{out}: wildrobot evaluate: {said[-1].removeprefix('error: ')}")
    return read_json(report)
