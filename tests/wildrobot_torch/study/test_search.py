"""Tests of wildrobot_torch/study/search.py: the real Optuna, trainings of a stand-in."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT
from wildrobot_torch.study import StudyError, training
from wildrobot_torch.study.search import (
    FALLEN_TORQUE,
    Search,
    SearchRun,
    Setting,
    load_search,
    nested,
    objective,
)

PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).with_name("standin.py"))]
ABOUT = {"data": {"physics": "native"}, "search": {"seed": 5}}


def search(**changes: Any) -> Search:
    """A search of two settings, of which the stand-in knows one."""
    usual: dict[str, Any] = {
        "options": "", "trials": 5, "startup": 2, "env_steps": 400, "every": 1, "seed": 5,
        "evaluation": "quick", "judged_at": (150,), "suite": "quick", "suite_seed": 9,
        "settings": {
            "model.amp.weight": Setting(low=0.1, high=4.0, log=True),
            "model.amp.loss": Setting(choices=("lsgan", "bce")),
        },
    }  # fmt: skip
    return Search(**(usual | changes))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search's folder, with what the stand-in needs."""
    monkeypatch.setattr(training, "LOOK_S", 0.05)
    return tmp_path / "out"


def begun(folder: Path, plan: Search, about: dict[str, Any] | None = None) -> SearchRun:
    run = SearchRun(plan, about or ABOUT, folder, "mine.yaml", PROGRAM)
    about_checkpoint = {"format": CHECKPOINT_FORMAT, "env_steps": 1}
    torch.save({"wildrobot": about_checkpoint, "state_dict": {}}, folder / "checkpoint")
    return run


def test_a_search_maximises_the_objective_and_writes_table_and_overlay(folder: Path) -> None:
    run, said = begun(folder, search(judged_at=())), []
    run.run(said.append)
    assert len(run.ended) == len(run.complete) == 5
    for trial in run.ended:
        success = 1.0 / (1.0 + abs(trial.params["model.amp.weight"] - 1.0))
        assert trial.value == pytest.approx(success - 0.1 * 2.0)
    nearest = min(run.ended, key=lambda t: abs(t.params["model.amp.weight"] - 1.0))
    overlay = yaml.safe_load((folder / "best.yaml").read_text())
    assert overlay == nested(nearest.params)
    assert set(overlay["model"]["amp"]) == {"weight", "loss"}
    table = (folder / "search.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| trial_")]
    assert len(rows) == 5 and nearest.user_attrs["folder"] in rows[0]
    assert "PED-ANOVA" in table
    # Nothing is left to do; the same number of trials stays, a higher one goes on.
    before = [trial.params for trial in run.ended]
    again = begun(folder, search(judged_at=(), trials=6))
    again.run(said.append)
    assert [trial.params for trial in again.ended][:5] == before and len(again.ended) == 6


def test_trials_below_the_median_are_interrupted_and_those_that_diverge_end(folder: Path) -> None:
    setting = Setting(low=0.1, high=10.0)
    run = begun(folder, search(trials=4, settings={"model.amp.weight": setting}))
    for weight in (1.0, 2.0, 6.0, 9.0):
        run.study.enqueue_trial({"model.amp.weight": weight})
    run.run(lambda line: None)
    assert [t.state.name for t in run.ended] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    pruned, diverged = run.ended[2:]
    assert pruned.intermediate_values == {150: -5.0} and pruned.user_attrs["env_steps"] == 200
    assert diverged.user_attrs["note"] == "the loss is nan"
    # The pruned one was interrupted, and had saved its checkpoint.
    (part,) = training.load_history(folder / "trial_002/parts").parts
    assert part.code == 130 and training.last_checkpoint([part]) is not None
    assert "the loss is nan" in (folder / "search.md").read_text()


def test_an_interrupted_search_takes_its_training_up_and_proposes_the_same(folder: Path) -> None:
    whole = begun(folder, search(judged_at=(), trials=3))
    whole.run(lambda line: None)
    cut = folder.with_name("cut")
    run = begun(cut, search(judged_at=(), trials=3))
    (cut / "PAUSE").touch()
    metrics = cut / "trial_000/parts/part_000/date/checkpoints/steps"

    def interrupt() -> None:
        while not (metrics.exists() and metrics.read_text() == "200"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run.run(lambda line: None)
    (cut / "PAUSE").unlink()
    again = begun(cut, search(judged_at=(), trials=3))
    again.run(lambda line: None)
    assert [t.params for t in again.ended] == [t.params for t in whole.ended]
    assert again.ended[0].user_attrs["folder"] == "trial_000"
    history = training.load_history(cut / "trial_000/parts")
    assert [part.code for part in history.parts] == [None, 0]
    assert [row.env_steps for row in history.evaluations] == [100, 200, 300, 400]
    logged = training.read_log(cut / "trial_000/parts/part_001/date/metrics.csv")
    assert list(logged) == [300, 400]


def test_a_folder_of_something_else_is_refused(folder: Path) -> None:
    begun(folder, search())
    begun(folder, search(trials=50))
    with pytest.raises(StudyError, match=r"holds a search with search.seed 5, not 6; .*--out"):
        begun(folder, search(), ABOUT | {"search": {"seed": 6}})
    other = folder.with_name("other")
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="no search; give another --out"):
        begun(other, search())
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    (other / "search.db").write_text("no database " * 100)
    with pytest.raises(StudyError, match="not the storage of a search"):
        begun(other, search())


def test_the_objective_is_the_mean_over_judged_entries() -> None:
    def entry(rate: float, torque: float | None, above: float | None = 0.9) -> dict[str, Any]:
        column = {"success": {"value": rate}, "means": {"torque_mean": {"value": torque}}}
        return {"above": above, "limits": {}, "columns": {"last": column}}

    absent = {"above": 0.9, "limits": {}, "columns": {}}
    entries = [entry(1.0, 2.0), entry(0.5, 3.0), entry(0.0, 9.0, above=None), absent]
    found = objective({"suite": "mine", "columns": ["last"], "entries": entries}, 0.1)
    assert (found.success, found.torque) == (0.5, 2.5)
    assert found.value == pytest.approx(0.5 - 0.25)
    # Who falls before anything is measured must not gain by it.
    fallen = objective({"suite": "mine", "columns": ["last"], "entries": [entry(0.0, None)]}, 0.1)
    assert fallen.value == pytest.approx(-0.1 * FALLEN_TORQUE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"low": 2.0, "high": 1.0}, "low is 2, high is 1; high must exceed low"),
        ({"low": 1.0, "high": 1.0}, "high must exceed low"),
        ({"low": 0.0, "high": 1.0, "log": True}, "with log it must be above 0"),
        ({"low": 0.5, "high": 3.0, "whole": True}, "with whole they are whole numbers"),
        ({"low": 1.0}, "it needs low and high, or choices"),
        ({"choices": [1, 1]}, "name two or more, each once"),
        ({"choices": [1, 2], "low": 0.0}, "choices go without low"),
    ],
)
def test_a_range_without_values_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Setting(**content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {}}, "settings is empty"),
        ({"judged_at": (200, 100)}, "it must ascend"),
        ({"judged_at": (400,)}, "end before env_steps 400"),
        ({"suite_seed": 3000}, "seed of 'flat' in suite quick"),
        ({"options": "--seed 3"}, "--seed is set by this tool"),
        ({"options": "--model.amp.weight 3"}, "--model.amp.weight is set by this tool"),
        ({"settings": {"run.env_steps": Setting(low=1.0, high=2.0)}}, "--run.env_steps is set"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        search(**changes)


def test_a_suite_without_a_target_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(
        "defaults: {commands: [0.3], episodes: 2, seconds: 2.0, settle_s: 1.0}\n"
        "entries: {far: {success: {fallen: {max: 0}}}}\n"
    )
    with pytest.raises(StudyError, match=r"shown\.yaml has no entry with a target"):
        search(suite=str(path))


def test_options_of_a_trial_hold_its_values_as_yaml_reads_them() -> None:
    plan = search(
        settings={
            "a.whole": Setting(low=1, high=3, whole=True),
            "a.number": Setting(low=1e-5, high=2.0),
            "a.flag": Setting(choices=(True, None, "bce")),
        }
    )
    assert [list(corner.values()) for corner in plan.corners()] == [
        [1, 1e-5, True], [3, 2.0, None], [3, 2.0, "bce"],
    ]  # fmt: skip
    words = plan.fit_options({"a.whole": 2, "a.number": 1e-5, "a.flag": None})[-6:]
    assert [yaml.safe_load(word) for word in words[1::2]] == [2, pytest.approx(1e-5), None]


def test_choices_keep_their_types_and_errors_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    plan = {"options": "", "env_steps": 10, "every": 1, "evaluation": "quick", "suite": "quick"}
    choices = [1, 0.5, True, None, "bce"]
    path.write_text(
        yaml.safe_dump(plan | {"suite_seed": 9, "seed": 5, "settings": {"a": {"choices": choices}}})
    )
    assert repr(load_search(path).settings["a"].choices) == repr(tuple(choices))
    path.write_text("settings: {a.b: {low: 3, high: 2}}")
    with pytest.raises(StudyError, match=r"mine.yaml: settings.a.b: low is 3, high is 2"):
        load_search(path)
    path.write_text("settings: {a.b: {low: 1, high: 2, hihg: 3}}")
    with pytest.raises(StudyError, match=r"settings.a.b: unknown key 'hihg'"):
        load_search(path)
