"""`wildrobot demo`: what it says first, that its stages fit each other, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envs.robot.model import RobotModel
from tests.wildrobot_torch.evaluation.style.conftest import small_reference
from wildrobot_torch.cli.demo import expectation
from wildrobot_torch.cli.main import main

SHORT = [
    *("--run.env_steps", "2048", "--data.num_envs", "64", "--data.num_steps", "16"),
    *("--data.iterations_per_epoch", "2", "--data.evaluation", "standing"),
]
"""A training of two iterations."""


def test_the_estimate_is_steps_over_speed() -> None:
    # 7 M steps at 70 % of 10,000 steps/s take 1000 s, 2.1 M 300 s; the rest is the same everywhere.
    said = expectation(10_000.0, 2_100_000, 7_000_000)
    reference, training, whole = re.findall(r"(\d+):(\d\d)", said)
    assert reference == ("5", "00") and training == ("16", "40")
    assert 60 * int(whole[0]) + int(whole[1]) > 1300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "is there already"),
        (["--out", "new", "--model.ppo.gama", "0.9"], "did you mean --model.ppo.gamma?"),
        (["--out", "new", "--run.env_steps", "0"], "run.env_steps is 0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("here/policy.onnx").write_text("mine")
    assert main(["demo", "--out", "here", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "policy.onnx"]


@pytest.mark.slow
def test_it_ends_with_a_report_a_film_and_a_policy(
    tmp_path: Path, robot_model: RobotModel, capsys: pytest.CaptureFixture[str]
) -> None:
    reference, out = tmp_path / "reference.npz", tmp_path / "demo"
    small_reference(robot_model).save(reference)
    assert main(["demo", "--reference", str(reference), "--out", str(out), *SHORT]) == 0
    said = capsys.readouterr().out
    assert said.index("robot steps/s") < said.index("[1/4] training")
    for name in ("evaluation/report.md", "walking.gif", "policy.onnx"):
        assert (out / name).stat().st_size > 0
        assert name in said
