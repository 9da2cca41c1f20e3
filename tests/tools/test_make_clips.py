"""The clip tool: what it writes, and how it says no."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.read.files import load_clips

TOOL = Path(__file__).parents[2] / "tools" / "make_clips.py"
Main = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def main() -> Main:
    spec = importlib.util.spec_from_file_location("make_clips", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_writes_clips_that_load(
    main: Main, robot: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), "--speeds", "0.2", "0.4", "--duration", "2"]) == 0
    clips = load_clips(tmp_path, robot)
    assert [clip.name for clip in clips] == ["stand", "walk_0.20", "walk_0.40"]
    printed = capsys.readouterr().out
    assert all(clip.name in printed for clip in clips)


@pytest.mark.parametrize(
    "bad", [["--speeds", "3.0"], ["--fps", "0"], ["--cmu", "missing"], ["--duration", "nan"]]
)
def test_bad_input_is_one_line_exit_code_2_and_no_file(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: list[str]
) -> None:
    assert main(["--out", str(tmp_path / "clips"), *bad]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "clips").exists()
