"""Time to WALK: trainings of several seeds until they pass WALK, and how well they hold it.

WALK is the scenario `walking` with its limits. A training is evaluated in it every so many
iterations and ends at the first evaluation that passes. It may then go on for a multiple of its
steps to WALK, with `LATER` more evaluations.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wildrobot_torch.evaluation import Scenario
from wildrobot_torch.study import TrainingBroken
from wildrobot_torch.study.training import (
    STYLE,
    History,
    Row,
    last_checkpoint,
    load_history,
    passes,
    train,
)

LATER = 10
"""Evaluations after WALK, evenly spread over the steps left."""
WALK_CHECKPOINT = "walk.ckpt"
"""The policy that passed WALK first."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class WalkPlan:
    """How the time to WALK is measured."""

    walk: Scenario
    """What counts as walking."""
    every: int
    """Iterations between two evaluations until WALK."""
    iteration_steps: int
    """Environment steps of an iteration."""
    env_steps: int
    """Environment steps after which a training ends without WALK."""
    beyond: float = 1.0
    """Multiple of the steps to WALK at which a training ends."""


@dataclass(frozen=True)
class SeedResult:
    """Time to WALK of one seed."""

    seed: int
    finished: bool
    """Whether nothing is left to do."""
    walk_steps: float
    """Environment steps to WALK; infinite where it was not reached."""
    walk_s: float
    """Training time to WALK [s]; infinite likewise."""
    resolution_s: float
    """Training time since the evaluation before [s]: WALK may have come earlier by this much."""
    later: int
    """Evaluations after the first that passed."""
    held: float
    """Share of these that passed; NaN without any."""
    env_steps: int
    """Environment steps in all."""
    training_s: float
    """Training time in all [s]."""
    wall_s: float
    """Wall time in all, start-ups and evaluations included [s]."""
    load: float | None
    """Load average of the machine at the start."""
    style_at_walk: float
    """Style reward at WALK, mean over a tenth of the training; NaN without a motion prior."""
    style_lowest: float
    """Lowest such mean after WALK; NaN likewise."""
    style_at_end: float
    """Such a mean at the end; NaN likewise."""
    failure: str
    """Why the training cannot go on; empty where it can."""


class SeedRun:
    """The training of one seed, in a folder of its own."""

    def __init__(self, folder: Path, seed: int, options: Sequence[str], plan: WalkPlan) -> None:
        """Nothing is written yet; `options` of `fit` make the recipe."""
        self.folder, self.seed, self.options, self.plan = folder, seed, list(options), plan

    def history(self) -> History:
        """All that counts so far."""
        return load_history(self.folder / "parts")

    def walked(self, history: History) -> Row | None:
        """The first evaluation that passes WALK; None where none does."""
        limits = self.plan.walk.limits
        return next((e for e in history.evaluations if passes(e.values, limits)), None)

    def goal(self, history: History) -> int:
        """Environment steps at which the training ends, as far as is known."""
        walked = self.walked(history)
        return self.plan.env_steps if walked is None else self._beyond(walked)

    def _beyond(self, walked: Row) -> int:
        return math.ceil(self.plan.beyond * walked.env_steps)

    def run(self, say: Say) -> SeedResult:
        """Do what is left to do.

        Raises:
            StudyError: the recipe is bad.
            TrainingBroken: the training was cut short.
        """
        history = self.history()
        while not history.failure and history.env_steps < (goal := self.goal(history)):
            walked, every = self.walked(history), self.plan.every
            if walked is not None:
                left = goal - walked.env_steps
                every = max(every, math.ceil(left / (LATER * self.plan.iteration_steps)))
            options = [
                *self.options,
                *("--seed", str(self.seed), "--trainer.max_time", "null"),
                *("--data.evaluation", self.plan.walk.name),
                *("--data.iterations_per_epoch", str(every)),
                *("--run.stop_when_passed", str(walked is None).lower()),
            ]
            say(f"seed {self.seed}: training from {history.env_steps:,} to {goal:,} steps at most")
            before, history = history.env_steps, train(self.folder / "parts", options, goal)
            walked, found = self.walked(history), last_checkpoint(history.parts)
            if walked is not None and found is not None and found[1] == walked.env_steps:
                shutil.copyfile(found[0], self.folder / WALK_CHECKPOINT)
            if not history.failure and history.env_steps <= before:
                raise TrainingBroken(f"seed {self.seed}: the training ended after no iteration")
        result = self.result()
        say(f"seed {self.seed}: {outcome(result)}")
        return result

    def result(self) -> SeedResult:
        """The result so far."""
        history = self.history()
        walked = self.walked(history)
        before, later = 0.0, []
        if walked is not None:
            times = [e.training_s for e in history.evaluations if e.env_steps < walked.env_steps]
            before = max(times, default=0.0)
            later = [
                passes(e.values, self.plan.walk.limits)
                for e in history.evaluations
                if e.env_steps > walked.env_steps
            ]
        walk_steps = math.inf if walked is None else float(walked.env_steps)
        walk_s = math.inf if walked is None else walked.training_s
        at_walk, lowest, at_end = _style(history, walk_steps)
        return SeedResult(
            seed=self.seed,
            finished=bool(history.failure) or history.env_steps >= self.goal(history),
            walk_steps=walk_steps,
            walk_s=walk_s,
            resolution_s=math.nan if walked is None else walk_s - before,
            later=len(later),
            held=sum(later) / len(later) if later else math.nan,
            env_steps=history.env_steps,
            training_s=history.training_s,
            wall_s=sum(part.wall_s for part in history.parts),
            load=history.parts[0].load if history.parts else None,
            style_at_walk=at_walk,
            style_lowest=lowest,
            style_at_end=at_end,
            failure=history.failure,
        )


def _style(history: History, walk_steps: float) -> tuple[float, float, float]:
    """Style reward at WALK, its lowest afterwards, and at the end: means over a tenth each."""
    rows = [(row.env_steps, row.values[STYLE]) for row in history.iterations if STYLE in row.values]
    if not rows:
        return math.nan, math.nan, math.nan
    span = history.env_steps / 10

    def mean(end: float) -> float:
        return statistics.fmean(v for steps, v in rows if end - span < steps <= end)

    ends = [steps for steps, _ in rows if steps >= max(walk_steps, span)]
    at_walk = mean(walk_steps) if math.isfinite(walk_steps) else math.nan
    return at_walk, min((mean(end) for end in ends), default=math.nan), mean(rows[-1][0])


def outcome(result: SeedResult) -> str:
    """The result of a seed in words."""
    if result.failure:
        return f"failed: {result.failure}"
    if not math.isfinite(result.walk_s):
        return f"no WALK in {clock(result.training_s)}, {result.env_steps / 1e6:.2f} M steps"
    text = f"WALK after {clock(result.walk_s)} of training, {result.walk_steps / 1e6:.2f} M steps"
    if result.later:
        text += f"; {result.held:.0%} of {result.later} later evaluations pass"
    return text


def clock(seconds: float) -> str:
    """Time as minutes and seconds."""
    if not math.isfinite(seconds):
        return "-"
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
