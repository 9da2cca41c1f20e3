"""`wildrobot play`: films of policies and clips, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageSequence

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.cli.main import main
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.motion.read.files import save_clip
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.generate import clip_hash

SMALL = ["--size", "64x64", "--renderer", "software"]


@pytest.fixture(autouse=True)
def _no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_a_policy_becomes_a_film(
    physics: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stand.gif"
    arguments = ["zero", "--seconds", "0.4", "--velocity", "0.2", "--out", str(out)]
    assert main(["play", *arguments, "--physics", physics, *SMALL]) == 0
    with Image.open(out) as film:
        assert film.size == (64, 64)
        assert len(list(ImageSequence.Iterator(film))) == 10
    assert "0.4 s, upright" in capsys.readouterr().out


def test_a_fall_ends_the_film_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["random", "--seconds", "10", "--out", str(tmp_path / "a.png")]
    assert main(["play", *arguments, *SMALL]) == 0
    assert "fell" in capsys.readouterr().out


def test_a_clip_becomes_a_film(
    tmp_path: Path, robot: RobotSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "stand.npz"
    save_clip(standing_clip(robot, 1.0), clip, robot)
    out = tmp_path / "stand.gif"
    assert main(["play", "--clip", str(clip), "--seconds", "0.4", "--out", str(out), *SMALL]) == 0
    with Image.open(out) as film:
        assert len(list(ImageSequence.Iterator(film))) == 11
    assert "0.4 s of" in capsys.readouterr().out


def test_a_clip_and_what_became_of_it_become_one_film(
    tmp_path: Path, robot: RobotSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = replace(standing_clip(robot, 1.0), name="quiet")
    save_clip(clip, tmp_path / "quiet.npz", robot)
    states = clip_states(clip, robot)
    layout = amp_layout(robot)
    ReferenceDataset(
        amp=torch.zeros(30, layout.size),
        qpos=states[0][1:31],
        qvel=states[1][1:31],
        foot_force=torch.zeros(30, 2),
        support_wrench=torch.zeros(30, 6),
        segment_start=torch.tensor([0]),
        segment_length=torch.tensor([30]),
        segment_weight=torch.ones(1),
        segment_velocity=torch.zeros(1),
        segment_clip=("quiet",),
        segment_tier=("0+",),
        segment_support=("none",),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={
            "segments": [{"clip_frame": 1, "clip_sha256": clip_hash(clip.resample(50.0))}],
        },
    ).save(tmp_path / "reference.npz")
    shown = ["--clip", str(tmp_path / "quiet.npz"), "--reference", str(tmp_path / "reference.npz")]
    for beside, out in (("0.5", "a.png"), ("0", "b.png")):
        arguments = [*shown, "--ghost-beside", beside, "--out", str(tmp_path / out), *SMALL]
        assert main(["play", *arguments]) == 0
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        assert a.size == b.size == (4 * 64, 2 * 64)
        assert a.tobytes() != b.tobytes()
    assert "0.6 s accepted of quiet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.ckpt"], "none.ckpt"),
        (["zero", "--clip", "a.npz"], "both zero and --clip a.npz are given"),
        (["--clip", "none.npz"], "none.npz: no such file"),
        (["zero", "--reference", "a.npz"], "--reference needs the clip"),
        (["--clip", "a.npz", "--ghost-beside", "nan"], "--ghost_beside: nan; allowed"),
        (["zero", "--out", "film.avi"], "unknown kind '.avi'; allowed: .mp4"),
        (["zero", "--size", "big"], "WIDTHxHEIGHT"),
        (["zero", "--size", "100x100"], "multiples of 16"),
        (["zero", "--seconds", "0"], "--seconds: 0; allowed"),
        (["zero", "--velocity", "nan"], "--velocity: nan; allowed"),
        (["zero", "--physics", "wrap"], "'wrap'; allowed: native, warp"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["play", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert words in captured.err
    assert list(tmp_path.iterdir()) == []
