"""Runs of `wildrobot fit` that a study asks for."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from wildrobot_torch.cli.main import main as wildrobot
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.history import Part

ROOT = Path(__file__).resolve().parents[2]
OURS = {
    "--seed": "--seeds",
    "--run.folder": "--out",
    "--run.name": "--out",
    "--run.stop_when_passed": "--stop",
    "--trainer.max_time": "--max_time",
    "--data.evaluation": "--screening",
    "--data.iterations_per_epoch": "--every",
    "--ckpt_path": "the same command again, which resumes by itself",
}
"""Options of `fit` that a study sets itself, and what to use in their place."""
_PATIENCE_S = 120.0
"""Time a training has to end after it was asked to [s]."""


def fit_settings(arguments: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """All settings of `fit` with these options, as the command line reads them.

    Args:
        arguments: options of `fit`.
        folder: where its relative paths start; None for the working directory.

    Raises:
        StudyError: the command line refuses them; with its own words.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code: Any = wildrobot(["fit", *arguments, "--print_config"])
        except SystemExit as stop:
            code = stop.code
    if code:
        raise StudyError("; ".join(err.getvalue().split("\n")).removeprefix("error: ").strip("; "))
    return yaml.safe_load(out.getvalue())


def require_free(arguments: Sequence[str], replacements: Mapping[str, str] = OURS) -> None:
    """Refuse options that the study sets itself.

    Raises:
        StudyError: with the option to use in place of it.
    """
    for word in arguments:
        name = word.split("=")[0]
        if name in replacements:
            raise StudyError(f"{name} is set by this tool; use {replacements[name]}")


def clock_seconds(text: str) -> float:
    """Seconds of a time written DD:HH:MM:SS.

    Raises:
        StudyError: it is written otherwise.
    """
    words = text.split(":")
    if len(words) != 4 or not all(word.isdigit() for word in words):
        raise StudyError(f"max_time is {text!r}; write DD:HH:MM:SS, as in 00:00:08:00")
    days, hours, minutes, seconds = map(int, words)
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def run_part(
    part: Part,
    arguments: Sequence[str],
    watch: Callable[[], bool],
    folder: Path | None = None,
    every_s: float = 3.0,
) -> Part:
    """Run one part of a training; returns it with how it ended.

    Its output goes to log.txt in the part's folder. A part that `watch` ends counts as ended as
    planned: the training is interrupted, and its last checkpoint is that of its last evaluation.

    Args:
        part: with its folder, which is made.
        arguments: options of `fit` beyond those that say where to write.
        watch: called every `every_s`; True ends the training.
        folder: working directory; None for the present one.
        every_s: time between two calls of `watch` [s].
    """
    part.folder.mkdir(parents=True, exist_ok=True)
    part.save()
    where = ["--run.folder", str(part.folder.parent.absolute()), "--run.name", part.folder.name]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    begin, ended = time.monotonic(), False
    log = part.folder / "log.txt"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wildrobot_torch", "fit", *arguments, *where],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(every_s)
                if not ended and watch():
                    ended = True
                    process.send_signal(signal.SIGINT)
                    process.wait(_PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    watch()  # what came in at the very end
    errors = [
        line.removeprefix("error: ")
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("error: ")
    ]
    done = replace(
        part,
        code=0 if ended else process.returncode,
        wall_s=time.monotonic() - begin,
        message=errors[-1] if errors else "",
    )
    done.save()
    return done
