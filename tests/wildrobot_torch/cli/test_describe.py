"""`wildrobot describe`, from a stranger's MJCF to robot.yaml and its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.envs.robot.strangers import Biped
from wildrobot_torch.cli.main import main


def _file(folder: Path, biped: Biped | None = None) -> Path:
    file = folder / "mine" / "mine.xml"
    file.parent.mkdir()
    file.write_text((biped or Biped(upper=True, flipped=("pitch",))).xml())
    return file


def test_a_draft_and_its_pictures_are_written_beside_the_mjcf(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path)
    assert main(["describe", str(file)]) == 0
    said = capsys.readouterr().out
    assert "sure     root" in said and "guess    servos" in said
    described = yaml.safe_load((file.parent / "robot.yaml").read_text())
    assert described["model"] == "mine.xml"
    with Image.open(file.parent / "robot.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # Home, seen from the front: the left leg, blue, is on the right of the picture.
    tile = pixels[:224, :208]
    blue = np.argwhere(tile[..., 2] > tile[..., 0] + 90)
    orange = np.argwhere(tile[..., 0] > tile[..., 2] + 90)
    # Light falls from the right of the picture, so that the threshold cuts the two differently.
    assert blue[:, 1].mean() - 104 == pytest.approx(104 - orange[:, 1].mean(), abs=3.0)
    assert blue[:, 1].mean() > 106


def test_nothing_is_written_over_and_another_folder_names_the_mjcf_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path)
    own = file.parent / "robot.yaml"
    own.write_text("name: mine\n")
    assert main(["describe", str(file), "--no-pictures"]) == 2
    assert "is not written over" in capsys.readouterr().err
    assert own.read_text() == "name: mine\n"
    other = tmp_path / "other"
    assert main(["describe", str(file), "--no-pictures", "--out", str(other)]) == 0
    described = yaml.safe_load((other / "robot.yaml").read_text())
    assert (other / described["model"]).resolve() == file
    assert list(other.iterdir()) == [other / "robot.yaml"]


def test_what_is_no_biped_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, Biped(legs=4))
    assert main(["describe", str(file)]) == 2
    error = capsys.readouterr().err
    assert "4 limbs reach the ground" in error and error.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]
