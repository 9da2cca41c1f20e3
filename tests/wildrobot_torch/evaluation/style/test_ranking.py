"""Tests of the ranking of checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.evaluate import EvaluationResult
from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.evaluation.style.controls import damped, jittered
from wildrobot_torch.evaluation.style.motion import reference_recording
from wildrobot_torch.evaluation.style.ranking import StyleTarget, ranked
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.reference.dataset import ReferenceDataset

SCENARIO = Scenario(
    name="walks", commands=(0.1, 0.3), episodes=6, seconds=5.0, settle_s=0.5,
    limits={"velocity_error": Limit(max=0.05)},
)  # fmt: skip


@pytest.fixture
def walk(walks: ReferenceDataset, robot: RobotSpec) -> Recording:
    return reference_recording(walks, robot)[0]


@pytest.fixture
def target(walks: ReferenceDataset, robot: RobotSpec) -> StyleTarget:
    target = StyleTarget.of(walks, robot)
    assert target is not None
    return target


def result(recording: Recording, velocity_error: float) -> EvaluationResult:
    """Its score is 2.5 - 5 velocity_error."""
    metrics = {"fall_rate": 0.0, "survival": 1.0, "alternation": 1.0}
    return EvaluationResult(SCENARIO, metrics | {"velocity_error": velocity_error}, [], recording)


def test_of_two_that_walk_the_one_like_the_reference_is_better(
    walk: Recording, target: StyleTarget, walks: ReferenceDataset, robot: RobotSpec
) -> None:
    same = result(walk, 0.04)
    stiff = result(damped(walk, robot, walks.amp_layout), 0.01)
    shaken = result(jittered(walk, robot, walks.amp_layout), 0.01)
    scores = [ranked(r, target)["rank"] for r in (same, stiff, shaken)]
    assert scores[0] > max(scores[1:]) and min(scores) > 2.5
    # Without a reference it is tracking that decides.
    assert ranked(stiff, None)["rank"] > ranked(same, None)["rank"]
    assert ranked(same, target)["score"] == pytest.approx(2.3)


def test_who_does_not_keep_to_the_limits_ranks_below_all_who_do(
    walk: Recording, target: StyleTarget, walks: ReferenceDataset, robot: RobotSpec
) -> None:
    slow = ranked(result(walk, 0.06), target)
    assert slow["rank"] == pytest.approx(2.2) and slow["velocity_error"] == 0.06
    shaken = result(jittered(walk, robot, walks.amp_layout), 0.04)
    assert ranked(shaken, target)["rank"] > 2.5
    # A scenario without limits says of nobody that it walks.
    anything = replace(SCENARIO, limits={})
    assert ranked(replace(shaken, scenario=anything), target)["rank"] == pytest.approx(2.3)


def test_only_walking_is_held_against_the_reference(walk: Recording, target: StyleTarget) -> None:
    alone = target.distance(result(walk, 0.0))
    standing = replace(walk, command=torch.zeros(walk.num_episodes), amp=torch.zeros_like(walk.amp))
    both = Recording.concatenate([walk, standing])
    assert target.distance(result(both, 0.0)) == pytest.approx(alone)
    nobody = ranked(result(standing, 0.0), target)
    assert math.isnan(nobody["style_distance"]) and nobody["rank"] == pytest.approx(2.5)


def test_a_reference_that_only_stands_is_no_target(
    walks: ReferenceDataset, robot: RobotSpec
) -> None:
    still = replace(walks, qvel=torch.zeros_like(walks.qvel))
    assert StyleTarget.of(still, robot) is None
