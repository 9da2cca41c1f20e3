from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envs.physics.capacities import Capacities, CapacityError, capacities_text, read_capacities
from envs.robot.model import RobotModel, load_robot, scene_names

SOME = Capacities(njmax=96, nconmax=24, contact_sensor_maxmatch=8)


@pytest.fixture
def loaded(robot_model: RobotModel, tmp_path: Path) -> RobotModel:
    """A robot of version abc in a folder without capacities."""
    return replace(robot_model, directory=tmp_path, untimed_digest="abc")


def test_what_is_written_is_read(loaded: RobotModel) -> None:
    text = capacities_text("abc", {"flat": SOME}, "measured\nby hand")
    assert text.startswith("# measured\n# by hand\n")
    (loaded.directory / "capacities.yaml").write_text(text)
    assert read_capacities(loaded) == SOME


def test_the_packaged_robot_has_them_for_every_scene_and_physics_step() -> None:
    for scene in scene_names():
        capacities = read_capacities(load_robot(scene=scene))
        # 16 contacts of two feet flat on the floor, four rows each, and friction of eight joints.
        assert capacities.njmax >= 16 * 4 + 8
        assert capacities.nconmax >= 16
        assert read_capacities(load_robot(scene=scene, sim_dt=0.004)) == capacities


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("robot_digest: abc\nscenes: {}\n", "no scene 'flat'"),
        ("robot_digest: old\nscenes: {}\n", "robot old, the robot now is abc"),
        ("robot_digest: [", "cannot be read"),
        ("robot_digest: abc\nrobot_digest: abc\nscenes: {}\n", "given twice"),
        ("scenes: {}\n", "'robot_digest' is missing"),
        (
            "robot_digest: abc\n"
            "scenes: {flat: {njmax: 0, nconmax: 1, contact_sensor_maxmatch: 1}}\n",
            "njmax",
        ),
        ("robot_digest: abc\nscenes: {flat: {njmax: 4}}\n", "'nconmax' is missing"),
        ("robot_digest: abc\nscenes: {flat: 4}\n", "flat is 4"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(
    content: str | None, message: str, loaded: RobotModel
) -> None:
    if content is not None:
        (loaded.directory / "capacities.yaml").write_text(content)
    with pytest.raises(CapacityError, match="measure_capacities") as raised:
        read_capacities(loaded)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
