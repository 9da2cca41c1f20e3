"""The tool that measures room for contacts: what it counts is what is needed, and no more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch

from envs.physics.capacities import Capacities, CapacityError, read_capacities
from envs.physics.engines import make_physics
from envs.physics.warp import WarpPhysics
from envs.robot.model import ROBOT_DIRECTORY, RobotModel, load_robot
from tools import measure_capacities as tool
from wildrobot_torch.cli.main import run

SAME = {
    "rows": ("njmax", "NEFC"),
    "contacts": ("nconmax", "NARROWPHASE"),
    "matches": ("contact_sensor_maxmatch", "CONTACT_MATCH"),
}
"""What is counted, the capacity it becomes, and the bit that says it was too small."""


@pytest.fixture(scope="module", autouse=True)
def _no_other_ground() -> Iterator[None]:
    """Robots have no ground but those of their folders: measuring one is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "scene_names", scenes_in)
        yield


def scenes_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(f.stem.removeprefix("scene_") for f in folder.glob("scene_*.xml")))


def flat_robot(folder: Path) -> Path:
    """A copy of the robot without capacities."""
    shutil.copytree(ROBOT_DIRECTORY, folder)
    (folder / "capacities.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A robot whose capacities were measured, with two simulations."""
    folder = flat_robot(tmp_path_factory.mktemp("measured") / "robot")
    assert run(tool.main, [f"--robot={folder}", "--num_envs=2"]) == 0
    return folder


def counts_in(folder: Path) -> dict[str, list[int]]:
    """Numbers in the head of the file, by kind of state: states, rows, ..., matches."""
    lines = (folder / "capacities.yaml").read_text().splitlines()
    table = [line.split()[2:] for line in lines if line.startswith("# flat ")]
    return {kind: [int(number) for number in numbers] for kind, *numbers in table}


def test_it_writes_twice_what_it_saw(measured: Path) -> None:
    written = read_capacities(load_robot(measured))
    counts = counts_in(measured)
    assert list(counts) == ["random", "fallen", "pushed"]
    # Two robots over 2 s and twice 1 s in steps of 2 ms.
    assert [row[0] for row in counts.values()] == [2000, 1000, 1000]
    _, rows, contacts, pairs, matches = (
        max(column) for column in zip(*counts.values(), strict=True)
    )
    assert pairs <= contacts
    for capacity, seen in zip(astuple(written), (rows, contacts, matches), strict=True):
        assert capacity % 8 == 0 and 2 * seen <= capacity < 2 * seen + 8


def test_standing_needs_what_the_floor_gives(measured: Path) -> None:
    """Four corners of each of four plates with four rows each, and eight rows of joint friction."""
    _, rows, contacts, pairs, matches = counts_in(measured)["pushed"]
    assert rows >= 4 * 16 + 8 and contacts >= 16 and pairs >= 4 and matches == 4


def test_what_does_not_fit_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(tool, "ROOM", Capacities(32, 4, 1))
    folder = flat_robot(tmp_path / "robot")
    assert run(tool.main, [f"--robot={folder}", "--num_envs=2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: scene flat ") and error.count("\n") == 1
    assert "NEFC" in error and "NARROWPHASE" in error
    assert not (folder / "capacities.yaml").exists()


def stand(loaded: RobotModel, given: Capacities) -> WarpPhysics:
    """One robot that has stood for 20 ms."""
    engine = WarpPhysics(loaded.model, 1, given, "cpu")
    robot = loaded.robot
    still = torch.zeros(1, loaded.model.nv)
    home, ctrl = robot.home_qpos[None], robot.joint_home[None]
    engine.reset(torch.ones(1, dtype=torch.bool), home, still, ctrl)
    engine.step(ctrl, None, 10)
    return engine


@pytest.mark.parametrize("scene", ["flat", "rough"])
def test_counts_are_exactly_what_is_needed(scene: str) -> None:
    loaded = load_robot(scene=scene)
    counts = stand(loaded, Capacities(256, 64, 64)).contact_counts()
    exact = Capacities(int(counts.rows), int(counts.contacts), int(counts.matches))
    assert stand(loaded, exact).capacity_overflow() == ()
    for capacity, bit in SAME.values():
        tight = replace(exact, **{capacity: getattr(exact, capacity) - 1})
        assert bit in stand(loaded, tight).capacity_overflow()
    tight = replace(exact, nconmax=int(counts.pairs) - 1)
    assert "BROADPHASE" in stand(loaded, tight).capacity_overflow()


def motions_of(loaded: RobotModel, num: int) -> tool.Motions:
    backend = WarpPhysics(loaded.model, num, Capacities(256, 64, 64), "cpu")
    generator = torch.Generator().manual_seed(0)
    return tool.Motions(loaded, backend, generator)


def test_robots_begin_above_the_ground_and_land(robot_model: RobotModel) -> None:
    motions = motions_of(robot_model, 8)
    robot, state = robot_model.robot, motions.backend.state()
    pushed = motions.pushed()
    ctrl, _ = next(pushed)
    assert int(motions.backend.contact_counts().contacts.max()) == 0
    assert state.qpos[:, :2].abs().max() > 1.0
    motions.backend.step(ctrl, None, 100)  # 5 cm take 0.1 s
    assert int(motions.backend.contact_counts().contacts.min()) >= 4
    next(motions.random())
    assert int(motions.backend.contact_counts().contacts.max()) == 0
    low, high = robot.joint_range.unbind(-1)
    joints = state.qpos[:, robot.joint_qpos_adr]
    assert (joints < low).any() and (joints > high).any()


def test_a_robot_that_was_changed_is_refused(measured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "robot"
    shutil.copytree(measured, folder)
    make_physics("warp-cpu", load_robot(folder), 1, None)
    text = (folder / "wildrobot.xml").read_text()
    assert text.count('kp="21.1"') == 1
    (folder / "wildrobot.xml").write_text(text.replace('kp="21.1"', 'kp="21.2"'))
    changed = load_robot(folder)
    with pytest.raises(CapacityError, match=r"measure_capacities\.py --robot") as refusal:
        make_physics("warp-cpu", changed, 1, None)
    assert changed.untimed_digest in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--margin=0.9"], "--margin: 0.9; allowed: 1 to 100"),
        (["--margin=nan"], "--margin: nan"),
        (["--num_envs=0"], "--num_envs: 0; allowed"),
        (["--physics=native"], "--physics: invalid choice: 'native'"),
        (["--physics=warp"], "no CUDA device"),
        (["--robot=nowhere"], "--robot is nowhere"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = flat_robot(tmp_path / "robot")
    files = sorted(path.name for path in folder.iterdir())
    assert run(tool.main, [f"--robot={folder}", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert complaint in error
    assert sorted(path.name for path in folder.iterdir()) == files


def test_scenes_of_different_robots_are_refused(tmp_path: Path, capsys) -> None:
    folder = flat_robot(tmp_path / "robot")
    text = (folder / "scene_flat.xml").read_text()
    stiffer = text.replace("<worldbody>", '<option impratio="2"/><worldbody>', 1)
    (folder / "scene_stiff.xml").write_text(stiffer)
    assert run(tool.main, [f"--robot={folder}"]) == 2
    assert "flat and stiff" in capsys.readouterr().err
