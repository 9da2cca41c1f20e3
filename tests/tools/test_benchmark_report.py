"""Tests of tools/benchmark_report.py: the arithmetic, and what the tables say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "benchmark_report.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_report", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _block(tool: ModuleType, envs: int, memory: dict[str, float | None]) -> dict[str, Any]:
    # Physics 0.5 s for 10 steps, and each thing around it as long again.
    seconds = {name: [0.5 * (depth + 1)] for depth, name in enumerate(tool.MEASURED)}
    return {
        "envs": envs,
        "cores_free": None,
        "memory_mib": memory,
        "results": tool.results(seconds, envs, 10),
        "seconds": seconds,
    }


def _report(blocks: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "date": "2030-01-01 00:00",
        "physics": "warp",
        "device": "a card",
        "nvidia": "driver 600.1; a card (2 GiB)",
        "machine": "a processor, 3 cores",
        "versions": {"torch": "9.8", "warp-lang": None},
        "commit": None,
        "steps": 10,
        "rounds": 1,
        "motion_prior": False,
        "start_up": None,
        "does_not_fit": None,
        "blocks": blocks,
        **changes,
    }


def test_ratios_are_taken_within_a_round(tool: ModuleType) -> None:
    # The machine is busy in the second round: everything takes twice as long, the ratio is 1/2.
    seconds = {"physics": [1.0, 2.0, 1.0], "environment": [2.0, 4.0, 2.0]}
    results = tool.results(seconds, num_envs=10, num_steps=4)
    assert results["environment"]["ratio"] == pytest.approx(0.5)
    assert results["physics"]["ratio"] == pytest.approx(1.0)
    assert results["environment"]["env_steps_per_s"] == pytest.approx(20.0)  # 10 * 4 / 2 s
    assert results["environment"]["ms_per_step"] == pytest.approx(500.0)  # 2 s / 4


def test_one_number_of_robots_is_one_table(tool: ModuleType) -> None:
    text = tool.markdown(_report([_block(tool, 2000, {"host": 1536.0})]))
    assert "`warp` on a card (driver 600.1; a card (2 GiB))" in text
    assert "torch 9.8" in text and "warp-lang" not in text and "commit" not in text
    assert "**2,000 robots**; memory of the training: 1,536 MiB; unknown cores free" in text
    # 2000 robots x 10 steps in 0.5 s; collection takes three times as long.
    rows = {line.split(":")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert rows["| physics"].endswith("| 50.0 | 40,000 | 100% |")
    assert rows["| collection"].endswith("| 150.0 | 13,333 | 33% |")
    assert "| robots |" not in text and "No more robots" not in text


def test_several_numbers_come_with_an_overview(tool: ModuleType) -> None:
    device = {"host": None, "device": 900.0, "torch": 300.0, "warp": 500.0}
    blocks = [_block(tool, 10, {"host": 5.0}), _block(tool, 1000, device)]
    start_up = {"envs": 10, "cold_s": 31.25, "cached_s": 0.75}
    text = tool.markdown(_report(blocks, start_up=start_up, does_not_fit="for a reason"))
    assert "| 10 | 200 (100%) | 100 (50%) | 67 (33%) | 50 (25%) |" in text
    assert "| 1,000 | 20,000 (100%) | 10,000 (50%) | 6,667 (33%) | 5,000 (25%) |" in text
    assert text.count("| physics: ") == 2
    assert "900 MiB of the device (peaks: torch 300, Warp 500)" in text
    assert "31.2 s with an empty kernel cache, 0.8 s with a filled one" in text
    assert text.endswith("No more robots: for a reason")


def test_surroundings_name_the_processor_and_what_computes_on_it(tool: ModuleType) -> None:
    native, warp = tool.surroundings("native"), tool.surroundings("warp-cpu")
    assert native["device"] in native["machine"] and native["nvidia"] is None
    assert "physics threads" in native["machine"]
    assert "physics threads" not in warp["machine"]  # Warp's CPU device has none
    assert native["versions"]["mujoco"]
