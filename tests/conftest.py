"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import RobotSpec

CMU = Path(__file__).parents[1] / "../shared/motions/cmu"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def robot_model() -> RobotModel:
    """The packaged robot in its flat scene."""
    return load_robot()


@pytest.fixture(scope="session")
def robot(robot_model: RobotModel) -> RobotSpec:
    """The packaged robot."""
    return robot_model.robot


@pytest.fixture(scope="session")
def cmu_folder() -> Path:
    """Folder of the CMU clips; skips where they are not."""
    if not CMU.is_dir():
        pytest.skip(f"no CMU clips at {CMU}")
    return CMU
