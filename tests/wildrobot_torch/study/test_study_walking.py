"""Tests of wildrobot_torch/study/walking.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study.history import History, Part, load_history
from wildrobot_torch.study.walking import (
    Judge,
    Train,
    WalkPlan,
    next_step,
    seed_result,
    spread,
    with_judged,
)

LIMITS = {"fall_rate": Limit(max=0.02), "velocity_error": Limit(max=0.05)}
WALK = Scenario(name="walk", commands=(0.3,), episodes=4, seconds=9.0, limits=LIMITS)
SHORT = replace(WALK, name="short", limits={"fall_rate": Limit(max=0.05)})
PLAN = WalkPlan(walk=WALK, screening=SHORT, every=2, iteration_steps=100, env_steps=2000)


@pytest.fixture
def training(tmp_path: Path) -> Callable[[WalkPlan], History]:
    """Reads what was written by hand."""
    return lambda plan: with_judged(load_history(tmp_path / "parts"), tmp_path, plan)


def judge(folder: Path, env_steps: int, fall_rate: float, velocity_error: float | None) -> None:
    content = {
        "env_steps": env_steps,
        "metrics": {"fall_rate": fall_rate, "velocity_error": velocity_error},
    }
    (folder / "walks").mkdir(exist_ok=True)
    (folder / f"walks/{env_steps}.json").write_text(json.dumps(content))


def test_a_training_begins_with_screenings_that_end_it_when_passed(
    training: Callable[[WalkPlan], History],
) -> None:
    assert next_step(training(PLAN), PLAN) == Train("short", 2, True, 2000)
    direct = replace(PLAN, screening=None)
    assert next_step(training(direct), direct) == Train("walk", 2, True, 2000)


def test_only_what_passed_the_screening_is_put_to_walk_and_the_training_then_goes_on(
    write_part: Callable[..., Part], training: Callable[[WalkPlan], History], tmp_path: Path
) -> None:
    write_part(0, [(100, 1.0, 0.0), (200, 1.0, 0.0)], [(200, 0.5, 0.04)])
    assert isinstance(next_step(training(PLAN), PLAN), Train)
    write_part(200, [(300, 1.0, 0.0), (400, 1.0, 0.0)], [(400, 0.04, 0.04)])
    assert next_step(training(PLAN), PLAN) == Judge(400)
    # Fall rate 0.04 passes the screening, not WALK; an undefined velocity error never passes.
    judge(tmp_path, 400, 0.04, None)
    assert next_step(training(PLAN), PLAN) == Train("short", 2, True, 2000)
    assert seed_result(0, training(PLAN), PLAN).walk_s == math.inf


def test_time_to_walk_and_whether_it_holds(
    write_part: Callable[..., Part], training: Callable[[WalkPlan], History], tmp_path: Path
) -> None:
    write_part(0, [(100, 1.0, 0.5), (200, 1.0, 0.5)], [(200, 0.5, 0.04)], style=0.5)
    write_part(200, [(300, 1.0, 0.5), (400, 1.0, 0.5)], [(400, 0.0, 0.04)], style=0.5)
    judge(tmp_path, 400, 0.0, 0.04)
    assert next_step(training(replace(PLAN, stop=True)), replace(PLAN, stop=True)) is None
    # 1600 steps are left, which ten evaluations divide into parts of two iterations.
    assert next_step(training(PLAN), PLAN) == Train("walk", 2, False, 2000)
    longer = replace(PLAN, beyond=11.0)
    assert next_step(training(longer), longer) == Train("walk", 4, False, 4400)

    write_part(
        400,
        [(steps, 2.0, 0.0) for steps in range(500, 2001, 100)],
        [(800, 0.0, 0.04), (1200, 0.0, 0.09), (1600, 0.0, 0.01), (2000, 0.01, 0.01)],
        scenario="walk",
        style=0.2,
    )
    history = training(PLAN)
    assert next_step(history, PLAN) is None
    result = seed_result(7, history, PLAN)
    assert (result.seed, result.finished) == (7, True)
    assert (result.walk_steps, result.walk_s) == (400, 4 * 1.5)
    assert result.resolution_s == 3.0
    assert (result.later, result.held) == (4, 0.75)
    assert (result.env_steps, result.training_s, result.wall_s) == (2000, 6.0 + 32.0, 30.0)
    assert result.style_at_walk == pytest.approx(0.5)
    assert result.style_lowest == pytest.approx(0.2)
    assert result.style_at_end == pytest.approx(0.2)


def test_training_time_ends_it(
    write_part: Callable[..., Part], training: Callable[[WalkPlan], History]
) -> None:
    write_part(0, [(100, 3.0, 0.0), (200, 3.0, 0.0)], [(200, 0.5, 0.04)])
    for limit, over in ((5.0, True), (7.0, False)):
        plan = replace(PLAN, max_time_s=limit)
        assert (next_step(training(plan), plan) is None) == over


def test_a_verdict_on_a_part_of_the_training_that_is_gone_does_not_count(
    write_part: Callable[..., Part], training: Callable[[WalkPlan], History], tmp_path: Path
) -> None:
    write_part(0, [(100, 1.0, 0.0)], [(100, 0.5, 0.04)])
    judge(tmp_path, 900, 0.0, 0.0)
    assert seed_result(0, training(PLAN), PLAN).walk_s == math.inf


def test_a_failed_training_is_finished_and_counts_as_longest(
    write_part: Callable[..., Part], training: Callable[[WalkPlan], History]
) -> None:
    write_part(0, [(100, 1.0, 0.0)], code=1)
    result = seed_result(0, training(PLAN), PLAN, "the loss is nan")
    assert result.finished and math.isinf(result.walk_s)
    found = spread([200.0, 300.0, result.walk_s])
    assert (found.median, found.lowest, found.highest) == (300.0, 200.0, math.inf)
    assert spread([200.0, math.inf, math.inf]).median == math.inf
