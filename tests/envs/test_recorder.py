"""Tests of wildrobot_torch/evaluation/recording.py, on the simulation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.reality.disturbances import PushConfig, Schedule
from envs.reality.faults import FaultConfig
from envs.reality.randomization import Draw, RandomizationConfig
from envs.recorder import random_policy, record, zero_policy
from envs.recording import Recording
from envs.task.observations import ObservationConfig
from envs.task.support import SupportConfig
from envs.task.terminations import ENDS

STEPS = 60


def make_env(
    num_envs: int = 3, push: float = 0.0, support: SupportConfig | None = None
) -> LocomotionEnv:
    config = LocomotionConfig(
        push=PushConfig(impulse_max=push, interval_s=0.3),
        episode_length_s=STEPS * 0.02,
        support=support,
    )
    return LocomotionEnv(config, num_envs, num_threads=1)


def topple_first(observation: Tensor) -> Tensor:
    """Actions that throw the first robot over, from its toes; the others stand."""
    action = observation.new_zeros(len(observation), 8)
    action[0, [3, 7]] = 1.0
    action[0, [0, 4]] = -1.0
    return action


@pytest.fixture(scope="module")
def fallen() -> tuple[LocomotionEnv, Recording]:
    """Three robots under pushes, of which the first is thrown over."""
    env = make_env(push=0.24)
    command = torch.tensor([0.1, 0.2, 0.3])
    return env, record(topple_first, env, command, STEPS)


def test_a_fall_does_not_change_what_the_other_robots_meet() -> None:
    """Two policies, one of which throws the first robot over, meet the same robots and noise."""
    config = LocomotionConfig(
        push=PushConfig(impulse_max=0.24, interval_s=0.3),
        episode_length_s=STEPS * 0.02,
        observation=ObservationConfig(profile="robot"),
        randomization=RandomizationConfig(
            mass=Draw(low=0.8, high=1.2), gyro_noise=Draw(low=0.0, high=0.1)
        ),
    )
    falls, stands = (
        record(policy, LocomotionEnv(config, 3, num_threads=1), torch.zeros(3), STEPS)
        for policy in (topple_first, zero_policy(8))
    )
    assert falls.terminated.tolist() == [True, False, False]
    assert not stands.terminated.any()
    assert torch.equal(falls.qpos[:, 1:], stands.qpos[:, 1:])


def test_standing_robots_are_valid_to_the_end() -> None:
    env = make_env()
    command = torch.tensor([0.1, 0.2, 0.3])
    recording = record(zero_policy(8), env, command, STEPS)
    assert (recording.num_steps, recording.num_episodes) == (STEPS, 3)
    assert recording.valid.all()
    assert not recording.terminated.any()
    assert torch.equal(recording.command, command)
    # Once the start has settled, the floor carries the weight.
    load = recording.foot_force[-10:].sum(-1).mean()
    assert float(load) == pytest.approx(env.robot.weight, rel=0.05)
    assert float(recording.velocity[-10:].abs().max()) < 0.05


def test_an_episode_ends_with_the_fall_and_shows_it(
    fallen: tuple[LocomotionEnv, Recording],
) -> None:
    env, recording = fallen
    assert recording.terminated.tolist() == [True, False, False]
    first, *others = [ENDS[cause] for cause in recording.end_cause.tolist()]
    assert first in ("pitch", "roll", "height") and others == ["time", "time"]
    length = int(recording.valid[:, 0].sum())
    assert 0 < length < STEPS
    assert recording.valid[:length, 0].all()
    # The last step is the state that ended it, not the home pose of what came after.
    limit = env.config.termination
    quat = recording.qpos[length - 1, 0, 3:7]
    upright = 1.0 - 2.0 * float(quat[1] ** 2 + quat[2] ** 2)
    low = float(recording.qpos[length - 1, 0, 2]) < limit.min_height
    assert low or upright < 0.8


def test_one_robots_fall_leaves_the_others_as_they_were(
    fallen: tuple[LocomotionEnv, Recording],
) -> None:
    env, recording = fallen
    env.set_seed(0)
    again = record(zero_policy(8), env, recording.command, STEPS)
    assert again.valid.all()
    assert torch.equal(again.qpos[:, 1:], recording.qpos[:, 1:])


def test_the_same_seed_gives_the_same_episodes() -> None:
    runs = []
    for _ in range(2):
        env = make_env(push=0.24)
        runs.append(record(random_policy(8, seed=1), env, torch.full((3,), 0.2), 20))
    assert torch.equal(runs[0].qpos, runs[1].qpos)
    assert not torch.equal(runs[0].qpos[:, 0], runs[0].qpos[:, 1])


def test_episodes_start_at_home_whatever_starts_the_environment_had() -> None:
    env = make_env()
    qpos = env.robot.home_qpos[None].clone()
    qpos[:, 2] += 0.1
    env.set_start_states(qpos, torch.zeros(1, 14), torch.tensor([0.9]), probability=1.0)
    recording = record(zero_policy(8), env, torch.full((3,), 0.2), 2)
    assert float(recording.qpos[0, :, 2].max()) < float(env.robot.home_qpos[2]) + 0.01


def test_commands_are_drawn_again_afterwards() -> None:
    env = make_env(num_envs=8)
    record(zero_policy(8), env, torch.full((8,), 0.2), 2)
    env.reset()
    drawn = env.command[:, 0].tolist()
    assert all(command != pytest.approx(0.2, abs=1e-6) for command in drawn)
    assert len(set(drawn)) > 1


def test_select_and_concatenate_are_inverse(fallen: tuple[LocomotionEnv, Recording]) -> None:
    recording = fallen[1]
    first = torch.tensor([True, False, False])
    parts = [recording.select(first), recording.select(~first)]
    joined = Recording.concatenate(parts)
    assert [part.num_episodes for part in parts] == [1, 2]
    assert torch.equal(joined.qpos, recording.qpos)
    assert torch.equal(joined.command, recording.command)


def test_what_cannot_be_recorded_is_refused() -> None:
    env = make_env()
    command = torch.full((3,), 0.2)
    with pytest.raises(ValueError, match="ends episodes after 60"):
        record(zero_policy(8), env, command, STEPS + 1)
    with pytest.raises(ValueError, match=r"shape \(3, 7\)"):
        record(zero_policy(7), env, command, 2)
    with pytest.raises(ValueError, match="not finite"):
        record(lambda o: o.new_full((3, 8), torch.nan), env, command, 2)
    with pytest.raises(ValueError, match="support"):
        record(zero_policy(8), make_env(support=SupportConfig()), command, 2)


def test_random_fills_the_range_and_repeats_with_its_seed() -> None:
    observation = torch.zeros(500, 39)
    actions = random_policy(8, seed=1)(observation)
    assert actions.shape == (500, 8)
    assert -1.0 <= float(actions.min()) < -0.95
    assert 0.95 < float(actions.max()) <= 1.0
    assert torch.equal(random_policy(8, seed=1)(observation), actions)
    assert not torch.equal(random_policy(8, seed=2)(observation), actions)
    policy = random_policy(8, seed=1)
    assert not torch.equal(policy(observation), policy(observation))


def test_a_command_that_changes_is_observed_at_once_and_recorded() -> None:
    env = make_env()
    seen: list[Tensor] = []

    def act(observation: Tensor) -> Tensor:
        seen.append(observation[:, env.layouts["observation"].slices["command"]].clone())
        return observation.new_zeros(3, 8)

    series = torch.zeros(4, 3, 3)
    series[2:, :, 0], series[1:, :, 2] = 0.3, 0.5
    recording = record(act, env, series, 4)
    assert torch.stack(seen)[..., 0].tolist() == [[0.0] * 3] * 2 + [[pytest.approx(0.3)] * 3] * 2
    assert torch.equal(recording.commands, series)
    assert torch.equal(recording.command, torch.zeros(3))
    assert torch.equal(recording.select([1]).commands, series[:, 1:2])
    assert record(act, env, torch.full((3,), 0.2), 2).commands is None


def test_disturbances_begin_at_their_times_and_nowhere_else() -> None:
    """A push of 0.12 s is 6 steps long; ahead for the first robot, to the left for the second."""
    config = LocomotionConfig(
        push=PushConfig(impulse_min=0.2, impulse_max=0.6, interval_s=0.2),
        faults=FaultConfig(dropout_interval_s=0.3, dropout_s=0.1),
        episode_length_s=STEPS * 0.02,
    )
    env = LocomotionEnv(config, 3, num_threads=1)
    plan = Schedule(
        steps=torch.tensor([[10], [20], [STEPS]]),
        impulse=torch.tensor([0.6, 0.4, 0.4]),
        direction=torch.tensor([0.0, torch.pi / 2, 0.0]),
    )
    recording = record(zero_policy(8), env, torch.zeros(3), 40, schedule=plan)
    assert recording.disturbed is not None
    # A limp servo lasts 5 steps, within the push's 6.
    expected = torch.zeros(40, 3, dtype=torch.bool)
    expected[10:16, 0] = expected[20:26, 1] = True
    assert torch.equal(recording.disturbed, expected)
    # The push of 0.6 N s is 0.18 m/s of the whole robot's velocity, from which its feet take some.
    moved = recording.qvel[15, 0, :2] - recording.qvel[9, 0, :2]
    assert float(moved[0]) > 0.1 > 2 * abs(float(moved[1]))
    moved = recording.qvel[25, 1, :2] - recording.qvel[19, 1, :2]
    assert float(moved[1]) > 2 * abs(float(moved[0]))
    assert env.disturbed.shape == (3,)
    again = record(zero_policy(8), env, torch.zeros(3), STEPS)  # at random times again
    assert again.disturbed is not None and again.disturbed.any(0).all()
