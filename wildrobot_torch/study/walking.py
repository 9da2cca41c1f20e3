"""Time to WALK of one training: what to do next, and what came of it.

WALK is the scenario `walking` with its limits. It is measured in two phases. Until a policy passes,
the training is evaluated every so many iterations in a short scenario, the screening, and only a
policy that passes this is put to WALK itself: WALK takes as long as a dozen iterations, and most
policies fail it plainly. A policy that fails the screening counts as failing WALK, so the time to
WALK can only come out too long. After the first pass the training goes on, and all its evaluations
are WALK.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wildrobot_torch.evaluation import Scenario
from wildrobot_torch.study.history import Evaluation, History, read_json

JUDGED = "walks"
"""Folder of the evaluations made between two parts, one JSON file each, named by its steps."""
LATER = 10
"""Evaluations after WALK, evenly spread over the steps left."""
STYLE = "AMP/style_reward"


@dataclass(frozen=True)
class WalkPlan:
    """How the time to WALK is measured."""

    walk: Scenario
    """What counts as walking."""
    screening: Scenario | None
    """What a policy must pass before it is put to `walk`; None for nothing."""
    every: int
    """Iterations between two evaluations until WALK."""
    iteration_steps: int
    """Environment steps of an iteration."""
    env_steps: int
    """Environment steps after which a training ends."""
    max_time_s: float = math.inf
    """Training time after which it ends [s]."""
    stop: bool = False
    """Whether it ends at WALK."""
    beyond: float | None = None
    """Multiple of the steps to WALK at which it ends, whatever `env_steps` says."""


@dataclass(frozen=True)
class Judge:
    """Evaluate the last checkpoint in the scenario WALK."""

    env_steps: int


@dataclass(frozen=True)
class Train:
    """Go on with the training."""

    scenario: str
    """Of the evaluations in it."""
    every: int
    """Iterations between two of them."""
    stop_when_passed: bool
    env_steps: int
    """Environment steps after which it ends."""


def passes(metrics: dict[str, float], scenario: Scenario) -> bool:
    """Whether metrics keep to all limits of a scenario."""
    return all(limit.holds(metrics[name]) for name, limit in scenario.limits.items())


def with_judged(history: History, folder: Path, plan: WalkPlan) -> History:
    """The training, and among its evaluations those in WALK that were made between its parts."""
    judged = [
        Evaluation(steps, history.seconds_at(steps), plan.walk.name, _numbers(content["metrics"]))
        for path in (folder / JUDGED).glob("*.json")
        for content in [read_json(path)]
        if (steps := int(content["env_steps"])) <= history.env_steps
    ]
    both = [*history.evaluations, *judged]
    # At the same steps the screening came first.
    both.sort(key=lambda found: (found.env_steps, found.scenario == plan.walk.name))
    return replace(history, evaluations=both)


def _numbers(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def first_walk(history: History, plan: WalkPlan) -> Evaluation | None:
    """The first evaluation that passes WALK; None where none does."""
    for found in history.evaluations:
        if found.scenario == plan.walk.name and passes(found.metrics, plan.walk):
            return found
    return None


def next_step(history: History, plan: WalkPlan) -> Judge | Train | None:
    """What is to be done with the training; None when it is finished.

    Args:
        history: from `with_judged`.
        plan: how to measure.
    """
    walked = first_walk(history, plan)
    goal = plan.env_steps
    if walked is None:
        last = history.evaluations[-1] if history.evaluations else None
        screening = plan.screening
        if (
            screening is not None
            and last is not None
            and last.scenario == screening.name
            and passes(last.metrics, screening)
            and last.env_steps == history.env_steps
        ):
            return Judge(last.env_steps)
    elif plan.stop:
        return None
    elif plan.beyond is not None:
        goal = math.ceil(plan.beyond * walked.env_steps)
    if history.env_steps >= goal or history.training_s >= plan.max_time_s:
        return None
    if walked is None:
        return search(plan)
    left = goal - walked.env_steps
    every = max(plan.every, math.ceil(left / (LATER * plan.iteration_steps)))
    return Train(plan.walk.name, every, False, goal)


def search(plan: WalkPlan) -> Train:
    """Training until the next evaluation that may be WALK."""
    scenario = plan.walk if plan.screening is None else plan.screening
    return Train(scenario.name, plan.every, True, plan.env_steps)


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
    """Training time since the evaluation before [s]: so much earlier WALK may have come."""
    later: int
    """Evaluations in WALK after the first that passed."""
    held: float
    """Share of these that passed; NaN where there are none."""
    env_steps: int
    """Environment steps in all."""
    training_s: float
    """Training time in all [s]."""
    wall_s: float
    """Wall time of all trainings, start-ups and evaluations in them included [s]."""
    style_at_walk: float
    """Style reward of the iterations around WALK, mean; NaN without a motion prior."""
    style_lowest: float
    """Lowest style reward after WALK, of means over a tenth of the way; NaN likewise."""
    style_at_end: float
    """Style reward of the last tenth of the way, mean; NaN likewise."""
    failure: str
    """Why the training failed; empty where it did not."""


def seed_result(seed: int, history: History, plan: WalkPlan, failure: str = "") -> SeedResult:
    """What came of a seed.

    Args:
        seed: of the training.
        history: from `with_judged`.
        plan: how it was measured.
        failure: why its training failed.
    """
    walked = first_walk(history, plan)
    before, later = 0.0, []
    if walked is not None:
        earlier = [e.training_s for e in history.evaluations if e.env_steps < walked.env_steps]
        before = max(earlier, default=0.0)
        later = [
            passes(found.metrics, plan.walk)
            for found in history.evaluations
            if found.scenario == plan.walk.name and found.env_steps > walked.env_steps
        ]
    walk_steps = math.inf if walked is None else walked.env_steps
    walk_s = math.inf if walked is None else walked.training_s
    style = _style(history, walk_steps)
    return SeedResult(
        seed=seed,
        finished=bool(failure) or next_step(history, plan) is None,
        walk_steps=walk_steps,
        walk_s=walk_s,
        resolution_s=math.nan if walked is None else walk_s - before,
        later=len(later),
        held=sum(later) / len(later) if later else math.nan,
        env_steps=history.env_steps,
        training_s=history.training_s,
        wall_s=history.wall_s,
        style_at_walk=style[0],
        style_lowest=style[1],
        style_at_end=style[2],
        failure=failure,
    )


def _style(history: History, walk_steps: float) -> tuple[float, float, float]:
    """Style reward at WALK, its lowest afterwards, and at the end, each over a tenth of the way."""
    rows = [(it.env_steps, it.values[STYLE]) for it in history.iterations if STYLE in it.values]
    if not rows:
        return math.nan, math.nan, math.nan
    span = history.env_steps / 10

    def mean(end: float) -> float:
        return statistics.fmean(v for steps, v in rows if end - span < steps <= end)

    ends = [steps for steps, _ in rows if steps >= max(walk_steps, span)]
    lowest = min((mean(end) for end in ends), default=math.nan)
    at_walk = mean(walk_steps) if math.isfinite(walk_steps) else math.nan
    return at_walk, lowest, mean(rows[-1][0])


@dataclass(frozen=True)
class Spread:
    """Median and range over seeds."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    """Median and range; infinite values, of seeds that never walked, count as longest.

    Args:
        values: one per seed, at least one; none of them NaN.
    """
    return Spread(statistics.median(values), min(values), max(values))
