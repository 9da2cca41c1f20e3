"""The arithmetic of an episode: everything in a control step but the physics.

Pure functions of tensors on any device: no random numbers, no host synchronisation, no control flow
that depends on a tensor's values. So each can be recorded as a CUDA graph and replayed.

A control step is `act`, then physics, then `step`. An episode starts with `sample_start` (or
`start_from`), then physics is set to that state, then `reset`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.frames import turn, wrap_angle, yaw
from envs.measurements import Measurements, measure
from envs.physics.base import PhysicsState
from envs.reality.disturbances import push_force
from envs.robot.spec import RobotSpec
from envs.task.actions import action_to_ctrl, ctrl_to_action, filter_action
from envs.task.commands import sample_velocity
from envs.task.features import style_features
from envs.task.observations import observe, observe_privileged
from envs.task.rewards import loaded_feet, reward_terms, walk_commanded, weighted_terms
from envs.task.starts import AT_HOME, UNDER_WAY, StartDraws, StartStates, noisy_start
from envs.task.terminations import fallen

METRICS = ("episode_return", "episode_length", "velocity_error", "physics_failure")
"""Columns of `StepResult.metrics`."""


@dataclass(frozen=True)
class Episode:
    """State of E running episodes besides the physics."""

    action: Tensor
    """(E, J): filtered action of the last step."""
    command: Tensor
    """(E,) [m/s]: commanded forward velocity."""
    heading: Tensor
    """(E,) [rad]: yaw at the episode's start."""
    steps: Tensor
    """(E,) long: control steps so far."""
    episode_return: Tensor
    """(E,): sum of the rewards so far."""
    air_time: Tensor
    """(E, 2) [s]: how long each foot has been unloaded."""
    stance_time: Tensor
    """(E,) [s]: how long both feet have been loaded while walking is commanded."""
    mean_velocity: Tensor
    """(E,) [m/s]: forward velocity, averaged over the reward's `tracking_time`."""
    push: Tensor
    """(E, 2) [N]: horizontal force of the present push, world."""
    push_steps: Tensor
    """(E,) long: control steps for which the push still acts."""

    @classmethod
    def blank(cls, num: int, num_joints: int, device: torch.device) -> Episode:
        """Zeros for `num` simulations."""

        def zeros(*columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(num, *columns, dtype=dtype, device=device)

        return cls(
            action=zeros(num_joints),
            command=zeros(),
            heading=zeros(),
            steps=zeros(dtype=torch.long),
            episode_return=zeros(),
            air_time=zeros(2),
            stance_time=zeros(),
            mean_velocity=zeros(),
            push=zeros(2),
            push_steps=zeros(dtype=torch.long),
        )


@dataclass(frozen=True)
class Start:
    """Where E episodes begin."""

    qpos: Tensor
    """(E, nq)."""
    qvel: Tensor
    """(E, nv)."""
    command: Tensor
    """(E,) [m/s]."""
    action: Tensor
    """(E, J): filtered action whose joint targets are nearest to the start's joint positions."""
    ctrl: Tensor
    """(E, nu) [rad]: targets of `action`."""
    rsi_index: Tensor
    """(E,) long: index of the reference state it starts in, or `AT_HOME`."""
    air_time: Tensor
    """(E, 2) [s]: how long each foot has been unloaded already."""


@dataclass(frozen=True)
class StepResult:
    """Result of a control step, before any reset."""

    observations: dict[str, Tensor]
    """(E, ...): see `observations`; and `rsi_index` (E, 1), `UNDER_WAY` everywhere."""
    terms: Tensor
    """(E, K): weighted reward terms, in `RewardWeights` order."""
    reward: Tensor
    """(E,): their sum."""
    metrics: Tensor
    """(E, 4): see `METRICS`."""
    fallen: Tensor
    """(E,) bool: the robot has fallen or its simulation failed."""
    terminated: Tensor
    """(E,) bool: its episode ends by that."""
    truncated: Tensor
    """(E,) bool: its time is up."""
    done: Tensor
    """(E,) bool: either."""


def start_from(
    qpos: Tensor,
    qvel: Tensor,
    command: Tensor,
    robot: RobotSpec,
    config: LocomotionConfig,
    rsi_index: Tensor | None = None,
    air_time: Tensor | None = None,
) -> Start:
    """Start in a given state: qpos (E, nq), qvel (E, nv), command (E,) [m/s].

    `rsi_index` (E,) long is the index of the state, None for `AT_HOME`; `air_time` (E, 2) [s] how
    long each foot has been unloaded, None for feet on the floor.
    """
    action = ctrl_to_action(qpos[:, robot.joint_qpos_adr], robot, config.action)
    ctrl = action_to_ctrl(action, robot, config.action)
    if rsi_index is None:
        rsi_index = torch.full_like(command, AT_HOME, dtype=torch.long)
    if air_time is None:
        air_time = command.new_zeros(len(command), 2)
    return Start(qpos, qvel, command, action, ctrl, rsi_index, air_time)


def sample_start(
    velocity_draws: Tensor,
    draws: StartDraws,
    held_command: Tensor | None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    starts: StartStates | None,
) -> Start:
    """Random start.

    Args:
        velocity_draws: (2, E), see `sample_velocity`.
        draws: for the state.
        held_command: (E,) [m/s], commanded instead of the sampled velocities; None to use these.
        robot: the robot.
        config: the task.
        starts: reference states that may be drawn, or None.
    """
    command = sample_velocity(velocity_draws, config.command)
    qpos, qvel, command, rsi_index, air_time = noisy_start(
        draws, robot, config.reset, starts, command
    )
    command = command if held_command is None else held_command
    return start_from(qpos, qvel, command, robot, config, rsi_index, air_time)


def reset(episode: Episode, mask: Tensor, start: Start, state: PhysicsState) -> Episode:
    """Episodes in which those where `mask` (E,) is set begin anew, in the present `state`."""
    heading = yaw(state.qpos[:, 3:7])
    velocity = turn(state.qvel[:, :3], -heading)[:, 0]
    return replace(
        episode,
        action=torch.where(mask[:, None], start.action, episode.action),
        command=torch.where(mask, start.command, episode.command),
        heading=torch.where(mask, heading, episode.heading),
        steps=episode.steps.masked_fill(mask, 0),
        episode_return=episode.episode_return.masked_fill(mask, 0.0),
        air_time=torch.where(mask[:, None], start.air_time, episode.air_time),
        stance_time=episode.stance_time.masked_fill(mask, 0.0),
        mean_velocity=torch.where(mask, velocity, episode.mean_velocity),
        push_steps=episode.push_steps.masked_fill(mask, 0),
    )


def reset_and_observe(
    episode: Episode,
    mask: Tensor,
    start: Start,
    state: PhysicsState,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
) -> tuple[Episode, dict[str, Tensor]]:
    """`reset`, then the `observations` of all simulations and their `rsi_index` (E, 1)."""
    episode = reset(episode, mask, start, state)
    observed = observations(measure(state, robot), episode, robot, config)
    rsi_index = start.rsi_index.masked_fill(~mask, UNDER_WAY)
    return episode, observed | {"rsi_index": rsi_index[:, None]}


def observations(
    m: Measurements, episode: Episode, robot: RobotSpec, config: LocomotionConfig
) -> dict[str, Tensor]:
    """Entries of the environment's layouts: observation, critic_observation and amp, (E, ...)."""
    heading_error = wrap_angle(m.yaw - episode.heading)
    observation = observe(
        m, robot, config.observation, episode.action, episode.command, heading_error
    )
    return {
        "observation": observation,
        "critic_observation": observe_privileged(
            m,
            robot,
            observation,
            air_time=episode.air_time,
            stance_time=episode.stance_time,
            mean_velocity=episode.mean_velocity,
        ),
        "amp": style_features(m, robot),
    }


def act(
    episode: Episode,
    action: Tensor,
    push_draws: Tensor | None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
) -> tuple[Episode, Tensor]:
    """Joint targets and pushes of this step.

    Args:
        episode: after the last step.
        action: (E, J) policy output; clipped to [-1, 1].
        push_draws: (3, E), see `push_force`; None in a task without pushes.
        robot: the robot.
        config: the task.

    Returns:
        The episode with this step's filtered action and push, and position targets (E, J) [rad].
    """
    filtered = filter_action(action, episode.action, config.action)
    push, push_steps = episode.push, episode.push_steps
    if push_draws is not None:
        push, push_steps = push_force(push, push_steps, push_draws, config.push, config.ctrl_dt)
    episode = replace(episode, action=filtered, push=push, push_steps=push_steps)
    return episode, action_to_ctrl(filtered, robot, config.action)


def step(
    episode: Episode,
    prev_action: Tensor,
    state: PhysicsState,
    health: Tensor,
    velocity_draws: Tensor | None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    factors: Tensor,
) -> tuple[Episode, StepResult]:
    """Result of a step, and the episode after it.

    A simulation that failed ends here: its values are replaced by 0 so that no NaN gets further.

    Args:
        episode: after `act`.
        prev_action: (E, J) filtered action of the step before.
        state: physics after the step.
        health: (E,) as the engine reports it; anything but 0 is a failure.
        velocity_draws: (2, E) for commands that are resampled now, see `sample_velocity`; None
            where commands are held. New commands are observed from the next root on.
        robot: the robot.
        config: the task.
        factors: (K,), see `term_weights`.
    """
    failed = health != 0
    steps = episode.steps + 1
    m = measure(state, robot)
    fell = fallen(m, config.termination) | failed
    if config.auto_reset:
        terminated = fell
        truncated = (steps >= config.episode_steps) & ~terminated
    else:
        terminated, truncated = torch.zeros_like(fell), torch.zeros_like(fell)
    mean_velocity = averaged_velocity(
        episode.mean_velocity, m.linvel_h[:, 0].masked_fill(failed, 0.0), config
    )
    terms = reward_terms(
        m,
        robot,
        config.reward,
        action=episode.action,
        prev_action=prev_action,
        velocity_command=episode.command,
        heading_error=wrap_angle(m.yaw - episode.heading),
        air_time=episode.air_time,
        stance_time=episode.stance_time,
        mean_velocity=mean_velocity,
        terminated=terminated,
    )
    weighted = weighted_terms(terms, factors)
    # A simulation that failed pays for its end as a fall does; its other terms mean nothing.
    weighted = torch.cat(
        [weighted[:, :-1].masked_fill(failed[:, None], 0.0), weighted[:, -1:]], dim=-1
    )
    reward = weighted.sum(-1)
    episode_return = episode.episode_return + reward
    velocity_error = (m.linvel_h[:, 0] - episode.command).abs().masked_fill(failed, 0.0)
    length, failure = steps.to(reward.dtype), failed.to(reward.dtype)
    swing = ~loaded_feet(m, robot)
    following = replace(
        episode,
        steps=steps,
        episode_return=episode_return,
        air_time=(episode.air_time + config.ctrl_dt) * swing,
        stance_time=(episode.stance_time + config.ctrl_dt)
        * (~swing.any(-1) & walk_commanded(episode.command)),
        mean_velocity=mean_velocity,
    )
    observed = {
        key: value.masked_fill(failed[:, None], 0.0)
        for key, value in observations(m, following, robot, config).items()
    }
    result = StepResult(
        observations=observed | {"rsi_index": torch.full_like(steps, UNDER_WAY)[:, None]},
        terms=weighted,
        reward=reward,
        metrics=torch.stack([episode_return, length, velocity_error, failure], dim=-1),
        fallen=fell,
        terminated=terminated,
        truncated=truncated,
        done=terminated | truncated,
    )
    following = replace(
        following, command=_next_command(episode.command, steps, velocity_draws, config)
    )
    return following, result


def averaged_velocity(mean: Tensor, velocity: Tensor, config: LocomotionConfig) -> Tensor:
    """(E,) [m/s]: exponential average of `velocity` (E,) over `reward.tracking_time`.

    A walking robot's root is slower over its stance foot and faster between the feet; the command
    is its speed over strides.
    """
    if config.reward.tracking_time == 0.0:
        return velocity
    return velocity + math.exp(-config.ctrl_dt / config.reward.tracking_time) * (mean - velocity)


def _next_command(
    command: Tensor, steps: Tensor, draws: Tensor | None, config: LocomotionConfig
) -> Tensor:
    if draws is None:
        return command
    interval = round(config.command.resample_s / config.ctrl_dt)
    return torch.where((steps % interval) == 0, sample_velocity(draws, config.command), command)
