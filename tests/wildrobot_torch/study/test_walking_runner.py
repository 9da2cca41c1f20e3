"""Tests of wildrobot_torch/study/walking_runner.py, on trainings of a few steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wildrobot_torch.evaluation import load_scenario
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.continuing import (
    TrainingBroken,
    failure,
    require_outcome,
    require_whole,
)
from wildrobot_torch.study.history import Part, joined, load_history, load_parts
from wildrobot_torch.study.walking import SeedResult, WalkPlan
from wildrobot_torch.study.walking_runner import SeedRun, clock, outcome

ENVS, STEPS = 8, 6
RECIPE = [
    "--data.num_envs", str(ENVS), "--data.num_steps", str(STEPS), "--data.num_threads", "1",
    "--model.network.hidden", "[16]", "--model.ppo.num_epochs", "1",
    "--model.ppo.num_minibatches", "1",
]  # fmt: skip
SCENARIO = "commands: [0.2]\nepisodes: 2\nseconds: 0.3\nsettle_s: 0.1\nlimits: "
EASY, HARD = "{fall_rate: {max: 1.0}}\n", "{velocity: {min: 99.0}}\n"


def make(folder: Path, *, short: str, walk: str, env_steps: int, stop: bool) -> SeedRun:
    """A run of seed 3 in scenarios of a third of a second."""
    files = {}
    for name, limits in (("short", short), ("walk", walk)):
        files[name] = str(folder / f"{name}.yaml")
        Path(files[name]).write_text(SCENARIO + limits)
    plan = WalkPlan(
        walk=load_scenario(files["walk"]),
        screening=load_scenario(files["short"]),
        every=2,
        iteration_steps=ENVS * STEPS,
        env_steps=env_steps,
        stop=stop,
    )
    return SeedRun(folder / "seed_3", 3, RECIPE, plan, "native", files)


def test_a_seed_is_trained_until_it_passes_and_then_kept(tmp_path: Path) -> None:
    run = make(tmp_path, short=EASY, walk=EASY, env_steps=480, stop=True)
    said: list[str] = []
    result = run.run(said.append)
    # The first evaluation, after two iterations, passes screening and WALK.
    assert result.finished and result.walk_steps == 2 * ENVS * STEPS
    assert result.walk_s == result.training_s > 0.0
    assert result.wall_s > result.training_s
    (part,) = load_parts(run.folder / "parts")
    assert part.run is not None
    assert "seed: 3" in (part.run / "config.yaml").read_text()
    policy = torch.load(run.folder / "walk.ckpt", weights_only=True)
    assert policy["wildrobot"]["env_steps"] == 2 * ENVS * STEPS
    assert "cores free" in said[0]
    assert "short passes" in said[1] and "walk passes" in said[2]
    assert said[-1].startswith("seed 3: WALK after 0:0")

    said.clear()
    assert run.run(said.append) == result
    assert said == ["seed 3: kept, finished before"]


@pytest.mark.slow
def test_an_interrupted_seed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = make(tmp_path, short=HARD, walk=EASY, env_steps=4 * ENVS * STEPS, stop=False)
    said: list[str] = []
    assert run.run(said.append).walk_steps == math.inf
    # As if it had been killed right after its last checkpoint.
    (part,) = load_parts(run.folder / "parts")
    assert part.run is not None
    replace(part, code=None).save()
    path = part.run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    assert content["wildrobot"]["env_steps"] == 4 * ENVS * STEPS
    run.plan = replace(run.plan, env_steps=7 * ENVS * STEPS)
    said.clear()
    result = run.run(said.append)
    assert result.finished and result.env_steps == 7 * ENVS * STEPS
    first, second = load_parts(run.folder / "parts")
    assert (first.start, second.start) == (0, 4 * ENVS * STEPS)
    assert "resumed from the checkpoint" in second.note and second.note in said[1]
    steps = [it.env_steps for it in load_history(run.folder / "parts").iterations]
    assert steps == [ENVS * STEPS * n for n in range(1, 8)]


@pytest.mark.slow
def test_after_walk_every_evaluation_is_walk(tmp_path: Path) -> None:
    run = make(tmp_path, short=EASY, walk=EASY, env_steps=0, stop=False)
    run.plan = replace(run.plan, env_steps=2 * ENVS * STEPS, beyond=13.0)
    result = run.run(lambda _: None)
    # WALK after 2 iterations; of the other 24 every third is followed by an evaluation.
    assert result.env_steps == 26 * ENVS * STEPS
    assert 8 <= result.later <= 10 and result.held == 1.0
    assert json.loads((run.folder / "machine.json").read_text())["starts"][0]["cores"] >= 1


def test_a_recipe_that_is_refused_leaves_no_part(tmp_path: Path) -> None:
    run = make(tmp_path, short=EASY, walk=EASY, env_steps=480, stop=True)
    run.arguments.append("--data.num_envz=3")
    with pytest.raises(StudyError, match="num_envz"):
        run.run(lambda _: None)
    assert load_parts(run.folder / "parts") == []


def test_only_what_a_training_says_of_itself_is_an_outcome(
    write_part: Callable[..., Part],
) -> None:
    iterations = [(500, 1.0, 1.0)]
    silent = write_part(0, iterations, code=1)  # as one that ran out of memory, or was interrupted
    with pytest.raises(TrainingBroken, match=r"with code 1, see .*; the same command resumes"):
        require_outcome("plain", silent)
    assert failure(joined([silent])) == ""
    diverged = replace(silent, message="the loss is nan")
    require_outcome("plain", diverged)
    assert failure(joined([diverged])) == "the loss is nan"
    # What was trained is never thrown away, whatever the exit code.
    full = replace(write_part(0, iterations, code=2), message="No space left on device")
    with pytest.raises(TrainingBroken, match=r"code 2 \(No space left on device\)"):
        require_outcome("plain", full)
    assert full.run is not None and full.run.is_dir()


def test_a_training_that_ends_early_is_not_finished(write_part: Callable[..., Part]) -> None:
    history = joined([write_part(0, [(500, 1.0, 1.0)])])
    with pytest.raises(TrainingBroken, match="plain: the training ended at 500 of 2,000 steps"):
        require_whole("plain", history, 2000)
    require_whole("plain", history, 500)
    broken = joined([replace(history.parts[0], code=1, message="the loss is nan")])
    require_whole("plain", broken, 2000)


def test_outcomes_in_words() -> None:
    found = SeedResult(
        seed=1, finished=True, walk_steps=2.5e6, walk_s=185.4, resolution_s=15.0, later=4,
        held=0.75, env_steps=7_500_000, training_s=600.0, wall_s=900.0, style_at_walk=math.nan,
        style_lowest=math.nan, style_at_end=math.nan, failure="",
    )  # fmt: skip
    assert outcome(found) == (
        "WALK after 3:05 of training, 2.50 M steps; 75% of 4 later evaluations pass"
    )
    never = replace(found, walk_s=math.inf, walk_steps=math.inf, later=0)
    assert outcome(never) == "no WALK in 10:00, 7.50 M steps"
    assert outcome(replace(never, failure="the loss is nan")) == "failed: the loss is nan"
    assert clock(math.inf) == "-" and clock(59.6) == "1:00"
