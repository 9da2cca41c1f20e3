from __future__ import annotations

from pathlib import Path

import pytest

from envs.physics.capacities import (
    Capacities,
    CapacityError,
    read_capacities,
    write_capacities,
)
from envs.robot.model import ROBOT_DIRECTORY, RobotModel, scene_names

SOME = Capacities(njmax=96, nconmax=24, contact_sensor_maxmatch=8)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_capacities(tmp_path, "abc", {"flat": SOME}, "measured\nby hand")
    assert read_capacities(tmp_path, "flat", "abc") == SOME
    assert path.read_text().startswith("# measured\n# by hand\n")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_packaged_robot_has_them_for_every_scene(robot_model: RobotModel) -> None:
    for scene in scene_names():
        capacities = read_capacities(ROBOT_DIRECTORY, scene, robot_model.robot.digest)
        # 16 contacts of two feet flat on the floor, four rows each, and friction of eight joints.
        assert capacities.njmax >= 16 * 4 + 8
        assert capacities.nconmax >= 16


@pytest.mark.parametrize(
    ("content", "scene", "digest", "message"),
    [
        (None, "flat", "abc", "is missing"),
        ("robot_digest: abc\nscenes: {}\n", "flat", "abc", "no scene 'flat'"),
        ("robot_digest: abc\nscenes: {}\n", "flat", "other", "robot abc, the robot now is other"),
        ("robot_digest: [", "flat", "abc", "cannot be read"),
        ("scenes: {}\n", "flat", "abc", "cannot be read"),
        (
            "robot_digest: abc\nscenes: {flat: {njmax: 0, nconmax: 1, "
            "contact_sensor_maxmatch: 1}}\n",
            "flat",
            "abc",
            "njmax is 0",
        ),
        ("robot_digest: abc\nscenes: {flat: {njmax: 4}}\n", "flat", "abc", "nconmax"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(
    content: str | None, scene: str, digest: str, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "capacities.yaml").write_text(content)
    with pytest.raises(CapacityError, match="measure_capacities") as raised:
        read_capacities(tmp_path, scene, digest)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
