"""Tests of tools/benchmark.py: the arithmetic and the whole of it at its smallest."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ratios_are_taken_within_a_round(tool: ModuleType) -> None:
    # The machine is busy in the second round: everything takes twice as long, the ratio is 1/2.
    seconds = {"physics": [1.0, 2.0, 1.0], "environment": [2.0, 4.0, 2.0]}
    results = tool.results(seconds, num_envs=10, num_steps=4)
    assert results["environment"]["ratio"] == pytest.approx(0.5)
    assert results["physics"]["ratio"] == pytest.approx(1.0)
    assert results["environment"]["env_steps_per_s"] == pytest.approx(20.0)  # 10 * 4 / 2 s
    assert results["environment"]["ms_per_step"] == pytest.approx(500.0)  # 2 s / 4


@pytest.mark.filterwarnings("ignore")
def test_it_writes_times_and_a_table(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "benchmark.json"
    sizes = ["--envs", "32", "--steps", "4", "--rounds", "2"]
    assert tool.main([*sizes, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    for times in report["seconds"].values():
        assert len(times) == 2 and min(times) > 0.0
    # Collection is part of training.
    assert all(
        part < whole
        for part, whole in zip(
            report["seconds"]["collection"], report["seconds"]["training"], strict=True
        )
    )
    assert out.with_suffix(".md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--envs", "0"], ["--rounds", "-1"], ["--reference", "none.npz"]]
)
def test_bad_input_is_one_line_and_writes_nothing(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    small = ["--envs", "4", "--steps", "2", "--rounds", "1", "--out", str(tmp_path / "b.json")]
    assert tool.main([*small, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
