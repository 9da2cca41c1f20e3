"""Tests of wildrobot_torch.reference.tracking: clip frames, observation, reward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.robot import RobotSpec
from wildrobot_torch.reference.tracker import tracking_env
from wildrobot_torch.reference.tracking import (
    PREVIEW,
    ClipStates,
    TrackingConfig,
    tracking_layout,
    tracking_observation,
    tracking_reward,
)


@pytest.fixture(scope="module")
def env() -> LocomotionEnv:
    """One robot standing at home."""
    env = tracking_env(1, push_force=0.0)
    env.reset()
    return env


@pytest.fixture
def home(env: LocomotionEnv) -> tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measurements, root position, qpos and qvel of the robot as it is."""
    state = env.backend.state()
    balanced = torch.full((1, 2), env.robot.weight / 2)
    return (
        replace(env.measure(), foot_force=balanced),
        state.qpos[:, :3],
        state.qpos.clone(),
        state.qvel.clone(),
    )


def two_clips() -> ClipStates:
    """Clips of 3 and 2 frames; qpos holds the frame's number in all places."""
    frames = torch.arange(5.0)[:, None]
    qpos, qvel = frames.expand(5, 15), frames.expand(5, 14)
    return ClipStates.join([(qpos[:3], qvel[:3]), (qpos[3:], qvel[3:])])


def test_frames_past_the_end_are_the_last_one() -> None:
    clips = two_clips()
    clip, frame = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 9, 0, 4])
    assert clips.index(clip, frame).tolist() == [1, 2, 3, 4]
    assert clips.length.tolist() == [3, 2]


def test_observation_says_where_the_clip_is(
    env: LocomotionEnv, home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    m, root, qpos, qvel = home
    ahead = qpos.clone()
    ahead[0, 0] += 0.1
    ahead[0, 2] += 0.02
    ahead[0, 7] += 0.25
    clips = ClipStates.join([(torch.cat([qpos, ahead]), torch.cat([qvel, qvel]))])
    layout = tracking_layout(env.layouts["observation"], env.robot)
    zero = torch.zeros(1, dtype=torch.long)
    vector = tracking_observation(
        env.observe(m)["observation"], m, root, clips, zero, zero, env.robot
    )
    assert vector.shape == (1, layout.size)
    seen = layout.unpack(vector)
    assert seen["clip_error"][0].tolist() == pytest.approx([0.25] + [0.0] * 7, abs=1e-5)
    assert seen["clip_way"][0, 0].item() == pytest.approx(0.1, abs=1e-3)
    assert seen["clip_height"].item() == pytest.approx(0.2, abs=1e-4)
    previews = seen["clip_joints"].reshape(len(PREVIEW), 8)
    assert torch.allclose(previews, ahead[0, 7:].expand(3, 8))


def reward(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    m: Measurements | None = None,
    action: float = 0.0,
    **moved: float,
) -> float:
    """Reward of standing at home when the clip is `moved` from there (columns of qpos by name)."""
    measured, root, qpos, qvel = home
    clip = qpos.clone()
    for column, by in moved.items():
        clip[0, int(column.removeprefix("q"))] += by
    zero = torch.zeros(1, 8)
    return tracking_reward(
        m or measured, root, clip, qvel, zero + action, zero, env.robot, TrackingConfig()
    ).item()


def test_being_where_the_clip_is_earns_all(
    env: LocomotionEnv, home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    assert reward(env, home) == pytest.approx(0.1, abs=2e-3)


@pytest.mark.parametrize("moved", [{"q7": 0.3}, {"q2": 0.05}, {"q0": 0.2}, {"q1": 0.2}])
def test_each_error_costs(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    moved: dict[str, float],
) -> None:
    assert reward(env, home, **moved) < reward(env, home) - 1e-3


def test_slip_and_jerk_cost_by_hand(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    robot: RobotSpec,
) -> None:
    measured, config = home[0], TrackingConfig()
    loaded = replace(
        measured,
        foot_force=torch.full((1, 2), robot.weight / 2),
        sole_linvel_w=torch.zeros(1, 2, 3),
    )
    sliding = replace(loaded, sole_linvel_w=torch.tensor([[[0.3, 0.0, 0.0], [0.0, 0.0, 0.0]]]))
    cost = reward(env, home, loaded) - reward(env, home, sliding)
    assert cost == pytest.approx(0.1 * config.slip_weight * 0.09, rel=1e-3)
    cost = reward(env, home, loaded) - reward(env, home, loaded, action=0.5)
    assert cost == pytest.approx(0.1 * config.smoothness_weight * 8 * 0.25, rel=1e-3)


def test_refuses_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="residual_scale"):
        TrackingConfig(residual_scale=0.0)
