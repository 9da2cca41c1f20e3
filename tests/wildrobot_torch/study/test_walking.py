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
from wildrobot_torch.study.training import Part, load_history
from wildrobot_torch.study.walking import SeedRun, write_walking_report

LIMITS = {"fall_rate": Limit(max=0.02), "velocity_error": Limit(max=0.05)}
WALK = Scenario(name="walk", commands=(0.3,), episodes=4, seconds=9.0, limits=LIMITS)
ENVS, STEPS = 8, 6
RECIPE = [
    "--data.num_envs", str(ENVS), "--data.num_steps", str(STEPS), "--data.num_threads", "1",
    "--model.network.hidden", "[16]", "--model.ppo.num_epochs", "1",
    "--model.ppo.num_minibatches", "1",
]  # fmt: skip


def seed_run(folder: Path, seed: int = 7, env_steps: int = 2000) -> SeedRun:
    return SeedRun(folder, seed, [], WALK, every=2, env_steps=env_steps)


def test_the_time_is_that_of_the_first_evaluation_that_passes(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    run = seed_run(tmp_path)
    assert not run.result()["finished"]
    write_part(
        [(steps, 1.0, 0.5) for steps in (100, 200, 300, 400, 500)],
        [(200, 0.5, 0.04), (400, 0.0, 0.04), (500, 0.0, 0.01)],
    )
    assert run.result() == {
        "seed": 7, "finished": True, "walk_steps": 400, "walk_s": 4 * 1.5, "env_steps": 500,
        "training_s": 7.5, "wall_s": 10.0, "failure": "",
    }  # fmt: skip
    run.run()  # nothing is left to do
    assert len(load_history(tmp_path / "parts").parts) == 1


def test_without_walk_the_time_is_infinite(write_part: Callable[..., Part], tmp_path: Path) -> None:
    write_part([(100, 1.0, 0.0)], [(100, 0.0, math.nan)])
    run = seed_run(tmp_path)
    assert run.result()["walk_s"] == math.inf and not run.result()["finished"]
    write_part([(300, 1.0, 0.0)], [(300, 0.5, 0.0)], code=1, error="the loss is nan")
    result = run.result()
    assert result["finished"] and math.isinf(result["walk_s"])
    assert result["failure"] == "the loss is nan"


def test_the_report_has_median_and_range(write_part: Callable[..., Part], tmp_path: Path) -> None:
    runs = []
    for seed, (walk_s, falls) in enumerate(((200.0, 0.0), (300.0, 0.0), (250.0, 0.25))):
        part = write_part(
            [(200_000, walk_s / 2, 0.0), (400_000, walk_s / 2, 0.0)],
            [(200_000, 0.5, 0.04), (400_000, falls, 0.04)],
        )
        folder = tmp_path / f"seed_{seed}"
        (folder / "parts").mkdir(parents=True)
        part.folder.rename(folder / "parts/part_000")
        runs.append(seed_run(folder, seed, 400_000))
    # The third seed never walks and counts as longest: the median is the second's time.
    found = write_walking_report(runs, tmp_path, "python x.py")
    assert "2 of 3 seeds reach WALK; median 5:00 (3:20 to never) of training" in found
    assert "0.40 M (0.40 M to never) environment" in found
    assert found in (tmp_path / "report.md").read_text()
    content = json.loads((tmp_path / "report.json").read_text())
    assert [row["walk_s"] for row in content["seeds"]] == [200.0, 300.0, None]
    runs.append(seed_run(tmp_path / "seed_3", 3))
    assert "1 of 4 seeds are missing" in write_walking_report(runs, tmp_path, "x")
    assert "| 3 | - | - |" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_a_seed_is_trained_to_walk_and_then_kept(tmp_path: Path) -> None:
    scenario = tmp_path / "easy.yaml"
    scenario.write_text(
        "commands: [0.2]\nepisodes: 2\nseconds: 0.3\nsettle_s: 0.1\nlimits: {fall_rate: {max: 1}}\n"
    )
    walk = Scenario(
        name=str(scenario), commands=(0.2,), episodes=2, seconds=0.3, settle_s=0.1,
        limits={"fall_rate": Limit(max=1.0)},
    )  # fmt: skip
    run = replace(seed_run(tmp_path / "seed_3", 3, 480), options=RECIPE, walk=walk)
    run.run()
    result = run.result()
    # The first evaluation, after two iterations, passes.
    assert result["walk_steps"] == result["env_steps"] == 2 * ENVS * STEPS
    assert result["wall_s"] > result["training_s"] > 0.0
    run.run()
    (part,) = load_history(run.folder / "parts").parts
    assert part.run is not None and "seed: 3" in (part.run / "config.yaml").read_text()
