"""Tests of envs.physics.native beyond the contract: threads, refusals."""

from __future__ import annotations

import mujoco
import pytest
import torch

from envs.physics.native import NativePhysics, physical_cores
from envs.robot.model import RobotModel


def test_threads_do_not_change_the_result(robot_model: RobotModel) -> None:
    ends = []
    for threads in (1, 2):
        engine = NativePhysics(robot_model.model, 8, threads)
        qpos = robot_model.robot.home_qpos.repeat(8, 1)
        qvel = torch.linspace(0, 1, 8)[:, None] * torch.ones(8, robot_model.model.nv)
        ctrl = robot_model.robot.joint_home.repeat(8, 1)
        engine.reset(torch.ones(8, dtype=torch.bool), qpos, qvel, ctrl)
        for _ in range(10):
            engine.step(ctrl, None, 10)
        ends.append(engine.state())
    assert torch.equal(ends[0].qpos, ends[1].qpos)
    assert torch.equal(ends[0].sensordata, ends[1].sensordata)


@pytest.mark.parametrize(("num_envs", "threads"), [(0, None), (4, 0)])
def test_refuses_counts_below_one(
    robot_model: RobotModel, num_envs: int, threads: int | None
) -> None:
    with pytest.raises(ValueError, match="allowed: 1 or more"):
        NativePhysics(robot_model.model, num_envs, threads)


def test_refuses_a_model_that_hides_bad_states() -> None:
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
    with pytest.raises(ValueError, match="autoreset"):
        NativePhysics(model, 1)


def test_resume_with_another_number_is_refused(robot_model: RobotModel) -> None:
    saved = NativePhysics(robot_model.model, 2).snapshot()
    with pytest.raises(ValueError, match="same num_envs"):
        NativePhysics(robot_model.model, 3).restore(saved)


def test_at_least_one_core() -> None:
    assert physical_cores() >= 1
