"""Callbacks of a training: run directory, console lines, budgets, alarms."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections import deque
from datetime import timedelta
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.loggers import Logger

from wildrobot_torch.ppo.finite import TrainingDiverged, require_finite_weights
from wildrobot_torch.training.health.alarms import COLLAPSED, Metrics, Rule, rules
from wildrobot_torch.training.health.postmortem import write_postmortem


class RunDirectory(Callback):
    """Writes how a run was started, once all its settings and files have been checked."""

    def __init__(self, folder: Path, config: str, loggers: list[Logger]) -> None:
        """`config` is the YAML text that repeats the run; `loggers` write into `folder`."""
        self.folder, self.config, self.loggers = folder, config, loggers

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write config.yaml, command.txt, environment.json and, in a git checkout, git.diff."""
        # Not before: a logger the trainer knows leaves files behind even when the start fails.
        trainer.loggers = self.loggers
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        commit, diff = _git("rev-parse", "HEAD"), _git("diff", "HEAD")
        about = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "physics": pl_module.data.engine,
            "packages": {dist.name: dist.version for dist in distributions()},
            "commit": commit.strip() or None,
        }
        files = {
            "config.yaml": self.config,
            "command.txt": " ".join(["wildrobot", *sys.argv[1:]]) + "\n",
            "environment.json": json.dumps(about, indent=2) + "\n",
        }
        for name, text in (files | ({"git.diff": diff} if diff else {})).items():
            (self.folder / name).write_text(text)
        print(f"run directory: {self.folder}", flush=True)


def _git(*words: str) -> str:
    """Output of a git command in this source's checkout; empty without git or a checkout."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


class Budget(Callback):
    """Ends a training at a number of environment steps, or once an evaluation passes."""

    def __init__(self, env_steps: int, stop_when_passed: bool) -> None:
        """Either limit ends the training, after a last evaluation and checkpoint."""
        self.env_steps, self.stop_when_passed = env_steps, stop_when_passed

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuse a motion prior whose weight is 0 until the training ends.

        A discount that does not get as far as it should is said: short trials of a recipe are fine.
        """
        if pl_module.amp is not None:
            pl_module.amp.require_start(self.env_steps)
        ramp, gamma = pl_module.gamma_ramp, pl_module.ppo.gamma
        if ramp is not None and self.env_steps < ramp.end and trainer.is_global_zero:
            print(
                f"warning: gamma ends at {ramp.discount(gamma, self.env_steps):.3f}, not at "
                f"ppo.gamma {gamma:g}: run.env_steps {self.env_steps} is less than gamma_ramp.end "
                f"{ramp.end}",
                file=sys.stderr,
                flush=True,
            )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Stop after the iteration that reaches the number of environment steps."""
        if pl_module.env_steps >= self.env_steps:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Stop after an evaluation that keeps to all limits of its scenario."""
        if self.stop_when_passed and pl_module.evaluation_passed:
            trainer.should_stop = True
            if trainer.is_global_zero:
                print("all limits of the evaluation's scenario are kept: stop", flush=True)


class Alarms(Callback):
    """Warns about a training that goes wrong, and saves the data that shows why.

    One line on stderr when a rule of `training.health.alarms` begins to hold, and again if it does
    after it had ceased to. A dump when the style reward collapses, the first time, and when
    numbers are not finite any more; that ends the training before a checkpoint can hold them.
    """

    KEPT = 50
    """Iterations in a dump's metrics."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the run's: dumps go to its postmortem/<iteration>."""
        self.folder = folder
        self._rules: tuple[Rule, ...] = ()
        self._history: deque[Metrics] = deque(maxlen=100)
        self._sounding: set[str] = set()
        self._collapsed = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Choose the rules for the run's settings."""
        self._rules = rules(pl_module.ppo, pl_module.amp)

    def on_train_batch_start(self, trainer: pl.Trainer, _: Any, batch: Any, *__: Any) -> None:
        """Remember the rollout for a post-mortem."""
        self._batch, self._iteration = batch, trainer.global_step + 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Check the iteration's metrics and networks."""
        self._history.append(pl_module.metrics)
        require_finite_weights(pl_module, self._iteration)
        if not trainer.is_global_zero:
            return
        for rule in self._rules:
            line = rule.warning(self._history, self._iteration)
            if line is None:
                self._sounding.discard(rule.name)
            elif rule.name not in self._sounding:
                self._sounding.add(rule.name)
                print(f"warning: {line}", file=sys.stderr, flush=True)
                if rule.name == COLLAPSED and not self._collapsed:
                    self._collapsed = True
                    self._dump(line)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Dump the iteration that diverged."""
        if not isinstance(exception, TrainingDiverged) or not trainer.is_global_zero:
            return
        if not self._history or self._history[-1] is not pl_module.metrics:
            self._history.append(pl_module.metrics)  # as far as the iteration came
        self._dump(str(exception))
        last = self.folder / "checkpoints" / "last.ckpt"
        if last.is_file():
            print(f"last good checkpoint: {last}", file=sys.stderr, flush=True)

    def _dump(self, reason: str) -> None:
        where = self.folder / "postmortem" / str(self._iteration)
        try:
            write_postmortem(where, reason, list(self._history)[-self.KEPT :], self._batch)
        except OSError as error:
            # It must not hide the fault it is about.
            print(f"warning: no post-mortem written: {error}", file=sys.stderr, flush=True)
            return
        print(f"post-mortem: {where}", file=sys.stderr, flush=True)


COLUMNS = (
    ("falls", "Metrics/fall_rate", "{:.0%}"),
    ("difficulty", "Curriculum/difficulty", "{:.2f}"),
    ("terms", "Curriculum/terms", "{:.2f}"),
    ("length", "Train/mean_episode_length", "{:.0f}"),
    ("reward", "Reward/total", "{:.3f}"),
    ("v err", "Metrics/velocity_error", "{:.3f}"),
    ("style", "AMP/style_reward", "{:.3f}"),
    ("std", "Policy/mean_std", "{:.2f}"),
    ("lr", "Loss/learning_rate", "{:.0e}"),
)
"""Heading, metric and format of the values on a console line."""


class Progress(Callback):
    """One console line every few seconds of training, and one per evaluation."""

    EVERY_S = 5.0
    """Shortest time between two lines [s]."""

    def __init__(self, env_steps: int) -> None:
        """For a training of `env_steps` environment steps."""
        self.budget = env_steps
        self._printed = -float("inf")

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Begin the clock; warn about an engine that is too slow to train on."""
        self._begin = (time.monotonic(), pl_module.env_steps)
        if pl_module.data.engine == "warp-cpu" and trainer.is_global_zero:
            print(
                "warning: physics 'warp-cpu' is for tests; it is 5 to 6 times slower than native "
                "on one core, and uses no second one",
                file=sys.stderr,
                flush=True,
            )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Print the iteration, unless a line was printed just before."""
        now = time.monotonic()
        if not trainer.is_global_zero or now - self._printed < self.EVERY_S:
            return
        self._printed = now
        metrics: dict[str, float] = pl_module.metrics
        values = [f"{head} {form.format(metrics[x])}" for head, x, form in COLUMNS if x in metrics]
        env_steps, (began, first) = pl_module.env_steps, self._begin
        # To the nearest budget.
        left = [(self.budget - env_steps) * (now - began) / (env_steps - first)]
        callbacks: list[Any] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        left += [c.time_remaining() for c in callbacks if isinstance(c, Timer)]
        print(
            f"iter {trainer.global_step:5d}  {env_steps / 1e6:7.2f} M steps  "
            f"{metrics['Perf/total_fps'] / 1e3:5.1f} k/s "
            f"({metrics['Perf/collection_time']:.2f} + {metrics['Perf/learning_time']:.2f} s)  "
            f"left {timedelta(seconds=max(round(min(left)), 0))}  " + "  ".join(values),
            flush=True,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Print the evaluation's main figures."""
        if not trainer.is_global_zero:
            return
        metrics: dict[str, float] = pl_module.evaluation
        shown = ("score", "fall_rate", "velocity_error_1s", "alternation", "style_distance")
        text = "  ".join(
            f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in shown if name in metrics
        )
        print(f"evaluation at {pl_module.env_steps / 1e6:.2f} M steps:  {text}", flush=True)
