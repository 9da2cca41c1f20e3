"""The next part of a training: from its last checkpoint, or from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.fitting import run_part
from wildrobot_torch.study.history import History, Part

DIVERGED = 1
"""Exit code of a training that says that it cannot go on: an outcome, not a mistake in the request.
One that says nothing was interrupted, or a fault in it."""
REFUSED = 2
"""Exit code of a training that was asked for something it cannot do."""
Say = Callable[[str], None]


class TrainingBroken(StudyError):
    """A training ended neither as planned nor by a mistake in the request; it can be resumed."""


def go_on(
    name: str,
    folder: Path,
    history: History,
    checkpoint: tuple[Path, int] | None,
    arguments: Sequence[str],
    *,
    evaluation: str,
    stops_when_passed: bool,
    watch: Callable[[], bool],
    say: Say,
    cwd: Path | None = None,
) -> Part:
    """Run the next part of a training.

    Args:
        name: of the training, in what is said of it.
        folder: of its parts.
        history: what they did so far.
        checkpoint: to go on from, with its environment steps; None starts from nothing.
        arguments: options of `fit`, but for where to write and what to go on from.
        evaluation: name of the scenario the training is evaluated in.
        stops_when_passed: whether it ends at an evaluation that passes.
        watch: see `run_part`.
        say: told when the training was interrupted before.
        cwd: working directory of the training; None for the present one.

    Raises:
        StudyError, TrainingBroken: as of `require_outcome`.
    """
    note = ""
    if history.interrupted:
        where = (
            f"resumed from the checkpoint at {checkpoint[1] / 1e6:.2f} M steps"
            if checkpoint
            else "started anew, for there was no checkpoint yet,"
        )
        note = f"{where} after an interruption"
        say(f"{name}: {note}")
    part = Part(
        folder / f"part_{len(history.parts):03d}",
        checkpoint[1] if checkpoint else 0,
        evaluation,
        stops_when_passed,
        note,
    )
    resume = ("--ckpt_path", str(checkpoint[0].absolute())) if checkpoint else ()
    done = run_part(part, [*arguments, *resume], watch, cwd)
    require_outcome(name, done)
    return done


def require_outcome(name: str, part: Part) -> None:
    """Tell a training that ended, or cannot go on, from one that was only cut short.

    Args:
        name: of the training, in what is said of it.
        part: its last, as it ended.

    Raises:
        StudyError: the training was refused; the part is gone.
        TrainingBroken: it was killed, or broke off by what is no outcome, as a full disk.
    """
    if part.code == REFUSED and part.run is None:
        shutil.rmtree(part.folder)
        raise StudyError(part.message or f"{name}: the training was refused")
    if part.code and not _diverged(part):
        why = f" ({part.message})" if part.message else ""
        raise TrainingBroken(
            f"{name}: the training ended with code {part.code}{why}, see "
            f"{part.folder / 'log.txt'}; the same command resumes it"
        )


def require_whole(name: str, history: History, env_steps: int) -> None:
    """Refuse to take a training for finished that did not come to its environment steps.

    One that the system asks to end does so with exit code 0.

    Raises:
        TrainingBroken: it did not, and can go on.
    """
    if not failure(history) and history.env_steps < env_steps:
        raise TrainingBroken(
            f"{name}: the training ended at {history.env_steps:,} of {env_steps:,} steps; the same "
            "command resumes it"
        )


def failure(history: History) -> str:
    """Why a training cannot go on; empty where it can."""
    last = history.parts[-1] if history.parts else None
    return "" if last is None or not _diverged(last) else last.message


def _diverged(part: Part) -> bool:
    return part.code == DIVERGED and bool(part.message)
