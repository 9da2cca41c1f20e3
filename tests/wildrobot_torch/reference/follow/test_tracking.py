"""Tests of wildrobot_torch.reference.follow.tracking: clip frames, observation, reward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.reference.follow.rollout import clip_env
from wildrobot_torch.reference.follow.tracking import (
    COSTS,
    MAX_LEAD,
    PREVIEW,
    STOP_ROOM,
    ClipStates,
    TrackingConfig,
    clip_observation,
    tracking_layout,
    tracking_reward,
)


@pytest.fixture(scope="module")
def env() -> LocomotionEnv:
    """One robot standing at home."""
    env = clip_env(1)
    env.reset()
    return env


@pytest.fixture
def home(env: LocomotionEnv) -> tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measurements, root position, qpos and qvel of the robot as it is."""
    state = env.backend.state()
    balanced = torch.full((1, 2), env.robot.weight / 2)
    measured, qpos = env.measure(), state.qpos.clone()
    for joint in (2, 6):  # the knees, which are straight at home, off their stops
        measured.joint_pos[0, joint] = qpos[0, env.robot.joint_qpos_adr[joint]] = 0.3
    return (
        replace(measured, foot_force=balanced, sole_linvel_w=torch.zeros(1, 2, 3)),
        state.qpos[:, :3],
        qpos,
        state.qvel.clone(),
    )


def two_clips() -> ClipStates:
    """Clips of 3 and 2 frames; qpos holds the frame's number in all places."""
    frames = torch.arange(5.0)[:, None]
    return ClipStates(
        qpos=frames.expand(5, 15),
        qvel=frames.expand(5, 14),
        first=torch.tensor([0, 3]),
        length=torch.tensor([3, 2]),
        servo=frames.expand(5, 8),
        stands=torch.ones(5, 2, dtype=torch.bool),
        speed=torch.tensor([0.3, 0.0]),
    )


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
    clips = ClipStates(
        qpos=torch.cat([qpos, ahead]),
        qvel=torch.cat([qvel, qvel]),
        first=torch.tensor([0]),
        length=torch.tensor([2]),
        servo=torch.zeros(2, 8),
        stands=torch.ones(2, 2, dtype=torch.bool),
        speed=torch.zeros(1),
    )
    layout = tracking_layout(env.layouts["observation"], env.robot)
    zero = torch.zeros(1, dtype=torch.long)
    of_clip = clip_observation(m, root, clips, zero, zero, env.robot)
    vector = torch.cat([env.observe(m)["observation"], of_clip], -1)
    assert vector.shape == (1, layout.size)
    seen = layout.unpack(vector)
    assert seen["clip_error"][0].tolist() == pytest.approx([0.25] + [0.0] * 7, abs=1e-5)
    assert seen["clip_way"][0, 0].item() == pytest.approx(0.1, abs=1e-3)
    assert seen["clip_height"].item() == pytest.approx(0.2, abs=1e-4)
    previews = seen["clip_joints"].reshape(len(PREVIEW), 8)
    assert torch.allclose(previews, ahead[0, 7:].expand(3, 8))


def test_clips_are_joined_frame_by_frame(robot_model: RobotModel) -> None:
    clips = [standing_clip(robot_model.robot, 0.5), walking_clip(robot_model.robot, 0.3, 2.0)]
    states = ClipStates.of(clips, robot_model)
    assert states.first.tolist() == [0, 26] and states.length.tolist() == [26, 101]
    joints = robot_model.robot.joint_qpos_adr
    assert torch.allclose(states.qpos[26:, joints], torch.from_numpy(clips[1].joint_pos).float())
    # Standing legs are nearly straight and the servos hardly strained; walking is work.
    lead = (states.servo - states.qpos[:, joints]).abs()
    assert lead[:26].max() < 0.1 < lead[26:].max() <= MAX_LEAD + 1e-6
    assert states.stands[:26].all()
    alone = (states.stands[26:].sum(1) == 1).float().mean()
    assert 0.5 < alone < 0.95 and states.stands[26:].any(1).all()


def reward(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    m: Measurements | None = None,
    action: float = 0.0,
    stands: tuple[bool, bool] = (True, True),
    **moved: float,
) -> float:
    """Reward of standing at home when the clip is `moved` from there (columns of qpos by name)."""
    measured, root, qpos, qvel = home
    clip = qpos.clone()
    for column, by in moved.items():
        clip[0, int(column.removeprefix("q"))] += by
    zero = torch.zeros(1, 8)
    return tracking_reward(
        m or measured,
        root,
        clip,
        qvel,
        torch.tensor([stands]),
        zero + action,
        zero,
        env.robot,
    ).item()


def test_being_where_the_clip_is_earns_all(
    env: LocomotionEnv, home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    assert reward(env, home) == pytest.approx(0.1, abs=3e-3)


@pytest.mark.parametrize("moved", [{"q7": 0.3}, {"q2": 0.05}, {"q0": 0.2}, {"q1": 0.2}])
def test_each_error_costs(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    moved: dict[str, float],
) -> None:
    assert reward(env, home, **moved) < reward(env, home) - 5e-4


def test_slip_and_jerk_cost_by_hand(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    robot: RobotSpec,
) -> None:
    measured = home[0]
    loaded = replace(
        measured,
        foot_force=torch.full((1, 2), robot.weight / 2),
        sole_linvel_w=torch.zeros(1, 2, 3),
    )
    sliding = replace(loaded, sole_linvel_w=torch.tensor([[[0.3, 0.0, 0.0], [0.0, 0.0, 0.0]]]))
    cost = reward(env, home, loaded) - reward(env, home, sliding)
    assert cost == pytest.approx(0.1 * COSTS["slip"] * 0.3, rel=1e-3)
    cost = reward(env, home, loaded) - reward(env, home, loaded, action=0.5)
    assert cost == pytest.approx(0.1 * COSTS["smoothness"] * 8 * 0.25, rel=1e-3)
    cost = reward(env, home, loaded) - reward(env, home, loaded, stands=(True, False))
    assert cost == pytest.approx(0.1 * COSTS["contact"], rel=1e-3)


def test_a_joint_near_its_stop_costs_by_hand(
    env: LocomotionEnv,
    home: tuple[Measurements, torch.Tensor, torch.Tensor, torch.Tensor],
    robot: RobotSpec,
) -> None:
    """Robot and clip alike have a joint half of `STOP_ROOM` off its stop."""
    measured = home[0]
    joint_pos = measured.joint_pos.clone()
    joint_pos[0, 2] = robot.joint_range[2, 1] - STOP_ROOM / 2.0
    column = int(robot.joint_qpos_adr[2])
    moved = {f"q{column}": (joint_pos - measured.joint_pos)[0, 2].item()}
    cost = reward(env, home) - reward(env, home, replace(measured, joint_pos=joint_pos), **moved)
    assert cost == pytest.approx(0.1 * COSTS["stop"] * 0.5, rel=1e-2)


def test_refuses_settings_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="residual_scale"):
        TrackingConfig(residual_scale=0.0)
