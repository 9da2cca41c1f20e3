"""Tests of tools/search.py; its parts are tested in tests/wildrobot_torch/study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import search as tool
from wildrobot_torch.cli.fit import read_options
from wildrobot_torch.cli.main import run
from wildrobot_torch.study.search import load_search

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--config walking --data.num_envs 8 --data.num_steps 6 --data.num_threads 1 "
    "--model.network.hidden [16] --model.ppo.num_epochs 1 --model.ppo.num_minibatches 1"
)


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    """A search of one setting, which takes seconds."""
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "defaults: {commands: [0.0], seconds: 0.6, settle_s: 0.2}\n"
        "entries: {still: {episodes: 6, success: {fallen: {max: 0}}, above: 0.0}}\n"
    )
    return {
        "options": SMALL, "trials": 2, "startup": 1, "env_steps": 96, "every": 1, "seed": 7,
        "evaluation": "quick", "judged_at": [48], "suite": str(suite), "suite_seed": 9,
        "settings": {"model.ppo.gamma": {"low": 0.9, "high": 0.99}},
    }  # fmt: skip


def called(tmp_path: Path, plan: dict[str, Any]) -> int:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(plan))
    return run(tool.main, [str(path), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"model.ppo.gama": {"low": 0.1, "high": 0.2}}}, "--model.ppo.gamma"),
        ({"settings": {"model.ppo.gamma": {"low": 0.9, "high": 1.5}}}, "model.ppo.gamma is 1.5"),
        ({"settings": {"model.ppo.gamma": {"low": 0.9, "high": 0.8}}}, "high must exceed low"),
        ({"suite": "quik"}, "suite 'quik' is unknown; allowed: full, quick"),
        ({"evaluation": "nowhere"}, "scenario 'nowhere' is unknown"),
        ({"options": f"{SMALL} --data.reference none.npz"}, "needs none.npz, which is not there"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    plan: dict[str, Any],
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert called(tmp_path, plan | changes) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_command_that_installs_it_is_named(
    plan: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as Python marks what cannot be imported
    assert called(tmp_path, plan) == 2
    error = capsys.readouterr().err.strip()
    assert "pip install 'wildrobot_torch[search]'" in error and "\n" not in error


def test_the_shipped_search_varies_settings_around_those_of_the_recipe() -> None:
    search = load_search(ROOT / "configs/study/search.yaml")
    recipe = read_options(search.fit_options({}))
    for name, setting in search.settings.items():
        value = recipe
        for group in name.split("."):
            value = value[group]
        assert isinstance(value, float)
        assert setting.low is not None and setting.low < value, name
        assert setting.high is not None and value < setting.high, name
    for corner in search.corners():
        read_options(search.fit_options(corner))


@pytest.mark.slow
def test_a_search_trains_evaluates_and_leaves_an_overlay(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    assert called(tmp_path, plan) == 0
    best = tmp_path / "out/best.yaml"
    gamma = read_options(["--config", "walking", "--config", str(best)])["model"]["ppo"]["gamma"]
    assert 0.9 <= gamma <= 0.99
    assert f"{gamma:.4g}" in (tmp_path / "out/search.md").read_text()
