"""Tests of tools/time_to_walk.py; trainings are tested with the runner."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("walk_tool", ROOT / "tools/time_to_walk.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.ppo.gama", "0.9"], "did you mean --model.ppo.gamma?"),
        (["--seed", "3"], "--seed is set by this tool; use --seeds"),
        (["--trainer.max_time", "00:00:01:00"], "use --max_time"),
        (["--max_time", "8min"], "write DD:HH:MM:SS"),
        (["--every", "0"], "--every is 0"),
        (["--beyond", "0.5"], "--beyond is 0.5; it must exceed 1"),
        (["--seeds", "1", "1"], "names one twice"),
        (["--screening", "nowhere"], "scenario 'nowhere' is unknown"),
    ],
)
def test_requests_that_cannot_be_met_end_in_one_line_and_write_nothing(
    tool: ModuleType,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tool.main([*words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_is_of_one_recipe_whose_length_may_change(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    options, recipe = tool.parser().parse_known_args([*out, "--model.ppo.gamma", "0.9"])
    (run, *_) = tool.prepared(options, recipe)
    assert (run.seed, run.physics, run.plan.screening.name) == (0, "native", "screening")
    assert run.plan.iteration_steps == 1024 * 24
    longer, recipe = tool.parser().parse_known_args(
        [*out, "--beyond", "3", "--model.ppo.gamma", "0.9", "--run.env_steps", "77"]
    )
    assert tool.prepared(longer, recipe)[0].plan.env_steps == 77
    assert tool.main([*out, "--model.ppo.gamma", "0.8"]) == 2
    error = capsys.readouterr().err
    assert "settings.model.ppo.gamma 0.9, not 0.8; give another --out" in error


def test_a_folder_of_something_else_is_left_alone(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.onnx").write_text("mine")
    assert tool.main(["--out", str(tmp_path)]) == 2
    assert "no measurement; give another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


def test_exit_codes_say_whether_all_walked(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ["--out", str(out), "--seeds", "0", "--run.env_steps", "100"]
    options, recipe = tool.parser().parse_known_args(words)
    (run,) = tool.prepared(options, recipe)
    # A training that used up its steps without walking, as its files tell.
    part = run.folder / "parts/000"
    (part / "date").mkdir(parents=True)
    (part / "date/metrics.csv").write_text(
        "Perf/collection_time,Perf/learning_time,step\n1.0,1.0,100\n"
    )
    about = {"start": 0, "evaluation": "screening", "stops_when_passed": True, "code": 0}
    (part / "part.json").write_text(json.dumps(about))
    assert tool.main(words) == 1
    assert "0 of 1 seeds reach WALK; median never" in (out / "report.md").read_text()
