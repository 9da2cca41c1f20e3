"""How checkpoints of one training are ranked: by how they walk, and among walkers by style."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from envs.layout import Layout
from envs.robot.spec import RobotSpec
from envs.thresholds import MOVING
from wildrobot_torch.evaluation.evaluate import BEST_SCORE, EvaluationResult
from wildrobot_torch.evaluation.style.distance import frechet
from wildrobot_torch.evaluation.style.motion import reference_recording
from wildrobot_torch.evaluation.style.space import Space, compared, compared_features, windows
from wildrobot_torch.motion.metrics import EPISODE_METRICS
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

MOST_WINDOWS = 20_000
"""Of more windows evenly spaced ones stand for all: they would take a gigabyte."""
RANKED = ("score", "rank", *EPISODE_METRICS, "style_distance")
"""What `ranked` has, given a style to aim at."""


@dataclass(frozen=True)
class StyleTarget:
    """The walking of a training's own reference, to hold its evaluations against."""

    layout: Layout
    """Of the features."""
    space: Space
    whitened: Tensor
    """(N, D): its windows in `space`."""

    @classmethod
    def of(cls, dataset: ReferenceDataset, robot: RobotSpec) -> StyleTarget | None:
        """The walking of a reference, on the CPU as is the robot; None where nothing walks."""
        try:
            recording, _ = reference_recording(dataset, robot)
        except DatasetError:
            return None
        layout = dataset.amp_layout
        found = _windows(recording.amp, recording.valid, layout)
        space = Space.fit(found, compared(layout))
        return cls(layout, space, space.whiten(found))

    def distance(self, result: EvaluationResult) -> float:
        """Frechet distance [1] of an evaluation's walks to the reference, all speeds together.

        As `distance.frechet`, of whitened windows of `FRAMES` frames after settling; NaN where no
        robot walks for so long. The speeds of the two need not be spread alike, so it ranks the
        policies of one scenario and is no verdict on any.
        """
        recording = result.recording
        walking = recording.select(recording.command >= MOVING)
        found = _windows(walking.amp, walking.settled(result.scenario.settle_s), self.layout)
        return frechet(self.space.whiten(found), self.whitened) if len(found) else math.nan


def _windows(amp: Tensor, valid: Tensor, layout: Layout) -> Tensor:
    """Windows (N, K, F) of the compared features, N at most about `MOST_WINDOWS`."""
    found, _ = windows(compared_features(amp, layout), valid)
    return found[:: math.ceil(len(found) / MOST_WINDOWS) or 1]


def ranked(result: EvaluationResult, target: StyleTarget | None) -> dict[str, float]:
    """The metrics of an evaluation, its `score`, and `rank`: which checkpoint is better.

    Bigger is better. Without a style to aim at the rank is the score. With one, policies that keep
    to all limits of the scenario rank by style alone, above all others: `BEST_SCORE` + 1 / (1 +
    style_distance), `style_distance` being `StyleTarget.distance`. Among those that walk, tracking
    the speed step by step would prefer a gait stiffer than the reference's.
    """
    values = {"score": result.score, "rank": result.score, **result.metrics}
    if target is None:
        return values
    values["style_distance"] = distance = target.distance(result)
    if result.scenario.limits and result.passed and not math.isnan(distance):
        values["rank"] = BEST_SCORE + 1.0 / (1.0 + distance)
    return values
