"""A copy of the packaged robot that a test may edit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.robot.description import RobotDescriptionError
from envs.robot.model import ROBOT_DIRECTORY, load_robot

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROBOT_DIRECTORY, tmp_path / "robot"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replaces text in a file of the copy; returns the copy's folder."""

    def replace(file: str, old: str, new: str) -> Path:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}: the test is out of date"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return replace


@pytest.fixture
def refusal() -> Callable[..., str]:
    """The one line with which a folder is refused."""

    def refused(folder: Path, scene: str = "flat") -> str:
        with pytest.raises(RobotDescriptionError) as caught:
            load_robot(folder, scene)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused
