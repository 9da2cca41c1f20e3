"""Tests of wildrobot_torch/evaluation/evaluate.py, on the simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.disturbances import PushConfig
from envs.recorder import zero_policy
from wildrobot_torch.evaluation import EvaluationResult, Scenario, evaluate
from wildrobot_torch.evaluation.evaluate import score
from wildrobot_torch.motion.metrics import Limit

SCENARIO = Scenario(
    name="short",
    commands=(0.0, 0.2, 0.4),
    episodes=8,
    seconds=1.0,
    settle_s=0.5,
    push_impulse=0.0,
    limits={"fall_rate": Limit(max=0.03), "alternation": Limit(min=0.9)},
)


def make_env(num_envs: int) -> LocomotionEnv:
    return LocomotionEnv(SCENARIO.task(LocomotionConfig()), num_envs, num_threads=1)


@pytest.fixture(scope="module")
def standing() -> EvaluationResult:
    """Robots that stand whatever they are told."""
    return evaluate(zero_policy(8), make_env(4), SCENARIO)


def test_commands_are_dealt_out_in_turn(standing: EvaluationResult) -> None:
    assert [row["command"] for row in standing.per_command] == [0.0, 0.2, 0.4]
    assert [row["episodes"] for row in standing.per_command] == [3, 3, 2]
    expected = torch.tensor([0.0, 0.2, 0.4, 0.0, 0.2, 0.4, 0.0, 0.2])
    assert torch.equal(standing.recording.command, expected)


def test_standing_is_off_by_the_command(standing: EvaluationResult) -> None:
    errors = [row["velocity_error"] for row in standing.per_command]
    assert errors == pytest.approx([0.0, 0.2, 0.4], abs=0.02)
    # (3 * 0 + 3 * 0.2 + 2 * 0.4) / 8
    assert standing.metrics["velocity_error"] == pytest.approx(0.175, abs=0.02)


def test_standing_passes_no_limit_on_walking(standing: EvaluationResult) -> None:
    verdicts = {verdict.metric: verdict.passed for verdict in standing.verdicts}
    assert verdicts == {"fall_rate": True, "alternation": False}
    assert not standing.passed


def test_without_limits_anything_passes(standing: EvaluationResult) -> None:
    assert replace(standing, scenario=replace(SCENARIO, limits={})).passed


def test_repeating_an_evaluation_repeats_every_number(standing: EvaluationResult) -> None:
    env = make_env(4)
    evaluate(zero_policy(8), env, SCENARIO)
    again = evaluate(zero_policy(8), env, SCENARIO)  # on an environment with a past
    assert torch.equal(again.recording.qpos, standing.recording.qpos)
    assert again.score == standing.score


def test_another_seed_gives_other_starts(standing: EvaluationResult) -> None:
    other = evaluate(zero_policy(8), make_env(4), replace(SCENARIO, seed=1))
    assert not torch.equal(other.recording.qpos[0], standing.recording.qpos[0])


def test_a_number_of_robots_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="8 episodes, which 3 robots"):
        evaluate(zero_policy(8), make_env(3), SCENARIO)


def test_an_environment_with_other_pushes_is_refused() -> None:
    task = replace(SCENARIO.task(LocomotionConfig()), push=PushConfig(impulse_max=0.6))
    env = LocomotionEnv(task, 4, num_threads=1)
    with pytest.raises(UserError, match=r"0\.6 N s"):
        evaluate(zero_policy(8), env, SCENARIO)
    own = replace(SCENARIO, push_impulse=None, seconds=0.6)
    assert evaluate(zero_policy(8), env, own).recording.num_steps == 30


def test_all_fallen_before_settling_scores_like_standing_still() -> None:
    metrics = {"fall_rate": 1.0, "survival": 0.1, "velocity_error": math.nan}
    # (1 - 1) + 0.1 - 0.2 / 0.2 + 0
    assert score({**metrics, "alternation": math.nan}, (0.1, 0.3)) == pytest.approx(-0.9)


def test_score_by_hand() -> None:
    metrics = {"fall_rate": 0.1, "survival": 0.95, "velocity_error": 0.05, "alternation": 0.9}
    # 0.9 + 0.95 - 0.25 + 0.45
    assert score(metrics, (0.3,)) == pytest.approx(2.05)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"fall_rate": 0.0}, {"fall_rate": 0.1}),
        ({"survival": 1.0}, {"survival": 0.9}),
        ({"velocity_error": 0.04}, {"velocity_error": 0.06}),
        ({"alternation": 1.0}, {"alternation": 0.9}),
        ({"alternation": 0.5}, {"alternation": math.nan}),
        ({"velocity_error": 0.06}, {"velocity_error": math.nan}),
    ],
)
def test_score_prefers_the_better(better: dict[str, float], worse: dict[str, float]) -> None:
    base = {"fall_rate": 0.05, "survival": 0.97, "velocity_error": 0.05, "alternation": 0.95}
    assert score(base | better, (0.1, 0.3)) > score(base | worse, (0.1, 0.3))
