"""Tests of tools/evaluate.py."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from envs.config import LocomotionConfig, policy_settings
from envs.physics.capacities import Capacities, read_capacities
from envs.robot.spec import RobotSpec
from envs.task.observations import observation_layout
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Policy

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = """
commands: [0.0, 0.3]
episodes: 4
seconds: 0.6
settle_s: 0.2
limits:
  fall_rate: {max: 0.0}
  velocity_error: {max: %s}
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_tool", ROOT / "tools/evaluate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkpoint(tmp_path: Path, robot: RobotSpec) -> Path:
    """A checkpoint of a policy that has learnt nothing: the robot stands."""
    policy, task = Policy(39, 8, hidden=(16,)), LocomotionConfig()
    path = tmp_path / "last.ckpt"
    about = {
        "observation_layout": observation_layout(robot, task.observation).to_dict(),
        "robot_digest": robot.digest,
        "env_config": policy_settings(task),
        "env_steps": 7,
        "metrics": {},
    }
    weights = {f"{WEIGHTS_PREFIX}{name}": value for name, value in policy.state_dict().items()}
    torch.save({"state_dict": weights, "actor": policy.hparams, "wildrobot": about}, path)
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[float], str]:
    """Maker of scenarios whose limit on the velocity error is given."""

    def make(limit: float) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(SCENARIO % limit)
        return str(path)

    return make


@pytest.mark.parametrize(
    "physics", ["native", "warp-cpu", pytest.param("warp", marks=pytest.mark.gpu)]
)
def test_a_report_is_written_and_summed_up(
    physics: str,
    tool: ModuleType,
    checkpoint: Path,
    scenario: Callable[[float], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "report"
    arguments = ["--scenario", scenario(0.2), "--out", str(out), "--physics", physics]
    assert tool.main([str(checkpoint), *arguments]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["environment"]["physics"] == physics
    assert report["passed"] is True
    assert report["policy"]["env_steps"] == 7
    assert len(report["policy"]["sha256"]) == 64
    assert report["metrics"]["velocity_error"]["value"] == pytest.approx(0.15, abs=0.02)
    said = capsys.readouterr().out
    assert "velocity_error" in said and "passed" in said and str(out / "report.md") in said


def test_a_gate_is_an_exit_code(
    tool: ModuleType, checkpoint: Path, scenario: Callable[[float], str], tmp_path: Path
) -> None:
    strict = [str(checkpoint), "--scenario", scenario(0.1), "--num-envs", "2"]
    assert tool.main([*strict, "--gate"]) == 1
    # Without --out the report lies by the policy.
    assert json.loads((tmp_path / "evaluation/mine/report.json").read_text())["passed"] is False


def test_bad_input_is_one_line_and_exit_code_2(
    tool: ModuleType,
    checkpoint: Path,
    scenario: Callable[[float], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = ["--scenario", scenario(0.1)]
    for arguments, words in (
        ([str(tmp_path / "none.ckpt"), *fine], "none.ckpt"),
        ([str(tmp_path / "mine.yaml"), *fine], "a .ckpt or an .onnx"),
        ([str(checkpoint), "--scenario", "runing"], "'runing' is unknown; allowed: pushed"),
        ([str(checkpoint), *fine, "--num-envs", "3"], "3 does not divide the 4 episodes"),
        ([str(checkpoint), *fine, "--num-envs", "0"], "0 does not divide"),
        ([str(checkpoint), *fine, "--physics", "wrap"], "'wrap'; allowed: native, warp"),
    ):
        assert tool.main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert words in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "mine.yaml"]


def test_physics_without_room_for_its_contacts_is_no_result(
    tool: ModuleType,
    checkpoint: Path,
    scenario: Callable[[float], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cramped(*arguments: Any) -> Capacities:
        return replace(read_capacities(*arguments), nconmax=1)

    monkeypatch.setattr("envs.physics.engines.read_capacities", cramped)
    arguments = [str(checkpoint), "--scenario", scenario(0.2), "--physics", "warp-cpu"]
    assert tool.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert "BROADPHASE" in captured.err and "tools/measure_capacities.py" in captured.err
    assert not (tmp_path / "evaluation").exists()


def test_a_policy_of_another_robot_is_refused(
    tool: ModuleType,
    checkpoint: Path,
    scenario: Callable[[float], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = torch.load(checkpoint)
    content["wildrobot"]["robot_digest"] = "0" * 16
    torch.save(content, checkpoint)
    assert tool.main([str(checkpoint), "--scenario", scenario(0.1)]) == 2
    assert "robot 0000000000000000" in capsys.readouterr().err
