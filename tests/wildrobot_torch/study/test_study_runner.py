"""Tests of wildrobot_torch/study/runner.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.history import Part
from wildrobot_torch.study.plan import Arm, Column, Study, Table
from wildrobot_torch.study.runner import ArmRun, listing, run_missing

ARM = Arm(name="plain", about="as it is", options="--model.ppo.gamma 0.9")
STUDY = Study(
    name="mine",
    options="--data.num_envs 8",
    seeds=(0, 1),
    env_steps=2000,
    every=2,
    style="--reference r.npz",
    page="page.md",
    results="results",
    arms=(ARM,),
    tables=(Table(name="t", arms=("plain",)),),
    columns=(Column(heading="falls", value="walking.fall_rate", format=".1%"),),
)


def finish(run: ArmRun) -> None:
    """Write a result as if the run had been made."""
    run.result.parent.mkdir(parents=True, exist_ok=True)
    run.result.write_text(json.dumps({"options": run.options, "recipe": run.recipe}))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study whose results go to a folder of the test's own."""
    return replace(STUDY, results=str(tmp_path / "results"))


def test_what_is_finished_is_kept_and_what_is_there_is_listed(
    write_part: Callable[..., Part], tmp_path: Path, study: Study
) -> None:
    runs = [ArmRun(study, ARM, seed, tmp_path / "study", "r") for seed in (0, 1)]
    (line,) = listing(runs)
    assert line.split() == ["plain", "0:", "missing", "1:", "missing", *ARM.options.split()]
    finish(runs[0])
    part = write_part(0, [(1_500_000, 1.0, 0.0)])
    (runs[1].folder / "parts").mkdir(parents=True)
    part.folder.rename(runs[1].folder / "parts/000")
    (line,) = listing(runs)
    assert "0: finished  1: begun, 1.50 M" in line
    said: list[str] = []
    after = partial(said.append, "after")
    assert run_missing(runs[:1], {"plain": "native"}, said.append, after) == []
    assert said == []


def test_results_and_trainings_of_other_options_are_never_mixed_in(
    tmp_path: Path, study: Study
) -> None:
    run = ArmRun(study, ARM, 0, tmp_path, "r")
    finish(run)
    other = ArmRun(study, replace(ARM, options="--model.ppo.gamma 0.8"), 0, tmp_path, "r")
    with pytest.raises(StudyError, match=r"gamma 0\.9.*now is.*gamma 0\.8.*another name"):
        _ = other.finished
    run.require_same_training()
    begun = {"options": run.options, "recipe": run.recipe}
    run.folder.mkdir(parents=True)
    (run.folder / "options.json").write_text(json.dumps(begun))
    run.require_same_training()
    with pytest.raises(StudyError, match=r"options\.json was made with.*another name"):
        other.require_same_training()
    changed = ArmRun(study, ARM, 0, tmp_path, "s")
    with pytest.raises(StudyError, match="when they meant something else"):
        _ = changed.finished
    with pytest.raises(StudyError, match="when they meant something else"):
        changed.require_same_training()


def test_a_training_that_broke_off_is_a_result(
    write_part: Callable[..., Part], tmp_path: Path, study: Study
) -> None:
    run = ArmRun(study, ARM, 0, tmp_path / "study", "r")
    part = write_part(0, [(500, 30.0, 30.0)], code=1)
    replace(part, message="the loss is nan").save()
    (run.folder / "parts").mkdir(parents=True)
    part.folder.rename(run.folder / "parts/000")
    said: list[str] = []
    after = partial(said.append, "after")
    assert run_missing([run], {"plain": "native"}, said.append, after) == []
    assert said == ["plain, seed 0: broke off: the loss is nan", "after"]
    content = json.loads(run.result.read_text())
    assert (content["passed"], content["failure"]) == (False, "the loss is nan")
    assert content["training"]["minutes"] == 1.0
    assert content["training"]["walk_minutes"] == "never"
    assert run.finished
