"""Tests of wildrobot_torch/study/walking.py and its report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study.training import Part, load_history
from wildrobot_torch.study.walking import SeedRun, WalkPlan, outcome
from wildrobot_torch.study.walking_report import plot_walking, write_walking_report

LIMITS = {"fall_rate": Limit(max=0.02), "velocity_error": Limit(max=0.05)}
WALK = Scenario(name="walk", commands=(0.3,), episodes=4, seconds=9.0, limits=LIMITS)
PLAN = WalkPlan(walk=WALK, every=2, iteration_steps=100, env_steps=2000)
ENVS, STEPS = 8, 6
RECIPE = [
    "--data.num_envs", str(ENVS), "--data.num_steps", str(STEPS), "--data.num_threads", "1",
    "--model.network.hidden", "[16]", "--model.ppo.num_epochs", "1",
    "--model.ppo.num_minibatches", "1",
]  # fmt: skip


def test_time_to_walk_and_whether_it_holds(write_part: Callable[..., Part], tmp_path: Path) -> None:
    run = SeedRun(tmp_path, 7, [], PLAN)
    assert run.goal(run.history()) == 2000
    write_part(
        [(steps, 1.0, 0.5) for steps in (100, 200, 300, 400)],
        [(200, 0.5, 0.04), (400, 0.0, 0.04)],
        style=0.5,
    )
    first = run.result()
    assert first.finished and (first.walk_steps, first.walk_s) == (400, 4 * 1.5)
    assert first.resolution_s == 3.0 and first.later == 0 and math.isnan(first.held)

    longer = SeedRun(tmp_path, 7, [], replace(PLAN, beyond=5.0))
    assert not longer.result().finished
    assert longer.goal(longer.history()) == 2000
    write_part(
        [(steps, 2.0, 0.0) for steps in range(500, 2001, 100)],
        [(800, 0.0, 0.04), (1200, 0.0, 0.09), (1600, 0.0, 0.01), (2000, 0.01, 0.01)],
        style=0.2,
    )
    result = longer.result()
    assert (result.seed, result.finished, result.walk_steps) == (7, True, 400)
    assert (result.later, result.held) == (4, 0.75)
    assert (result.env_steps, result.training_s, result.wall_s) == (2000, 6.0 + 32.0, 20.0)
    assert result.style_at_walk == pytest.approx(0.5)
    assert result.style_lowest == pytest.approx(0.2)
    assert result.style_at_end == pytest.approx(0.2)
    assert "75% of 4 later evaluations pass" in outcome(result)


def test_without_walk_the_time_is_infinite(write_part: Callable[..., Part], tmp_path: Path) -> None:
    write_part([(100, 1.0, 0.0)], [(100, 0.0, math.nan)])
    run = SeedRun(tmp_path, 0, [], PLAN)
    assert run.result().walk_s == math.inf and not run.result().finished
    write_part([(2000, 1.0, 0.0)], [(2000, 0.5, 0.0)], code=1, error="the loss is nan")
    result = run.result()
    assert result.finished and math.isinf(result.walk_s)
    assert outcome(result) == "failed: the loss is nan"


def test_the_report_has_median_and_range(write_part: Callable[..., Part], tmp_path: Path) -> None:
    runs = []
    for seed, (walk_s, falls) in enumerate(((200.0, 0.0), (300.0, 0.0), (250.0, 0.25))):
        part = write_part(
            [(200_000, walk_s / 2, 0.0), (400_000, walk_s / 2, 0.0)],
            [(200_000, 0.5, 0.04), (400_000, falls, 0.04)],
            style=0.4,
        )
        folder = tmp_path / f"seed_{seed}"
        (folder / "parts").mkdir(parents=True)
        part.folder.rename(folder / "parts/part_000")
        runs.append(SeedRun(folder, seed, [], replace(PLAN, env_steps=400_000)))
    path = write_walking_report(runs, tmp_path, "python x.py")
    # The third seed never walks and counts as longest: the median is the second's time.
    text = path.read_text()
    assert "2 of 3 seeds reach WALK; median 5:00 (3:20 to never) of training" in text
    assert "0.40 M (0.40 M to never) environment" in text
    content = json.loads((tmp_path / "report.json").read_text())
    assert [row["walk_s"] for row in content["seeds"]] == [200.0, 300.0, None]
    passed = [row["passed"] for row in content["evaluations"] if row["seed"] == 0]
    assert passed == [False, True]
    assert (tmp_path / "walking.png").read_bytes().startswith(b"\x89PNG")

    runs.append(SeedRun(tmp_path / "seed_3", 3, [], PLAN))
    assert "1 of 4 seeds are missing." in write_walking_report(runs, tmp_path, "x").read_text()
    assert len(plot_walking([], PLAN).axes) == 3


@pytest.mark.slow
def test_a_seed_is_trained_to_walk_and_beyond_and_then_kept(tmp_path: Path) -> None:
    scenario = tmp_path / "easy.yaml"
    scenario.write_text(
        "commands: [0.2]\nepisodes: 2\nseconds: 0.3\nsettle_s: 0.1\nlimits: {fall_rate: {max: 1}}\n"
    )
    walk = Scenario(
        name=str(scenario), commands=(0.2,), episodes=2, seconds=0.3, settle_s=0.1,
        limits={"fall_rate": Limit(max=1.0)},
    )  # fmt: skip
    plan = WalkPlan(walk=walk, every=2, iteration_steps=ENVS * STEPS, env_steps=480, beyond=1.0)
    said: list[str] = []
    run = SeedRun(tmp_path / "seed_3", 3, RECIPE, plan)
    result = run.run(said.append)
    # The first evaluation, after two iterations, passes.
    assert result.finished and result.walk_steps == result.env_steps == 2 * ENVS * STEPS
    assert result.wall_s > result.training_s > 0.0
    assert (run.folder / "walk.ckpt").is_file()
    longer = SeedRun(run.folder, 3, RECIPE, replace(plan, beyond=3.0))
    result = longer.run(said.append)
    assert (result.env_steps, result.later, result.held) == (6 * ENVS * STEPS, 2, 1.0)
    first, second = load_history(run.folder / "parts").parts
    assert first.run is not None and second.run is not None
    assert "seed: 3" in (first.run / "config.yaml").read_text()
    said.clear()
    assert longer.run(said.append) == result
    assert len(said) == 1
