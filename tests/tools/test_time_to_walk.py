"""Tests of tools/time_to_walk.py; its trainings are tested in tests/wildrobot_torch/study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import time_to_walk as tool
from wildrobot_torch.cli.main import run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.ppo.gama", "0.9"], "did you mean --model.ppo.gamma?"),
        (["--seed", "3"], "--seed is set by this tool; use seeds of the study, or --seeds"),
        (["--trainer.max_time", "00:00:01:00"], "or --run.env_steps"),
        (["--every", "0"], "0; allowed: 1 or more"),
        (["--seeds", "1", "1"], "names one twice"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool.main, [*words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_holds_one_recipe_whose_length_may_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    options, recipe = tool.parser().parse_known_args([*out, "--model.ppo.gamma", "0.9"])
    (first, *_) = tool.prepared(options, recipe)
    assert (first.seed, first.walk.name, first.every) == (0, "walking", 10)
    longer, recipe = tool.parser().parse_known_args(
        [*out, "--model.ppo.gamma", "0.9", "--run.env_steps", "77"]
    )
    assert tool.prepared(longer, recipe)[0].env_steps == 77
    assert run(tool.main, [*out, "--model.ppo.gamma", "0.8"]) == 2
    assert '"gamma": 0.9, not "gamma": 0.8; give another --out' in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.onnx").write_text("mine")
    assert run(tool.main, ["--out", str(tmp_path)]) == 2
    assert "no measurement; give another --out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


def test_exit_codes_say_whether_all_walked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--out", str(out), "--seeds", "0", "--run.env_steps", "100"]
    (seed_run,) = tool.prepared(*tool.parser().parse_known_args(words))
    # A training that used up its steps without walking.
    part = seed_run.folder / "parts/part_000"
    (part / "date").mkdir(parents=True)
    names = list(seed_run.walk.limits)
    head = ",".join([*(f"Evaluation/{n}" for n in names), "Perf/collection_time", "step"]) + "\n"
    row = ",".join([*("1.0" for _ in names), "1.0", "100"]) + "\n"
    (part / "date/metrics.csv").write_text(head + row)
    (part / "part.json").write_text(json.dumps({"code": 0, "wall_s": 2.0, "error": ""}))
    assert run(tool.main, words) == 1
    assert "0 of 1 seeds reach WALK; median never" in (out / "report.md").read_text()
