"""`wildrobot clips`: what is told of good files, and that bad ones stop nothing."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from envs.robot.model import load_robot
from tests.wildrobot_torch.motion.read.walkers import (
    DIALECTS,
    body_arrays,
    body_figure,
    walk,
    write_acclaim,
    write_bvh,
)
from wildrobot_torch.cli.main import main
from wildrobot_torch.motion.read.files import save_clip
from wildrobot_torch.motion.synthesis.walk import walking_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One walk in several kinds, clips of the robot, and two files that are none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "deeper").mkdir()
    walked = walk(3.0).every(4)
    write_bvh(folder / "deeper" / "soma.bvh", walked, DIALECTS["soma"])
    write_bvh(folder / "mixed_up.amc", walked, DIALECTS["left-handed"])
    write_acclaim(folder, "01_walk", walked)
    np.savez(folder / "amass.npz", **body_arrays(walk(3.0, figure=body_figure(1.6)).every(4)))
    robot = load_robot().robot
    clip = walking_clip(robot, 0.3, 2.0, 50.0)
    save_clip(clip, folder / "robot.npz", robot)
    save_clip(clip, folder / "robot.csv", robot)
    content = {"fps": 50.0, "root_pos": clip.root_pos, "root_rot": clip.root_quat,
               "dof_pos": clip.joint_pos}  # fmt: skip
    (folder / "robot.pkl").write_bytes(pickle.dumps(content))
    text = (folder / "deeper" / "soma.bvh").read_text()
    (folder / "cut.bvh").write_text(text[: len(text) // 2])
    (folder / "empty.pkl").write_bytes(b"")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_a_folder_is_told_and_bad_files_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clips", str(folder)]) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert "7 file(s) read" in lines[-1] and "2 cannot be used" in lines[-1]
    (cut,) = [line for line in lines if "cut.bvh" in line]
    assert "cannot be used: frame" in cut and "cut short" in cut
    assert any("empty.pkl: cannot be used: the file is empty" in line for line in lines)
    soma = out[out.index("soma.bvh") :]
    assert "BVH, 2.98 s at 60 fps" in soma and "unit centimetre (legs 0.83 m), y up" in soma
    assert "left leg LeftLeg > LeftShin > LeftFoot > LeftToeBase" in soma
    assert "its content is BVH, whatever its name says" in out and "left-handed" in out
    assert "not looked at" not in out and "8, unnamed" in out


def test_the_same_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [folder / "deeper", folder / "01_walk.amc", folder / "amass.npz"]
    assert main(["clips", *map(str, paths), "--json"]) == 0
    bvh, amc, amass = json.loads(capsys.readouterr().out)
    for about in (bvh, amc, amass):
        (segment,) = about["segments"]
        assert segment["kind"] == "walk"
        speed, leg = segment["speed"], about["leg_length"]
        assert segment["froude"] == pytest.approx(speed**2 / (9.81 * leg), abs=2e-3)
    assert bvh["segments"] == amc["segments"]
    assert bvh["leg_length"] == pytest.approx(0.83, abs=1e-3)
    assert amass["leg_length"] == pytest.approx(1.6 * 0.491, abs=1e-3)


def test_robots_clips_have_speed_and_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(folder / f"robot.{ending}") for ending in ("npz", "csv", "pkl")]
    assert main(["clips", *paths, "--json"]) == 0
    npz, table, pickled = json.loads(capsys.readouterr().out)
    for about in (npz, table, pickled):
        speed = float(about["notes"][0].split()[0])
        assert about["fps"] == 50.0 and speed == pytest.approx(0.3, abs=0.01)
    names = list(load_robot().robot.joint_names)
    assert npz["joints"] == table["joints"] == names and pickled["joints"] == 8


def test_nothing_to_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clips", str(tmp_path / "missing")]) == 2
    assert main(["clips", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no such file or folder" in error and "no motion files there" in error
