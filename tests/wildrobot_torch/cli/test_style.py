"""`wildrobot style`: its report, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from envs.robot.model import RobotModel
from wildrobot_torch.cli.main import main
from wildrobot_torch.evaluation.style import classifier
from wildrobot_torch.study.arms import style_values

ROOT = Path(__file__).resolve().parents[3]
POLICY = ROOT / "tests/data/walking_policy.onnx"
SMALL = ROOT / "tests/wildrobot_torch/evaluation/style/conftest.py"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference(robot_model: RobotModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "walks.npz"
    load(SMALL, "small_reference_maker").small_reference(robot_model).save(path)
    return path


def test_a_policy_is_judged_and_written_about(
    reference: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(classifier, "STEPS", 30)
    monkeypatch.setattr(classifier, "SAMPLES", 400)
    arguments = [POLICY, "--reference", reference, "--out", tmp_path, "--episodes", "1",
                 "--seconds", "5", "--held-out", "0.34", "--against", POLICY]  # fmt: skip
    assert main(["style", *map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"wrote {tmp_path / 'style.md'}"
    content = json.loads((tmp_path / "style.json").read_text())
    columns = content["scopes"]["held out"]["columns"]
    assert list(columns) == [
        "standing", "reversed", "jittered", "damped", "walking_policy.onnx", "against"
    ]  # fmt: skip
    # The policy against itself: equal figures, so none is half the other.
    assert columns["walking_policy.onnx"] == columns["against"]
    names = [v["metric"] for v in content["verdicts"]["walking_policy.onnx"]]
    assert names == ["frechet", "auc", "dtw", "foot_slip", "phase_offset", "symmetry_index"]
    assert not any(v["passed"] for v in content["verdicts"]["walking_policy.onnx"][:3])
    assert content["gait"]["walking_policy.onnx"]["alternation"] > 0.9
    assert content["about"]["episodes"] == 6
    # A study finds in the report what it puts into its tables.
    values = style_values(content, "walking_policy.onnx")
    assert values["held_out"] == columns["walking_policy.onnx"]
    assert values["held_out_floor"].keys() == values["held_out"].keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--reference", "none.npz"], "reference none.npz: no such file; make it with"),
        (["--episodes", "0"], "--episodes: 0; allowed: 1 or more"),
        (["--seconds", "3"], "--seconds is 3; allowed: 4 or more"),
        (["--seconds", "nan"], "--seconds is nan; allowed"),
        (["--held-out", "1.5"], "share of held-out reference is 1.5"),
        (["--physics", "bullet"], "bullet"),
        (["--against", "gone.ckpt"], "no file gone.ckpt"),
        (["--replicate", "gone.npz"], "reference gone.npz: no such file"),
        ([str(POLICY)], "a policy is given twice"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    changed: list[str],
    message: str,
    reference: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = [str(POLICY)]
    if not changed[0].startswith("--"):
        arguments += changed
    arguments += ["--reference", str(reference), "--out", str(out)]
    arguments += changed if changed[0].startswith("--") else []
    assert main(["style", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not out.exists()
