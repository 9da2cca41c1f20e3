"""How checkpoints of one training are ranked: by how they walk, and among walkers by style."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from envs.layout import Layout
from envs.robot import RobotSpec
from wildrobot_torch.evaluation.result import EvaluationResult
from wildrobot_torch.evaluation.style.distance import frechet
from wildrobot_torch.evaluation.style.motion import (
    STANDING,
    compared,
    compared_features,
    reference_trajectory,
    windows,
)
from wildrobot_torch.evaluation.style.space import FRAMES, Space
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

SETTLE_S = 2.0
"""Time at the start of a walk from rest that is left out [s]."""
BEST_WALKER = 2.5
"""The most `metrics.score` gives."""


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
        """The walking of a reference; None where nothing in it walks.

        Args:
            dataset: on the CPU.
            robot: likewise.
        """
        try:
            trajectory, _ = reference_trajectory(dataset, robot, SETTLE_S)
        except DatasetError:
            return None
        layout = dataset.amp_layout
        found, _ = windows(compared_features(trajectory.amp, layout), trajectory.valid, FRAMES)
        space = Space.fit(found, compared(layout))
        return cls(layout, space, space.whiten(found))

    def distance(self, result: EvaluationResult) -> float:
        """Frechet distance [1] of an evaluation's walks to the reference, all speeds together.

        As `distance.frechet`, of whitened windows of `FRAMES` frames after settling; NaN where no
        robot walks for so long. The speeds of the two need not be spread alike, so it ranks the
        policies of one scenario and is no verdict on any.
        """
        trajectory = result.trajectory
        walking = trajectory.select(trajectory.command >= STANDING)
        valid = walking.settled(result.scenario.settle_s)
        found, _ = windows(compared_features(walking.amp, self.layout), valid, FRAMES)
        return frechet(self.space.whiten(found), self.whitened) if len(found) else math.nan


def ranked(result: EvaluationResult, target: StyleTarget | None) -> dict[str, float]:
    """The metrics of an evaluation with `score`, which ranks checkpoints, bigger is better.

    Without a style to aim at it is that of `metrics.score`. With one, policies that keep to all
    limits of the scenario rank by style alone, above all others: 2.5 + 1 / (1 + style_distance),
    `style_distance` being `StyleTarget.distance`. Among those that walk, tracking the speed step by
    step would prefer a gait stiffer than the reference's.
    """
    if target is None:
        return {"score": result.score, **result.metrics}
    distance = target.distance(result)
    score = result.score
    if result.passed and not math.isnan(distance):
        score = BEST_WALKER + 1.0 / (1.0 + distance)
    return {"score": score, "style_distance": distance, **result.metrics}
