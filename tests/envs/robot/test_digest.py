"""The digest changes with all that changes motion or readings, and with nothing else."""

from __future__ import annotations

import copy
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from envs.robot.consistency import check_consistency
from envs.robot.description import RobotDescriptionError, read_description
from envs.robot.digest import robot_digests
from envs.robot.model import ROBOT_DIRECTORY, RobotModel, load_robot

COMPUTED = {"body_subtreemass", "body_invweight0", "dof_invweight0"}
"""Fields that the compiler computes from others, so nothing sets them alone."""
UNUSED = {"key_qvel"}
"""The test starts from it, the environment does not."""


def motion(model: mujoco.MjModel) -> np.ndarray:
    """0.3 s from home under pushes with targets that jump: states and readings (steps, values)."""
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    rows = []
    for step in range(150):
        if step % 10 == 0:
            data.ctrl[:] = rng.uniform(-1.0, 1.0, model.nu)
            data.xfrc_applied[1, :3] = rng.normal(0, 10, 3)
        mujoco.mj_step(model, data)
        rows.append(np.concatenate([data.qpos, data.sensordata]))
    return np.array(rows)


def test_every_field_that_changes_the_motion_changes_the_digest(robot_model: RobotModel) -> None:
    """Each real or boolean field of the model in turn, of the robot and not of the scene."""
    model, description = robot_model.model, read_description(ROBOT_DIRECTORY / "robot.yaml")
    usual, checked = motion(model), []
    for name in set(dir(model)) - COMPUTED - UNUSED:
        values = getattr(model, name, None)
        if not isinstance(values, np.ndarray) or not values.size or values.dtype.kind not in "fb":
            continue
        changed = copy.copy(model)
        rows = {"geom": model.geom_bodyid != 0, "body": np.arange(model.nbody) > 0}
        rows = rows.get(name.split("_")[0], slice(None))
        field = getattr(changed, name)
        field[rows] = ~field[rows] if field.dtype.kind == "b" else field[rows] * 1.01 + 0.01
        if np.array_equal(motion(changed), usual, equal_nan=True):
            continue
        checked.append(name)
        if robot_digests(description, changed)[0] == robot_model.robot.digest:
            with pytest.raises(RobotDescriptionError):
                check_consistency(description, changed)
    assert {"body_mass", "geom_friction", "actuator_gear", "site_pos", "qpos0"} <= set(checked)


def test_every_option_changes_the_digest(robot_model: RobotModel) -> None:
    description = read_description(ROBOT_DIRECTORY / "robot.yaml")
    digests = {robot_model.robot.digest}
    names = [name for name in dir(robot_model.model.opt) if not name.startswith("_")]
    for name in names:
        changed = copy.copy(robot_model.model)
        value = getattr(changed.opt, name)
        setattr(changed.opt, name, value + 1)
        digests.add(robot_digests(description, changed)[0])
    assert len(digests) == len(names) + 1
    assert {"enableflags", "disableflags", "ls_tolerance", "noslip_iterations"} <= set(names)
    for bit in range(int(mujoco.mjtDisableBit.mjNDISABLE)):
        changed = copy.copy(robot_model.model)
        changed.opt.disableflags ^= 1 << bit
        assert robot_digests(description, changed)[0] != robot_model.robot.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<keyframe>", '<contact><pair geom1="left_toe" geom2="right_toe"/></contact><keyframe>'),
        ("<keyframe>", '<contact><exclude body1="waist" body2="left_foot"/></contact><keyframe>'),
        ('condim="3"', 'condim="4"'),
        ('<joint type="hinge"', '<joint type="hinge" springref="0.1" stiffness="1"'),
        ('inheritrange="1"', 'ctrllimited="false"'),
        ('fullinertia="6.028005e-03', 'fullinertia="6.028006e-03'),
        ('frictionloss="0.022275"', 'frictionloss="0.0223"'),
        ("0 0.468357 ", "0 0.468350 "),
    ],
)
def test_edits_of_the_mjcf_that_change_the_digest(
    robot_model: RobotModel, edit, old: str, new: str
) -> None:
    assert load_robot(edit("wildrobot.xml", old, new)).robot.digest != robot_model.robot.digest


def test_contents_of_pairs_and_excludes_count(edit, folder) -> None:
    digests = set()
    before = "<keyframe>"
    for contents in (
        '<pair geom1="left_toe" geom2="right_toe"/><exclude body1="waist" body2="left_foot"/>',
        '<pair geom1="left_toe" geom2="right_heel"/><exclude body1="waist" body2="left_foot"/>',
        '<pair geom1="left_toe" geom2="right_toe"/><exclude body1="waist" body2="right_foot"/>',
        '<pair geom1="left_toe" geom2="right_toe" margin="0.001"/>'
        '<exclude body1="waist" body2="left_foot"/>',
    ):
        after = f"<contact>{contents}</contact><keyframe>"
        digests.add(load_robot(edit("wildrobot.xml", before, after)).robot.digest)
        before = after
    assert len(digests) == 4


def test_the_description_counts(robot_model: RobotModel, edit) -> None:
    changed = load_robot(edit("robot.yaml", "max_velocity: 10.0", "max_velocity: 9.0"))
    assert changed.robot.digest != robot_model.robot.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("wildrobot.xml", 'name="orange" rgba="0.98', 'name="orange" rgba="0.10'),
        ("wildrobot.xml", '<mesh name="shank" vertex="', '<mesh name="shank" vertex="0 0 0.01 '),
        ("wildrobot.xml", 'name="front" mode="trackcom" pos="1.3', 'name="front" pos="9'),
        ("wildrobot.xml", '<key name="squat"', '<key name="crouch"'),
        ("scene_flat.xml", 'friction="1 ', 'friction="0.5 '),
        ("robot.yaml", "name: wildrobot", "name: wildrobot_two"),
    ],
)
def test_looks_and_scene_do_not_count(
    robot_model: RobotModel, edit, file: str, old: str, new: str
) -> None:
    assert load_robot(edit(file, old, new)).robot.digest == robot_model.robot.digest


def test_the_step_of_the_mjcf_counts_and_that_of_a_simulation_does_not(
    robot_model: RobotModel, edit, folder
) -> None:
    coarse = load_robot(sim_dt=0.004)
    assert coarse.model.opt.timestep == 0.004
    assert coarse.robot.digest == robot_model.robot.digest
    edit("wildrobot.xml", 'timestep="0.002"', 'timestep="0.004"')
    other = load_robot(folder, sim_dt=0.002)
    assert other.robot.digest != robot_model.robot.digest
    assert other.untimed_digest == robot_model.untimed_digest


def test_digest_is_the_same_in_another_process(robot_model: RobotModel) -> None:
    code = "from envs.robot.model import load_robot; print(load_robot().robot.digest)"
    root = ROBOT_DIRECTORY.parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == robot_model.robot.digest
    assert len(robot_model.robot.digest) == 16 and int(robot_model.robot.digest, 16) >= 0
