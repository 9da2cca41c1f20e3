"""Tests of tools/demo.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = [
    *("--run.env_steps", "2048", "--data.num_envs", "64", "--data.num_steps", "16"),
    *("--data.iterations_per_epoch", "2", "--data.evaluation", "standing"),
]
"""A training of two iterations."""


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools/demo.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_never_writes_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").write_text("mine")
    done = demo("--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.slow
def test_it_ends_with_a_report_a_film_and_a_policy(tmp_path: Path) -> None:
    done = demo("--out", str(tmp_path / "demo"), *SHORT)
    assert done.returncode == 0, done.stderr
    for name in ("reference.npz", "evaluation/report.md", "walking.gif", "policy.onnx"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
        assert name in done.stdout


@pytest.mark.slow
def test_it_stops_at_the_stage_that_fails(tmp_path: Path) -> None:
    done = demo("--out", str(tmp_path / "demo"), "--model.ppo.gama", "0.9")
    assert done.returncode == 2
    assert "the demo ends at 'training', exit code 2" in done.stderr
    assert not (tmp_path / "demo" / "policy.onnx").exists()
