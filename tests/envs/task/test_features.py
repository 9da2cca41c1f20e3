"""Tests of envs.task.features: invariances, and features of a mirrored robot are mirrored."""

from __future__ import annotations

import numpy as np
import torch

from envs.frames import quat_from_euler, quat_multiply, quat_rotate
from envs.physics.base import PhysicsState
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel
from envs.task.features import amp_features, amp_layout

NUM = 16


def random_states(robot_model: RobotModel) -> tuple[torch.Tensor, torch.Tensor]:
    robot = robot_model.robot
    qpos = robot.home_qpos.repeat(NUM, 1)
    qpos[:, :3] = torch.randn(NUM, 3)
    angles = 0.4 * torch.randn(3, NUM)
    qpos[:, 3:7] = quat_from_euler(*angles)
    low, high = robot.joint_range.T
    qpos[:, robot.joint_qpos_adr] = low + torch.rand(NUM, 8) * (high - low)
    return qpos, torch.randn(NUM, robot_model.model.nv)


def simulate(robot_model: RobotModel, qpos: torch.Tensor, qvel: torch.Tensor) -> PhysicsState:
    engine = NativePhysics(robot_model.model, NUM)
    ctrl = robot_model.robot.joint_home.repeat(NUM, 1)
    engine.reset(torch.ones(NUM, dtype=torch.bool), qpos, qvel, ctrl)
    return engine.state()


def test_layout_sizes(robot_model: RobotModel) -> None:
    layout = amp_layout(robot_model.robot)
    assert layout.size == 34
    # What a discriminator sees by default comes first; contacts and height are switched on.
    assert [f.name for f in layout.fields][-2:] == ["contact", "height"]


def test_turning_and_moving_the_world_changes_nothing(robot_model: RobotModel) -> None:
    qpos, qvel = random_states(robot_model)
    zero = torch.zeros(NUM)
    turn = quat_from_euler(zero, zero, torch.linspace(-3, 3, NUM))
    turned_qpos, turned_qvel = qpos.clone(), qvel.clone()
    turned_qpos[:, :3] = quat_rotate(turn, qpos[:, :3]) + torch.tensor([1.0, -2.0, 0.0])
    turned_qpos[:, 3:7] = quat_multiply(turn, qpos[:, 3:7])
    turned_qvel[:, :3] = quat_rotate(turn, qvel[:, :3])
    robot = robot_model.robot
    a = amp_features(simulate(robot_model, qpos, qvel), robot)
    b = amp_features(simulate(robot_model, turned_qpos, turned_qvel), robot)
    assert torch.allclose(a, b, atol=1e-4)


def test_quaternion_sign_changes_nothing(robot_model: RobotModel) -> None:
    qpos, qvel = random_states(robot_model)
    flipped = qpos.clone()
    flipped[:, 3:7] *= -1
    robot = robot_model.robot
    a = amp_features(simulate(robot_model, qpos, qvel), robot)
    b = amp_features(simulate(robot_model, flipped, qvel), robot)
    assert torch.allclose(a, b, atol=1e-5)


def test_mirrored_state_has_mirrored_features(robot_model: RobotModel) -> None:
    robot = robot_model.robot
    qpos, qvel = random_states(robot_model)
    m_qpos, m_qvel = qpos.clone(), qvel.clone()
    m_qpos[:, 1] *= -1
    m_qpos[:, 4:7] *= torch.tensor([-1.0, 1.0, -1.0])  # roll and yaw change sign
    m_qvel[:, :6] *= torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    m_qpos[:, robot.joint_qpos_adr] = robot.mirror_joints(qpos[:, robot.joint_qpos_adr])
    m_qvel[:, robot.joint_qvel_adr] = robot.mirror_joints(qvel[:, robot.joint_qvel_adr])
    layout = amp_layout(robot)
    a = layout.unpack(amp_features(simulate(robot_model, qpos, qvel), robot))
    b = layout.unpack(amp_features(simulate(robot_model, m_qpos, m_qvel), robot))
    flip_y, flip_xz = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([-1.0, 1.0, -1.0])
    assert torch.allclose(b["gravity"], a["gravity"] * flip_y, atol=1e-5)
    assert torch.allclose(b["linvel"], a["linvel"] * flip_y, atol=1e-5)
    assert torch.allclose(b["angvel"], a["angvel"] * flip_xz, atol=1e-5)
    assert torch.allclose(b["joint_pos"], robot.mirror_joints(a["joint_pos"]), atol=1e-5)
    left, right = a["sole_pos"][:, :3], a["sole_pos"][:, 3:]
    swapped = torch.cat([right * flip_y, left * flip_y], dim=-1)
    assert torch.allclose(b["sole_pos"], swapped, atol=1e-4)
    assert torch.equal(b["contact"], a["contact"].flip(-1))
    assert torch.equal(b["height"], a["height"])


def test_no_feature_is_dead(robot_model: RobotModel) -> None:
    features = amp_features(simulate(robot_model, *random_states(robot_model)), robot_model.robot)
    assert features.std(0).min() > 1e-3


def test_contacts_and_height_of_known_states(robot_model: RobotModel) -> None:
    robot = robot_model.robot
    qpos, qvel = robot.home_qpos.repeat(NUM, 1), torch.zeros(NUM, robot_model.model.nv)
    qpos[1, 2] += 0.1  # in the air
    qpos[2, 3:7] = quat_from_euler(*torch.tensor([[0.12], [0.0], [0.0]]))[0]  # on the right foot
    features = amp_layout(robot).unpack(amp_features(simulate(robot_model, qpos, qvel), robot))
    assert features["contact"][:3].tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    home = float(robot.home_qpos[2])
    torch.testing.assert_close(features["height"][:2, 0], torch.tensor([home, home + 0.1]))


def test_features_do_not_alias_the_state(robot_model: RobotModel) -> None:
    state = simulate(robot_model, *random_states(robot_model))
    features = amp_features(state, robot_model.robot)
    kept = features.clone()
    for tensor in (state.qpos, state.qvel, state.sensordata):
        tensor.fill_(np.pi)
    assert torch.equal(features, kept)
