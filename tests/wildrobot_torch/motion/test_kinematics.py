"""Leg kinematics against the engine's, and inverse against forward."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import load_robot
from envs.robot.spec import SIDES
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.rotations import quat_from_euler

MODEL = load_robot()
ROBOT = MODEL.robot
LEGS = legs_of(ROBOT)
TOLERANCE = 6e-4
"""[m]: `LegGeometry` is a planar leg; the model's knee and ankle axes lie 0.3 and 0.6 mm ahead of
the hip's."""


def random_joints(count: int, seed: int = 0) -> np.ndarray:
    """Poses within the stops, hip roll within 0.5 rad, feet sloping less than a right angle."""
    rng = np.random.default_rng(seed)
    low, high = ROBOT.joint_range.double().numpy().T
    joints = low + (high - low) * rng.random((count, 8))
    rolls = [1, 5]
    joints[:, rolls] = np.clip(joints[:, rolls], -0.5, 0.5)
    joints[:, [2, 6]] = np.maximum(joints[:, [2, 6]], 0.02)
    return joints


@pytest.mark.parametrize("side", [0, 1])
def test_inverse_undoes_forward(side: int) -> None:
    joints = random_joints(2000)
    foot = LEGS.forward(joints, side)
    pitch = -np.arcsin(np.clip(foot.rotation[:, 2, 0], -1.0, 1.0))
    # An axis 0.2 rad short of vertical, or pointing back, is a pitch beyond a right angle.
    usual = (foot.rotation[:, 0, 0] > 0.2) & (foot.rotation[:, 2, 2] > 0.2)
    assert usual.mean() > 0.5
    solved, unreachable = LEGS.inverse(side, foot.ankle, pitch)
    assert not unreachable.any()
    assert np.allclose(solved[usual], joints[usual][:, LEGS.index[side]], atol=1e-7)
    again = LEGS.forward(LEGS.assemble(solved, solved), side)
    assert np.abs(again.ankle - foot.ankle).max() < 1e-9


@pytest.mark.parametrize("side", [0, 1])
def test_forward_is_the_engines(side: int) -> None:
    model = MODEL.model
    data = mujoco.MjData(model)
    clip_quat = quat_from_euler(np.full(1, 0.2), np.full(1, -0.1), np.full(1, 0.7))
    for joints in random_joints(20, seed=1):
        data.qpos[:3], data.qpos[3:7], data.qpos[7:] = (0.1, -0.2, 0.5), clip_quat[0], joints
        mujoco.mj_kinematics(model, data)
        frames = (2, 1)
        clip = Clip(
            "pose",
            50.0,
            np.tile([0.1, -0.2, 0.5], frames),
            np.tile(clip_quat, frames),
            np.tile(joints, frames),
            "",
        )
        site = data.site(f"{SIDES[side]}_sole")
        assert np.abs(site.xpos - soles(LEGS, clip)[0, side]).max() < TOLERANCE
        spread = sole_corners(LEGS, clip)[0, side]
        forward = (spread[0] - spread[2]) / np.linalg.norm(spread[0] - spread[2])
        left = (spread[0] - spread[1]) / np.linalg.norm(spread[0] - spread[1])
        assert np.allclose(site.xmat.reshape(3, 3)[:, 0], forward, atol=1e-9)
        assert np.allclose(site.xmat.reshape(3, 3)[:, 1], left, atol=1e-9)


@pytest.mark.parametrize("side", [0, 1])
def test_foot_pitch_is_measured_against_up(side: int) -> None:
    """Under a trunk that leans and rolls, a foot of pitch 0.2 rad slopes 0.2 rad in the world."""
    count = 50
    rng = np.random.default_rng(2)
    quat = quat_from_euler(
        rng.uniform(-0.1, 0.1, count), rng.uniform(-0.2, 0.3, count), rng.uniform(-3, 3, count)
    )
    rotation = np.empty((count, 9))
    for row, q in zip(rotation, quat, strict=True):
        mujoco.mju_quat2Mat(row, q)
    rotation = rotation.reshape(-1, 3, 3)
    ankle = np.tile([0.02, 0.09 if side == 0 else -0.09, -0.38], (count, 1))
    solved, _ = LEGS.inverse(side, ankle, np.full(count, 0.2), rotation[:, 2])
    foot = rotation @ LEGS.forward(LEGS.assemble(solved, solved), side).rotation
    assert np.allclose(foot[:, 2, 0], -np.sin(0.2), atol=1e-9)


def test_legs_are_mirror_images() -> None:
    import torch

    joints = random_joints(100, seed=3)
    mirrored = ROBOT.mirror_joints(torch.from_numpy(joints)).numpy()
    left, right = LEGS.forward(joints, 0), LEGS.forward(mirrored, 1)
    assert np.allclose(left.ankle * [1.0, -1.0, 1.0], right.ankle, atol=1e-12)


def test_a_target_out_of_reach_straightens_the_leg_towards_it() -> None:
    solved, unreachable = LEGS.inverse(0, np.array([[0.1, 0.12, -0.9]]), np.zeros(1))
    assert unreachable.tolist() == [True]
    assert solved[0, 2] == pytest.approx(0.0, abs=1e-3)
    reached = LEGS.forward(LEGS.assemble(solved, solved), 0).ankle[0]
    wanted, got = np.array([0.1, -0.9]) - LEGS.hip[[0, 2]], reached[[0, 2]] - LEGS.hip[[0, 2]]
    assert np.arctan2(*got) == pytest.approx(np.arctan2(*wanted), abs=0.02)


def test_straight_legs_reach_the_spec() -> None:
    foot = LEGS.forward(np.zeros((1, 8)), 0)
    leg = ROBOT.leg
    assert foot.ankle[0, 2] == pytest.approx(leg.hip_pitch_pos[2] - leg.thigh - leg.shank, abs=1e-5)
    assert foot.ankle[0, 1] == pytest.approx(leg.leg_y, abs=1e-9)
