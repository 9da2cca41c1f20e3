"""A robot with a BAM servo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from envs.robot.model import ROBOT_DIRECTORY, load_robot

PARAMETERS = {
    "model": "m6",
    "actuator": "invented",
    "kt": 1.9,
    "R": 4.8,
    "armature": 0.025,
    "friction_base": 0.05,
    "friction_viscous": 0.03,
    "friction_stribeck": 0.05,
    "dtheta_stribeck": 0.3,
    "alpha": 1.3,
    "load_friction_motor": 0.1,
    "load_friction_external": 0.05,
    "load_friction_motor_stribeck": 0.1,
    "load_friction_external_stribeck": 0.05,
    "load_friction_motor_quad": 0.01,
    "load_friction_external_quad": 0.01,
}
"""Near the packaged robot's servo: 1.9 * 11.1 / 4.8 = 4.39 N m at rest, 5.84 rad/s without load."""


def bam_robot_in(folder: Path, **changes: float) -> Path:
    """A copy of the packaged robot in `folder` with these parameters, but for the changes."""
    shutil.copytree(ROBOT_DIRECTORY, folder)
    (folder / "servo.json").write_text(json.dumps(PARAMETERS | changes))
    path = folder / "robot.yaml"
    content = yaml.safe_load(path.read_text())
    content["servo"] |= {"bam": "servo.json"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    capacities = yaml.safe_load((folder / "capacities.yaml").read_text())
    capacities["robot_digest"] = load_robot(folder).untimed_digest
    (folder / "capacities.yaml").write_text(yaml.safe_dump(capacities))
    return folder


@pytest.fixture(scope="session")
def bam_robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the packaged robot with a BAM file; its servo model is still envelope."""
    return bam_robot_in(tmp_path_factory.mktemp("robots") / "bam")


@pytest.fixture(scope="session")
def stiff_robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 3 N m of dry friction."""
    return bam_robot_in(tmp_path_factory.mktemp("robots") / "stiff", friction_base=3.0)
