"""Tests of envs.harness: direction, caps, gate and the short way round."""

from __future__ import annotations

import math

import pytest
import torch

from envs.frames import quat_from_euler
from envs.harness import HarnessConfig, harness_wrench
from envs.physics.base import PhysicsState

UPRIGHT = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


def state(height: float = 0.45, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0,
          qvel: tuple[float, ...] = (0.0,) * 6) -> PhysicsState:  # fmt: skip
    angles = (torch.tensor([a]) for a in (roll, pitch, yaw))
    qpos = torch.cat([torch.tensor([[0.0, 0.0, height]]), quat_from_euler(*angles)], dim=-1)
    return PhysicsState(qpos, torch.tensor([qvel]), torch.zeros(1, 0))


def wrench(at: PhysicsState, height: float = 0.45, **config: float) -> torch.Tensor:
    return harness_wrench(at, torch.tensor([height]), UPRIGHT, HarnessConfig(**config))[0]


def test_spring_and_damper_by_hand() -> None:
    got = wrench(state(height=0.44, qvel=(0, 0, 0.02, 0, 0, 0)))
    # 60 N/m * 0.01 m - 10 N s/m * 0.02 m/s
    assert torch.allclose(got, torch.tensor([0, 0, 0.4, 0, 0, 0]), atol=1e-5)


def test_force_is_capped_both_ways() -> None:
    assert wrench(state(height=0.0))[2].item() == pytest.approx(4.0)
    assert wrench(state(height=1.0))[2].item() == pytest.approx(-4.0)


def test_torque_turns_back_upright_and_is_capped() -> None:
    got = wrench(state(pitch=0.01), torque_cap=8.0)
    assert torch.allclose(got[3:], torch.tensor([0.0, -0.4, 0.0]), atol=1e-3)  # 40 * 0.01
    got = wrench(state(roll=0.3), torque_cap=2.0)
    assert torch.allclose(got[3:], torch.tensor([-2.0, 0.0, 0.0]), atol=1e-3)


def test_torque_is_in_the_world_frame() -> None:
    """A robot that faces +y and leans forward is turned back about the world's x axis."""
    at = state(pitch=0.02, yaw=math.pi / 2)
    target = quat_from_euler(torch.zeros(1), torch.zeros(1), torch.tensor([math.pi / 2]))
    got = harness_wrench(at, torch.tensor([0.45]), target, HarnessConfig(torque_cap=8.0))[0]
    assert torch.allclose(got[3:], torch.tensor([0.8, 0.0, 0.0]), atol=1e-3)


def test_angular_velocity_is_damped_in_the_body() -> None:
    at = state(yaw=math.pi / 2, qvel=(0, 0, 0, 0, 0.3, 0))
    target = quat_from_euler(torch.zeros(1), torch.zeros(1), torch.tensor([math.pi / 2]))
    got = harness_wrench(at, torch.tensor([0.45]), target, HarnessConfig(torque_cap=8.0))[0]
    # -2 N m s/rad * 0.3 rad/s about body y, which is world -x at this heading.
    assert torch.allclose(got[3:], torch.tensor([0.6, 0.0, 0.0]), atol=1e-4)


def test_it_lets_go_of_a_falling_robot() -> None:
    assert wrench(state(height=0.3, pitch=0.43)).abs().max() > 0
    assert not wrench(state(height=0.3, pitch=0.44)).any()
    assert not wrench(state(height=0.3, roll=-0.44)).any()


def test_quaternion_sign_means_nothing() -> None:
    at = state(pitch=0.1)
    flipped = PhysicsState(
        torch.cat([at.qpos[:, :3], -at.qpos[:, 3:]], dim=-1), at.qvel, at.sensordata
    )
    assert torch.allclose(wrench(at), wrench(flipped), atol=1e-6)


def test_refuses_negative_gains() -> None:
    with pytest.raises(ValueError, match="force_cap"):
        HarnessConfig(force_cap=-1.0)
