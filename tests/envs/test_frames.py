"""Tests of envs.frames: rotation axioms, hand-worked angles, projected gravity."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
import torch

from envs import frames


def random_quats(num: int) -> torch.Tensor:
    quat = torch.randn(num, 4, dtype=torch.float64)
    return quat / quat.norm(dim=-1, keepdim=True)


def test_rotation_agrees_with_mujoco() -> None:
    quats, vecs = random_quats(20), torch.randn(20, 3, dtype=torch.float64)
    for quat, vec in zip(quats, vecs, strict=True):
        expected = np.zeros(3)
        mujoco.mju_rotVecQuat(expected, vec.numpy(), quat.numpy())
        assert np.allclose(frames.quat_rotate(quat, vec), expected, atol=1e-12)


def test_product_agrees_with_mujoco() -> None:
    a, b = random_quats(2)
    expected = np.zeros(4)
    mujoco.mju_mulQuat(expected, a.numpy(), b.numpy())
    assert np.allclose(frames.quat_multiply(a, b), expected, atol=1e-12)


def test_inverse_rotation_undoes_rotation() -> None:
    quat, vec = random_quats(50), torch.randn(50, 3, dtype=torch.float64)
    back = frames.quat_rotate_inverse(quat, frames.quat_rotate(quat, vec))
    assert torch.allclose(back, vec, atol=1e-12)


def test_heading_frame_undoes_yaw_alone() -> None:
    zero = torch.zeros(())
    quat = frames.quat_from_euler(zero, zero, torch.tensor(math.pi / 2))
    # Facing +y: the world's +y is ahead, the world's +x is to the right.
    ahead = frames.world_to_heading(torch.tensor([0.0, 1.0, 0.0]), quat)
    right = frames.world_to_heading(torch.tensor([1.0, 0.0, 0.0]), quat)
    assert torch.allclose(ahead, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)
    assert torch.allclose(right, torch.tensor([0.0, -1.0, 0.0]), atol=1e-6)


def test_heading_and_back() -> None:
    quat, vec = random_quats(50), torch.randn(50, 3, dtype=torch.float64)
    back = frames.heading_to_world(frames.world_to_heading(vec, quat), quat)
    assert torch.allclose(back, vec, atol=1e-12)


def test_quaternion_sign_means_nothing() -> None:
    quat, vec = random_quats(50), torch.randn(50, 3, dtype=torch.float64)
    assert torch.allclose(frames.yaw(quat), frames.yaw(-quat))
    assert torch.allclose(frames.projected_gravity(quat), frames.projected_gravity(-quat))
    for a, b in zip(frames.roll_pitch(quat), frames.roll_pitch(-quat), strict=True):
        assert torch.allclose(a, b)
    assert torch.allclose(frames.world_to_heading(vec, quat), frames.world_to_heading(vec, -quat))


@pytest.mark.parametrize("yaw_deg", [0, 90, 180, -60])
def test_gravity_leans_forward_at_any_heading(yaw_deg: float) -> None:
    """Pitched 30 degrees forward, gravity points ahead of the feet: (sin 30, 0, -cos 30)."""
    pitch, yaw = torch.tensor(math.radians(30)), torch.tensor(math.radians(yaw_deg))
    quat = frames.quat_from_euler(torch.zeros(()), pitch, yaw)
    expected = torch.tensor([0.5, 0.0, -0.8660254])
    assert torch.allclose(frames.projected_gravity(quat), expected, atol=1e-6)


def test_gravity_is_the_inverse_rotation_of_down() -> None:
    quat = random_quats(50)
    down = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand(50, 3)
    expected = frames.quat_rotate_inverse(quat, down)
    assert torch.allclose(frames.projected_gravity(quat), expected, atol=1e-12)


def test_euler_angles_come_back() -> None:
    roll, pitch, yaw = torch.tensor(0.3), torch.tensor(-0.7), torch.tensor(2.5)
    quat = frames.quat_from_euler(roll, pitch, yaw)
    got_roll, got_pitch = frames.roll_pitch(quat)
    assert torch.allclose(torch.stack([got_roll, got_pitch, frames.yaw(quat)]),
                          torch.stack([roll, pitch, yaw]), atol=1e-6)  # fmt: skip


def test_wrapped_angle_is_the_same_direction() -> None:
    angle = torch.tensor([3 * math.pi / 2, -3 * math.pi / 2, 0.25, 7.0])
    expected = torch.tensor([-math.pi / 2, math.pi / 2, 0.25, 7.0 - 2 * math.pi])
    assert torch.allclose(frames.wrap_angle(angle), expected, atol=1e-6)
