"""`wildrobot evaluate`: its report, its gate, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.config import policy_settings
from envs.physics.capacities import Capacities, read_capacities
from envs.reality.servo import ServoConfig
from tests.tasks import ideal_task
from wildrobot_torch.cli.main import main
from wildrobot_torch.ppo.networks import Policy

SCENARIO = """
commands: [0.0, 0.3]
episodes: 4
seconds: 0.6
settle_s: 0.2
limits:
  fall_rate: {max: 0.0}
  velocity_error: {max: %s}
"""


@pytest.fixture
def policy() -> Policy:
    """A policy that has learnt nothing: the robot stands."""
    return Policy(39, 8, hidden=(16,))


@pytest.fixture
def checkpoint(make_checkpoint: Callable[..., Path]) -> str:
    return str(make_checkpoint(env_steps=7))


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
    checkpoint: str,
    scenario: Callable[[float], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "report"
    arguments = ["--scenario", scenario(0.2), "--out", str(out), "--physics", physics]
    assert main(["evaluate", checkpoint, *arguments]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["environment"]["physics"] == physics
    assert report["passed"] is True
    assert report["policy"]["env_steps"] == 7
    assert len(report["policy"]["sha256"]) == 64
    assert report["metrics"]["velocity_error"]["value"] == pytest.approx(0.15, abs=0.02)
    said = capsys.readouterr().out
    assert "cause of their end: time 4" in said
    assert "velocity_error" in said and "passed" in said and str(out / "report.md") in said


@pytest.mark.parametrize(
    ("trained", "asked", "used"),
    [
        ("ideal", "", "ideal"),
        ("robot", "", "envelope"),
        ("ideal", "servo: {model: robot}", "envelope"),
        ("robot", "servo: {model: ideal}", "ideal"),
    ],
)
def test_a_policy_drives_the_servo_it_was_trained_with_unless_the_scenario_names_one(
    trained: Any,
    asked: str,
    used: str,
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = policy_settings(ideal_task(servo=ServoConfig(model=trained)))
    path = str(make_checkpoint(env_config=settings))
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(f"commands: [0.0]\nepisodes: 1\nseconds: 0.2\nsettle_s: 0.1\n{asked}\n")
    out = tmp_path / "report"
    assert main(["evaluate", path, "--scenario", str(scenario), "--out", str(out)]) == 0
    assert f"servo: {used}\n" in capsys.readouterr().out
    assert json.loads((out / "report.json").read_text())["policy"]["servo"] == used
    assert f"| servo | {used} |" in (out / "report.md").read_text()


def test_a_gate_is_an_exit_code(
    checkpoint: str, scenario: Callable[[float], str], tmp_path: Path
) -> None:
    strict = [checkpoint, "--scenario", scenario(0.1), "--num_envs", "2"]
    assert main(["evaluate", *strict, "--gate"]) == 1
    # Without --out the report lies by the policy.
    report = Path(checkpoint).parent / "evaluation/mine/report.json"
    assert json.loads(report.read_text())["passed"] is False


def test_bad_input_is_one_line_and_exit_code_2(
    checkpoint: str,
    scenario: Callable[[float], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = ["--scenario", scenario(0.1)]
    for arguments, words in (
        ([str(tmp_path / "none.ckpt"), *fine], "none.ckpt"),
        ([str(tmp_path / "mine.yaml"), *fine], "a .ckpt or an .onnx"),
        ([checkpoint, "--scenario", "runing"], "'runing' is unknown; allowed: pushed"),
        ([checkpoint, *fine, "--num-envs", "3"], "3 does not divide the 4 episodes"),
        ([checkpoint, *fine, "--num-envs", "0"], "0; allowed: 1 or more"),
        ([checkpoint, *fine, "--physics", "wrap"], "'wrap'; allowed: native, warp"),
    ):
        assert main(["evaluate", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert words in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "mine.yaml"]


def test_physics_without_room_for_its_contacts_is_no_result(
    checkpoint: str,
    scenario: Callable[[float], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def cramped(*arguments: Any) -> Capacities:
        return replace(read_capacities(*arguments), nconmax=1)

    monkeypatch.setattr("envs.physics.engines.read_capacities", cramped)
    arguments = [checkpoint, "--scenario", scenario(0.2), "--physics", "warp-cpu"]
    assert main(["evaluate", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert "BROADPHASE" in captured.err and "tools/measure_capacities.py" in captured.err
    assert not (tmp_path / "evaluation").exists()


def test_a_policy_of_another_robot_is_refused(
    checkpoint: str,
    scenario: Callable[[float], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = torch.load(checkpoint)
    content["wildrobot"]["robot_digest"] = "0" * 16
    torch.save(content, checkpoint)
    assert main(["evaluate", checkpoint, "--scenario", scenario(0.1)]) == 2
    assert "robot 0000000000000000" in capsys.readouterr().err
    assert main(["evaluate", checkpoint, "--suite", "quick"]) == 2
    assert "robot 0000000000000000" in capsys.readouterr().err


SUITE = """
defaults: {commands: [0.0], seconds: 0.6, settle_s: 0.2}
entries:
  standing:
    episodes: 6
    success: {fallen: {max: 0}}
    above: %s
"""


def test_a_suites_verdict_is_the_exit_code(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE % 0.5)
    arguments = ["evaluate", checkpoint, "--suite", str(suite)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "standing" in said and "pass" in said and "suite.md" in said
    folder = Path(checkpoint).parent / "evaluation/suite_mine"
    report = json.loads((folder / "suite.json").read_text())
    assert report["columns"] == [Path(checkpoint).stem, "home hold"]
    assert len(report["policies"][Path(checkpoint).stem]["sha256"]) == 64
    suite.write_text(
        "defaults: {commands: [0.0], seconds: 0.6, settle_s: 0.2}\n"
        "entries: {far: {episodes: 6, success: {distance: {min: 9}}, above: 0.0}}\n"
    )
    out = tmp_path / "other"
    assert main([*arguments, "--against", checkpoint, "--out", str(out)]) == 1
    assert len(json.loads((out / "suite.json").read_text())["columns"]) == 3


def test_a_suite_that_cannot_be_is_refused_before_anything_runs(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE % 0.95)
    asked = ["evaluate", checkpoint, "--suite", str(suite)]
    for arguments, words in (
        (asked, "6 episodes cannot show a rate above 0.95"),
        (["evaluate", checkpoint, "--suite", "ful"], "'ful' is unknown; allowed: full, quick"),
        ([*asked, "--scenario", "walking"], "--scenario goes with a scenario"),
        ([*asked, "--gate"], "--gate goes with a scenario"),
        (["evaluate", checkpoint, "--against", checkpoint], "give --suite too"),
        (["evaluate", str(tmp_path / "none.onnx"), "--suite", "quick"], "none"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
        assert words in captured.err
