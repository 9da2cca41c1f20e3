"""Restarts, ends, training, unassisted rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.robot.model import RobotModel
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip
from wildrobot_torch.ppo.learner import PPOLearner, Transitions
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.reference.follow import tracker, tracking
from wildrobot_torch.reference.follow.rollout import Task, clip_env
from wildrobot_torch.reference.follow.tracker import (
    TrackingTask,
    track,
    train_tracker,
)
from wildrobot_torch.reference.follow.tracking import ClipStates, TrackingConfig, tracking_layout

SMALL = TrackingConfig(num_envs=8, env_steps=400, push_impulse=0.0)


def standing(robot_model: RobotModel, seconds: float = 1.5) -> ClipStates:
    return ClipStates.of([standing_clip(robot_model.robot, seconds)], robot_model)


def test_robots_start_on_clip_frames_and_end_with_the_clip(robot_model: RobotModel) -> None:
    clips = standing(robot_model)
    task = TrackingTask(clip_env(8), clips, SMALL)
    assert (task.frame <= clips.length[0] - 50).all() and task.frame.unique().numel() > 1
    left = clips.length[0] - 1 - task.frame
    ends = torch.zeros(8, dtype=torch.long)
    for step in range(int(left.max())):
        result = task.step(torch.zeros(8, 8))
        assert not result["terminated"].any()
        ends = torch.where(result["done"] & (ends == 0), step + 1, ends)
    assert torch.equal(ends, left)


def commanded(env: LocomotionEnv, seen: torch.Tensor) -> torch.Tensor:
    """The velocity command (E,) in a tracker's observations."""
    layout = tracking_layout(env.layouts["observation"], env.robot)
    return layout.unpack(seen)["velocity_command"][:, 0]


def test_the_velocity_command_is_the_speed_of_the_clip(robot_model: RobotModel) -> None:
    """In training: whatever clip a robot follows, for longer than commands last, after restarts."""
    clips = ClipStates.of(
        [standing_clip(robot_model.robot, 7.0), walking_clip(robot_model.robot, 0.3, 7.0)],
        robot_model,
    )
    env = clip_env(8)
    task = TrackingTask(env, clips, SMALL)
    speeds = torch.tensor([0.0, 0.3])
    restarts = 0
    for _ in range(round(env.config.command.resample_s / env.config.ctrl_dt) + 10):
        torch.testing.assert_close(
            commanded(env, task.seen[0]), speeds[task.clip], atol=0.01, rtol=0
        )
        restarts += int(task.step(torch.zeros(8, 8))["done"].sum())
    assert restarts > 0 and task.clip.unique().numel() == 2


def test_a_tracker_is_commanded_the_speed_of_its_clip(robot_model: RobotModel) -> None:
    """In rollouts, too."""
    robot = robot_model.robot
    tasks = [Task(standing_clip(robot, 1.5), 0), Task(walking_clip(robot, 0.3, 1.5), 0)]
    env = clip_env(2)
    policy = Policy(tracking_layout(env.layouts["observation"], robot).size, 8)
    seen: list[torch.Tensor] = []
    policy.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    track(env, tasks, policy, 0.3, robot_model)
    commands = torch.stack([commanded(env, x) for x in seen])
    expected = torch.tensor([tasks[0].clip.mean_speed, tasks[1].clip.mean_speed])
    torch.testing.assert_close(commands, expected.expand_as(commands))


def test_a_fallen_robot_is_put_back(robot_model: RobotModel) -> None:
    task = TrackingTask(clip_env(8), standing(robot_model), SMALL)
    tipped = robot_model.robot.home_qpos.repeat(8, 1)
    tipped[:, 3:7] = torch.tensor([0.9, 0.0, 0.4359, 0.0])
    mask = torch.arange(8) == 3
    task.env.set_state(mask, tipped, torch.zeros(8, 14))
    result = task.step(torch.zeros(8, 8))
    assert result["terminated"].tolist() == mask.tolist()
    assert task.env.measure().pitch.abs().max() < 0.1


def test_who_is_far_from_the_clip_starts_anew(robot_model: RobotModel) -> None:
    task = TrackingTask(clip_env(8), standing(robot_model), SMALL)
    away = robot_model.robot.home_qpos.repeat(8, 1)
    away[2, 0], away[5, 1] = 0.29, 0.31
    task.env.set_state(torch.ones(8, dtype=torch.bool), away, torch.zeros(8, 14))
    result = task.step(torch.zeros(8, 8))
    assert result["terminated"].tolist() == [i == 5 for i in range(8)]


def test_training_repeats_itself_and_leaves_the_random_state_alone(robot_model: RobotModel) -> None:
    before = torch.get_rng_state()
    lines: list[str] = []
    clips = standing(robot_model)
    first, second = (train_tracker(clips, SMALL, progress=lines.append) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert lines and "tracker" in lines[0]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    untouched = Policy(first.hparams["obs_size"], 8, init_std=0.3)
    assert not torch.equal(first.net[0].weight, untouched.net[0].weight)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    robot_model: RobotModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "SAVE_EVERY_S", 0.0)
    clips, config = standing(robot_model), replace(SMALL, env_steps=800, push_impulse=0.48)
    whole = train_tracker(clips, config)
    kept = tmp_path / "kept.tracker"

    class Stopped(Exception):
        """As if the process had ended."""

    def stop_in_the_third(learner: PPOLearner, rollout: Transitions, iteration: int) -> Any:
        if iteration == 3:
            raise Stopped
        return update(learner, rollout, iteration)

    update = PPOLearner.update
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(PPOLearner, "update", stop_in_the_third)
        train_tracker(clips, config, checkpoint=kept)
    lines: list[str] = []
    resumed = train_tracker(clips, config, checkpoint=kept, progress=lines.append)
    assert lines[0] == "tracker goes on at 2/5"
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "discount": {"ppo": replace(SMALL.ppo, gamma=0.9)},
    "rollout": {"num_steps": 25},
    "widths": {"hidden": (32, 32)},
    "noise": {"init_std": 0.2},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_tracker_of_other_settings_is_trained_anew(
    robot_model: RobotModel, tmp_path: Path, changes: dict[str, Any]
) -> None:
    clips, kept = standing(robot_model), tmp_path / "kept.tracker"
    short = replace(SMALL, env_steps=192)
    train_tracker(clips, short, checkpoint=kept)
    lines: list[str] = []
    train_tracker(clips, short, checkpoint=kept, progress=lines.append)
    assert lines[0] == "tracker goes on at 1/1"
    lines.clear()
    train_tracker(clips, replace(short, **changes), checkpoint=kept, progress=lines.append)
    assert not lines[0].startswith("tracker goes on")


def test_a_tracker_of_another_reward_is_trained_anew(
    robot_model: RobotModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, kept = standing(robot_model), tmp_path / "kept.tracker"
    short = replace(SMALL, env_steps=192)
    train_tracker(clips, short, checkpoint=kept)
    lines: list[str] = []
    monkeypatch.setitem(tracking.IMITATION, "yaw", (0.06, 4.0))
    train_tracker(clips, short, checkpoint=kept, progress=lines.append)
    assert not lines[0].startswith("tracker goes on")


def test_a_damaged_training_file_is_refused(robot_model: RobotModel, tmp_path: Path) -> None:
    kept = tmp_path / "kept.tracker"
    kept.write_bytes(b"not a file of tensors")
    with pytest.raises(UserError, match=r"kept\.tracker cannot be read .*; remove it"):
        train_tracker(standing(robot_model), SMALL, checkpoint=kept)
    assert kept.read_bytes() == b"not a file of tensors"


def test_a_tracker_of_another_version_is_named_as_such(
    robot_model: RobotModel, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.tracker"
    torch.save({"key": "0" * 64, "state": {}}, kept)  # as version 0.3 wrote them
    with pytest.raises(UserError, match=r"another version .*0\.3.*; remove it to train anew"):
        train_tracker(standing(robot_model), SMALL, checkpoint=kept)


def test_a_tracker_is_trained_on_the_engine_asked_for(robot_model: RobotModel) -> None:
    clips = standing(robot_model)
    trained = train_tracker(clips, replace(SMALL, env_steps=192), physics="warp-cpu")
    native = train_tracker(clips, replace(SMALL, env_steps=192))
    # One rollout: two engines' physics is nearly the same, and so is what is learnt from it.
    assert torch.equal(trained.normalizer.count, native.normalizer.count)
    torch.testing.assert_close(trained.normalizer.mean, native.normalizer.mean, atol=0.02, rtol=0)


def test_rollouts_have_no_support(robot_model: RobotModel) -> None:
    """An untrained tracker adds nothing: the standing clip, played open loop, stands by itself."""
    clip = standing_clip(robot_model.robot, 1.5)
    env = clip_env(1)
    size = tracking_layout(env.layouts["observation"], env.robot).size
    rollout = track(env, [Task(clip, 0)], Policy(size, 8), 0.3, robot_model)[0]
    assert rollout.survival == 1.0
    assert rollout.support(0, rollout.num_frames) == "none"
    error = rollout.recording.joint_error(robot_model.robot)
    assert error.square().mean().sqrt() < 0.05
