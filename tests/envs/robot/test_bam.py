"""BAM parameter files: what is read of them, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from envs.errors import UserError
from envs.robot.bam import PARAMETERS, read_bam
from envs.robot.model import ROBOT_DIRECTORY, load_robot


def written(path: Path, model: str, /, **changes: Any) -> Path:
    """A file whose parameters are 1, 2, 3 ... in the order of `PARAMETERS`; None leaves one out."""
    content = {name: float(place) for place, name in enumerate(PARAMETERS[model], 1)}
    content = content | {"model": model, "actuator": "mx106", "q_offset": 0.1} | changes
    path.write_text(json.dumps({name: v for name, v in content.items() if v is not None}))
    return path


def test_coulomb_and_viscous_friction_alone(tmp_path: Path) -> None:
    servo = read_bam(written(tmp_path / "m1.json", "m1"))
    assert (servo.torque_constant, servo.resistance, servo.armature) == (1.0, 2.0, 3.0)
    assert (servo.coulomb, servo.viscous) == (4.0, 5.0)
    rest = (servo.motor, servo.load, servo.coulomb_rest, servo.motor_rest, servo.motor_square)
    assert rest == (0.0,) * 5


def test_a_model_without_sides_has_the_same_share_on_both(tmp_path: Path) -> None:
    servo = read_bam(written(tmp_path / "m4.json", "m4", load_friction_base=0.3))
    assert (servo.motor, servo.load) == (0.3, 0.3)
    assert servo.motor_rest == servo.load_rest == 10.0


def test_the_largest_model_has_all(tmp_path: Path) -> None:
    """Parameters 6 to 14 in the order of the file."""
    servo = read_bam(written(tmp_path / "m6.json", "m6"))
    assert (servo.coulomb_rest, servo.stribeck_speed, servo.stribeck_exponent) == (6.0, 7.0, 8.0)
    assert (servo.motor, servo.load, servo.motor_rest, servo.load_rest) == (9.0, 10.0, 11.0, 12.0)
    assert (servo.motor_square, servo.load_square) == (13.0, 14.0)


@pytest.mark.parametrize("model", PARAMETERS)
def test_every_parameter_is_needed(model: str, tmp_path: Path) -> None:
    for name in PARAMETERS[model]:
        with pytest.raises(UserError, match=rf"{name} is missing"):
            read_bam(written(tmp_path / "servo.json", model, **{name: None}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kt": math.nan}, "kt is nan"),
        ({"R": math.inf}, "R is inf"),
        ({"kt": 0.0}, "above 0"),
        ({"friction_base": -0.1}, "0 or more"),
        ({"friction_viscous": "much"}, "a finite number"),
        ({"alpha": True}, "a finite number"),
        ({"model": "m7"}, "'m7'; allowed: m1"),
        ({"actuator": "erob80_100"}, "controls its current"),
    ],
)
def test_impossible_files_are_refused_in_one_line(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as refusal:
        read_bam(written(tmp_path / "servo.json", "m2", **changes))
    assert "\n" not in str(refusal.value) and "servo.json" in str(refusal.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_bam(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("kt: 1")
    with pytest.raises(UserError, match="JSON"):
        read_bam(tmp_path / "text.json")


def test_a_robot_names_its_file_and_its_version_covers_the_content(tmp_path: Path) -> None:
    folder = tmp_path / "robot"
    shutil.copytree(ROBOT_DIRECTORY, folder)
    description = yaml.safe_load((folder / "robot.yaml").read_text())
    description["servo"]["model"] = "bam"
    (folder / "robot.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    with pytest.raises(UserError, match=r"without servo\.bam"):
        load_robot(folder)
    description["servo"]["bam"] = "servo.json"
    (folder / "robot.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    with pytest.raises(UserError, match=r"servo\.json: cannot be read"):
        load_robot(folder)
    written(folder / "servo.json", "m1")
    first = load_robot(folder).robot
    assert first.bam is not None and first.bam.resistance == 2.0
    written(folder / "servo.json", "m1", R=2.5)
    assert load_robot(folder).robot.digest != first.digest
