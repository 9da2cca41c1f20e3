"""Tests of envs.physics.native beyond the contract: threads, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import pytest
import torch

from envs.physics.native import NativePhysics, cpu_quota, physical_cores
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


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        # Version 2: in a container the process sees its own group as the root.
        ("0::/", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),
        # The limit of a parent holds for its children, the smallest of all counts.
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "150000 100000"}, 0.5),
        ("0::/a", {"b/cpu.max": "50000 100000"}, math.inf),
        # Version 1
        (
            "3:memory:/\n2:cpu,cpuacct:/a\n0::/",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)
def test_cpus_a_control_group_grants(
    groups: str, files: dict[str, str], cpus: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cpu_quota(groups + "\n", tmp_path) == cpus
