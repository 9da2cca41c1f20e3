"""envs.robot.examination: strangers from their MJCF to a verdict, and what it says of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from envs.robot.examination import Check, examine_robot, mirror_miss, stand
from envs.robot.inference.draft import draft_robot
from envs.robot.inference.writing import robot_yaml
from envs.robot.model import RobotModel, load_robot
from tests.envs.robot.strangers import Biped


def _load(
    folder: Path, biped: Biped, edit: tuple[str, str] = ("", ""), **changes: object
) -> RobotModel:
    """The robot that `describe` makes of a biped, with text of its MJCF or keys of it changed."""
    file = folder / "mine.xml"
    text = biped.xml()
    assert edit[0] in text
    file.write_text(text.replace(*edit))
    described = yaml.safe_load(robot_yaml(draft_robot(file), folder))
    (folder / "robot.yaml").write_text(yaml.safe_dump(described | changes, sort_keys=False))
    return load_robot(folder)


def _checks(loaded: RobotModel) -> dict[str, Check]:
    return {check.what: check for check in examine_robot(loaded)}


@pytest.mark.parametrize(
    "biped",
    [
        Biped(upper=True, flipped=("pitch", "ankle_roll")),
        Biped(
            axes=np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), actuator="motor"
        ),
    ],
    ids=["arms", "motors, y forward"],
)
def test_a_stranger_stands_by_its_draft_alone(biped: Biped, tmp_path: Path) -> None:
    loaded = _load(tmp_path, biped)
    checks = _checks(loaded)
    assert [check.what for check in checks.values() if check.passed is False] == []
    assert checks["stands"].passed and checks["mirror"].passed and checks["feet carry"].passed
    support = stand(loaded, 2.0).support
    weight = float(loaded.model.body_mass.sum()) * 9.81
    assert support.sum() == pytest.approx(weight, rel=1e-2)
    assert support[0] == pytest.approx(support[1], rel=0.05)
    # Froude number 0.25: half of sqrt(g leg); hip to sole is 0.39 m.
    assert f"{0.5 * np.sqrt(9.81 * 0.39):.2f} m/s" in checks["speed"].value


def test_a_home_beside_the_feet_is_said_with_where_it_falls(tmp_path: Path) -> None:
    # Straight legs ahead by 0.5 rad, soles level: the trunk is 0.2 m behind the feet.
    ahead = {f"{side}_{joint}": a for side in ("left", "right") for joint, a in
             (("pitch", -0.5), ("ankle_pitch", 0.5))}  # fmt: skip
    checks = _checks(_load(tmp_path, Biped(), home=ahead))
    assert checks["stands"].passed is False
    assert "backwards" in checks["stands"].value
    assert checks["torque"].passed is None


def test_soft_ankles_are_no_fault_of_the_description(tmp_path: Path) -> None:
    biped = Biped()
    law = 'kp="60" kv="2"'
    loaded = _load(tmp_path, biped, (law, 'kp="4" kv=".2"'))
    checks = _checks(loaded)
    rise = 0.4  # of the centre of mass, about; 4 N m/rad a side hold 8 / (55 * 0.4)
    weight = float(loaded.model.body_mass.sum()) * 9.81
    assert 8.0 / (weight * rise) < 0.6
    assert checks["stands"].passed is None and "policy must balance" in checks["stands"].value
    assert checks["stiffness"].passed is None


def test_a_leg_that_is_off_is_measured(tmp_path: Path) -> None:
    body = 'name="right_ankle_roll_link" pos="0 0 0"'
    loaded = _load(tmp_path, Biped(), (body, 'name="right_ankle_roll_link" pos="0 -0.005 0"'))
    gap, _, _ = mirror_miss(loaded)
    assert gap == pytest.approx(0.005, abs=1e-3)
    check = _checks(loaded)["mirror"]
    assert check.passed is None and "5.0 mm" in check.value
