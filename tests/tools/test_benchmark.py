"""Tests of tools/benchmark.py: the command line, its processes and its exit codes."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from envs.physics import engines
from envs.physics.capacities import Capacities

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"
SMALL = ["--steps", "8", "--rounds", "1"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process."""

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr(tool, "in_own_process", call)


def test_it_writes_times_and_a_table(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "benchmark.json"
    sizes = ["--envs", "32", "--steps", "4", "--rounds", "2"]
    assert tool.main([*sizes, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    (block,) = report["blocks"]
    assert block["envs"] == 32
    for times in block["seconds"].values():
        assert len(times) == 2 and min(times) > 0.0
    if sys.platform == "linux":
        # A process of its own has not taken this memory before.
        assert 1.0 < block["memory_mib"]["host"] < 1000.0
    assert out.with_suffix(".md").read_text() in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("here")
def test_each_number_of_robots_is_a_block(tool: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "benchmark.json"
    assert tool.main([*SMALL, "--envs", "1,6", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert [block["envs"] for block in report["blocks"]] == [1, 6]
    assert "| 6 | " in out.with_suffix(".md").read_text()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("here")
def test_a_sweep_ends_where_memory_does(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure = tool.measure

    def limited(options: Any, num_envs: int) -> Any:
        if num_envs > 2:
            raise tool.DoesNotFit(f"{num_envs} robots are too many")
        return measure(options, num_envs)

    monkeypatch.setattr(tool, "measure", limited)
    monkeypatch.setattr(tool, "SWEEP", (2, 4, 8))
    out = tmp_path / "benchmark.json"
    assert tool.main([*SMALL, "--envs", "sweep", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert [block["envs"] for block in report["blocks"]] == [2]
    assert report["does_not_fit"] == "4 robots are too many"
    capsys.readouterr()
    # Numbers that were asked for are not left out.
    assert tool.main([*SMALL, "--envs", "4", "--out", str(tmp_path / "other.json")]) == 1
    assert capsys.readouterr().err == "error: 4 robots are too many\n"
    assert not (tmp_path / "other.json").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("here")
def test_nothing_is_reported_where_contacts_were_dropped(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def too_small(*_: Any) -> Capacities:
        return Capacities(njmax=256, nconmax=1, contact_sensor_maxmatch=32)

    # The robot stands on more than one contact.
    monkeypatch.setattr(engines, "read_capacities", too_small)
    arguments = [*SMALL, "--envs", "2", "--physics", "warp-cpu"]
    assert tool.main([*arguments, "--out", str(tmp_path / "benchmark.json")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "NARROWPHASE" in error and "measure_capacities" in error
    assert list(tmp_path.iterdir()) == []


def test_functions_run_in_processes_of_their_own(tool: ModuleType) -> None:
    assert tool.in_own_process(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="math domain"):
        tool.in_own_process(math.sqrt, -1.0)
    with pytest.raises(tool.DoesNotFit, match="fewer robots"):
        tool.in_own_process(os._exit, 9)


@pytest.mark.slow
def test_starts_with_an_empty_and_a_filled_cache_are_timed(tool: ModuleType) -> None:
    seconds = tool.start_ups("warp-cpu", 2)
    assert seconds["envs"] == 2 and min(seconds["cold_s"], seconds["cached_s"]) > 0.0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--envs", "0"],
        ["--envs", "64,-1"],
        ["--envs", "some"],
        ["--rounds", "-1"],
        ["--physics", "another"],
        ["--compile"],
        ["--out", "table.md"],
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    small = ["--envs", "4", *SMALL, "--out", str(tmp_path / "b.json")]
    assert tool.main([*small, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("here")
def test_a_reference_that_is_not_there_is_bad_input(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--envs", "4", *SMALL, "--reference", str(tmp_path / "none.npz")]
    assert tool.main([*arguments, "--out", str(tmp_path / "b.json")]) == 2
    assert "none.npz" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
