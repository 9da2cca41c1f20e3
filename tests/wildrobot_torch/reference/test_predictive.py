"""Tests of wildrobot_torch.reference.predictive: what plans earn, and that planning only thinks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from envs.measurements import measure
from envs.physics.base import PhysicsState
from envs.reality.disturbances import PushConfig
from envs.robot.model import RobotModel
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.follow.rollout import Rollout, Task
from wildrobot_torch.reference.follow.tracker import tracking_env
from wildrobot_torch.reference.follow.tracking import ClipStates, TrackingConfig, tracking_reward
from wildrobot_torch.reference.predictive import (
    FALL_REWARD,
    Planner,
    PredictiveConfig,
    knot_weights,
    predict,
    sequence_return,
    shifted,
    weighted_mean,
)

SMALL = PredictiveConfig(samples=8, horizon=6, replan=2, knots=3)


def leaning(robot_model: RobotModel, config: PredictiveConfig = SMALL) -> tuple[Any, ...]:
    """Two robots that lean away from the clip they should stand by, and their planner."""
    clips = ClipStates.of([standing_clip(robot_model.robot, 1.0)], robot_model)
    env = tracking_env(2, PushConfig())
    qpos = clips.qpos[:1].repeat(2, 1)
    qpos[:, 7:] += torch.tensor([[0.05], [-0.05]])
    env.set_state(torch.ones(2, dtype=torch.bool), qpos, torch.zeros(2, env.robot.num_joints + 6))
    planner = Planner(2, clips, TrackingConfig(), config)
    return env, planner, torch.zeros(2, dtype=torch.long), torch.tensor([0, 5])


def test_points_are_joined_by_straight_lines() -> None:
    expected = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
    torch.testing.assert_close(knot_weights(5, 2), expected)
    torch.testing.assert_close(knot_weights(4, 4), torch.eye(4))


def test_a_fall_costs_every_step_after_it() -> None:
    reward = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.1, torch.nan, 0.1, 0.1]])
    fell = torch.tensor([[False] * 4, [False, True, False, False]])
    expected = torch.tensor([0.4, 0.1 + 3 * FALL_REWARD])
    torch.testing.assert_close(sequence_return(reward, fell), expected)


def test_the_centre_moves_to_what_earns_more() -> None:
    sequences = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    returns = torch.tensor([[0.0, 1.0, 2.0]])
    # Weights e^-2, e^-1, 1 at a temperature of the best one's lead over the median.
    assert float(weighted_mean(sequences, returns, 1.0)) == pytest.approx(0.57521, abs=1e-5)
    assert float(weighted_mean(sequences, returns, 0.01)) == pytest.approx(1.0)
    assert float(weighted_mean(sequences, torch.ones(1, 3), 1.0)) == pytest.approx(0.0)


def test_a_plan_is_taken_up_where_it_was_left() -> None:
    sequence = torch.arange(4.0).reshape(1, 4, 1)
    assert shifted(sequence, 2).flatten().tolist() == [2.0, 3.0, 3.0, 3.0]


def test_nothing_earns_more_than_being_where_the_clip_is(robot_model: RobotModel) -> None:
    robot, task = robot_model.robot, TrackingConfig()
    clips = ClipStates.of([standing_clip(robot, 1.0)], robot_model)
    at = torch.zeros(1, dtype=torch.long)
    qpos, qvel = clips.qpos[at], clips.qvel[at]
    still = torch.zeros(1, robot.num_joints)

    def earned(qpos_is: Tensor, qvel_is: Tensor) -> float:
        # Both feet carry half the weight, whatever the state.
        env = tracking_env(1, PushConfig())
        env.set_state(torch.ones(1, dtype=torch.bool), qpos_is, qvel_is)
        state: PhysicsState = env.backend.state()
        halves = torch.full((1, 2), robot.weight / 2)
        m = replace(measure(state, robot), foot_force=halves)
        return float(
            tracking_reward(
                m, qpos_is[:, :3], qpos, qvel, clips.stands[at], still, still, robot, task
            )
        )

    perfect = earned(qpos, qvel)
    assert 0.09 < perfect < 0.1 + 1e-6
    bent, moved, turning = qpos.clone(), qpos.clone(), qvel.clone()
    bent[:, robot.joint_qpos_adr[2]] += 0.1
    moved[:, 0] += 0.05
    turning[:, 5] += 0.5
    assert max(earned(bent, qvel), earned(moved, qvel), earned(qpos, turning)) < perfect


def test_planning_leaves_the_robot_where_it_is(robot_model: RobotModel) -> None:
    env, planner, clip, frame = leaning(robot_model)
    before = env.get_sim_state()
    planner.plan(env.backend.snapshot(), clip, frame)
    for name, values in env.get_sim_state().items():
        assert torch.equal(values, before[name]), name


def test_the_model_foresees_what_the_robot_then_does(robot_model: RobotModel) -> None:
    env, planner, clip, frame = leaning(robot_model)
    plan = planner.plan(env.backend.snapshot(), clip, frame)
    task, clips, robot = TrackingConfig(), planner.clips, env.robot
    earned, before = torch.zeros(2), torch.zeros(2, robot.num_joints)
    for step, action in enumerate(plan.sequence.unbind(1), start=1):
        now = clips.index(clip, frame + step)
        target = clips.servo[now] + task.residual_scale * action
        env.step(TensorDict({"action": env.joint_targets_to_action(target)}, batch_size=[2]))
        earned += tracking_reward(
            env.measure(), env.backend.state().qpos[:, :3], clips.qpos[now], clips.qvel[now],
            clips.stands[now], action, before, robot, task,
        )  # fmt: skip
        before = action
    torch.testing.assert_close(earned, plan.predicted, atol=1e-6, rtol=0)


def test_a_plan_is_never_worse_than_no_correction_and_improves(robot_model: RobotModel) -> None:
    env, planner, clip, frame = leaning(robot_model, replace(SMALL, samples=16))
    snapshot = env.backend.snapshot()
    plans = [planner.plan(snapshot, clip, frame) for _ in range(3)]
    assert (plans[0].predicted >= plans[0].uncorrected).all()
    assert (plans[-1].predicted > plans[-1].uncorrected).all()
    for earlier, later in pairwise(plans):
        torch.testing.assert_close(later.uncorrected, earlier.uncorrected, atol=0, rtol=0)
        assert (later.predicted >= earlier.predicted).all()
    assert plans[0].sequence.abs().max() <= 1.0


def test_the_same_seed_gives_the_same_plan(robot_model: RobotModel) -> None:
    def sequence(seed: int) -> Tensor:
        env, planner, clip, frame = leaning(robot_model, replace(SMALL, seed=seed))
        return planner.plan(env.backend.snapshot(), clip, frame).sequence

    assert torch.equal(sequence(0), sequence(0))
    assert not torch.equal(sequence(0), sequence(1))


def test_rollouts_follow_the_clip_without_support(robot_model: RobotModel) -> None:
    clip = standing_clip(robot_model.robot, 0.2)

    def rollout() -> Rollout:
        env = tracking_env(1, PushConfig())
        return predict(env, [Task(clip, 0)], TrackingConfig(), SMALL, robot_model)[0]

    first = rollout()
    assert first.survival == 1.0
    assert first.support(0, first.num_frames) == "none"
    target = first.recording.joint_target
    assert target is not None and (first.recording.qpos[..., 7:] - target).abs().max() < 0.1
    assert torch.equal(first.recording.qpos, rollout().recording.qpos)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"samples": 3}, "samples is 3; allowed: 4 or more"),
        ({"replan": 21}, r"replan is 21; allowed: 1 to horizon \(20\)"),
        ({"knots": 1}, r"knots is 1; allowed: 2 to horizon \(20\)"),
        ({"noise": 0.0}, "noise is 0.0; it must be positive"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictiveConfig(**setting)
