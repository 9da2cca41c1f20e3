"""Tests of tools/play.py, without a display."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image, ImageSequence

from envs.robot import RobotSpec
from wildrobot_torch.motion.clips import save_clip
from wildrobot_torch.motion.synthesis import standing_clip

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--size", "64x64", "--renderer", "software"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("play_tool", ROOT / "tools/play.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_a_policy_becomes_a_film(
    physics: str, tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stand.gif"
    arguments = ["--policy", "zero", "--seconds", "0.4", "--velocity", "0.2", "--out", str(out)]
    assert tool.main([*arguments, "--physics", physics, *SMALL]) == 0
    with Image.open(out) as film:
        assert film.size == (64, 64)
        assert len(list(ImageSequence.Iterator(film))) == 10
    assert "0.4 s, upright" in capsys.readouterr().out


def test_a_fall_ends_the_film_and_is_told(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--policy", "random", "--seconds", "10", "--out", str(tmp_path / "a.png")]
    assert tool.main([*arguments, *SMALL]) == 0
    assert "fell" in capsys.readouterr().out


def test_a_clip_becomes_a_film(
    tool: ModuleType, tmp_path: Path, robot: RobotSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "stand.npz"
    save_clip(standing_clip(robot, 1.0), clip, robot)
    out = tmp_path / "stand.gif"
    assert tool.main(["--clip", str(clip), "--seconds", "0.4", "--out", str(out), *SMALL]) == 0
    with Image.open(out) as film:
        assert len(list(ImageSequence.Iterator(film))) == 11
    assert "0.4 s of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ckpt"], "none.ckpt"),
        (["--clip", "none.npz"], "none.npz: no such file"),
        (["--policy", "zero", "--out", "film.avi"], "unknown kind '.avi'; allowed: .mp4"),
        (["--policy", "zero", "--size", "big"], "WIDTHxHEIGHT"),
        (["--policy", "zero", "--size", "100x100"], "multiples of 16"),
        (["--policy", "zero", "--seconds", "0"], "--seconds is 0.0; allowed"),
        (["--policy", "zero", "--velocity", "nan"], "--velocity is nan; allowed"),
        (["--policy", "zero", "--viewer"], "--viewer needs a display"),
        (["--policy", "zero", "--physics", "wrap"], "'wrap'; allowed: native, warp"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tool.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert words in captured.err
    assert list(tmp_path.iterdir()) == []
