"""The arithmetic of an episode: everything in a control step but the physics.

Pure functions of tensors on any device: no random numbers, no host synchronisation, no control flow
that depends on a tensor's values. So each can be recorded as a CUDA graph and replayed.

A control step is `act`, then physics, then `step`. An episode begins with a `Start`: physics is set
to its state, then comes `reset`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.episode import Episode, StepContext
from envs.frames import turn, yaw
from envs.ground import Ground, above
from envs.layout import Layout
from envs.measurements import Measurements, measure
from envs.physics.base import PhysicsState
from envs.reality.disturbances import push_force
from envs.reality.sensors import SensorState
from envs.robot.spec import RobotSpec
from envs.shares import Shares
from envs.task.actions import policy_action_to_ctrl
from envs.task.commands import FORWARD, LATERAL, YAW, sample_command
from envs.task.features import style_features
from envs.task.observations import frame, observe
from envs.task.rewards import total, weighted_terms
from envs.task.starts import UNDER_WAY, Start
from envs.task.terminations import ENDS, fall_causes

METRICS = ("episode_return", "episode_length", "velocity_error", *(f"end_{c}" for c in ENDS))
"""Columns of `StepResult.metrics`."""
HEIGHT_TIME = 1.0
"""Time constant of the average of the root's height that `base_height_variance` is about [s]."""


@dataclass(frozen=True)
class StepResult:
    """Result of a control step, before any reset."""

    observations: dict[str, Tensor]
    """(E, ...): see `observations`; and `rsi_index` (E, 1), `UNDER_WAY` everywhere."""
    terms: Tensor
    """(E, K): weighted reward terms, in the order of `reward.weights`."""
    reward: Tensor
    """(E,): their sum."""
    metrics: Tensor
    """(E, 9): see `METRICS`; `end_<cause>` is 1 where the episode ends by that cause in this step,
    or would do so with `auto_reset`."""
    fallen: Tensor
    """(E,) bool: the robot has fallen or its simulation failed."""
    terminated: Tensor
    """(E,) bool: its episode ends by that."""
    truncated: Tensor
    """(E,) bool: its time is up, or it came to the edge of the ground."""
    done: Tensor
    """(E,) bool: either."""


def reset(
    episode: Episode, mask: Tensor, start: Start, state: PhysicsState, ground: Ground | None = None
) -> Episode:
    """Episodes in which those where `mask` (E,) is set begin anew, in the present `state`."""
    height = above(ground, state.qpos)
    heading = yaw(state.qpos[:, 3:7])
    velocity = turn(state.qvel[:, :3], -heading)[:, 0]
    return replace(
        episode,
        action=torch.where(mask[:, None], start.action, episode.action),
        prev_action=torch.where(mask[:, None], start.action, episode.prev_action),
        command=torch.where(mask[:, None], start.command, episode.command),
        heading=torch.where(mask, heading, episode.heading),
        steps=episode.steps.masked_fill(mask, 0),
        episode_return=episode.episode_return.masked_fill(mask, 0.0),
        air_time=torch.where(mask[:, None], start.air_time, episode.air_time),
        stance_time=episode.stance_time.masked_fill(mask, 0.0),
        mean_velocity=torch.where(mask, velocity, episode.mean_velocity),
        mean_height=torch.where(mask, height, episode.mean_height),
        drift=episode.drift.masked_fill(mask, 0.0),
        push_steps=episode.push_steps.masked_fill(mask, 0),
    )


def reset_and_observe(
    episode: Episode,
    mask: Tensor,
    start: Start,
    state: PhysicsState,
    sensors: SensorState | None = None,
    drawn: dict[str, Tensor] | None = None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    layouts: tuple[Layout, ...],
    ground: Ground | None = None,
) -> tuple[Episode, dict[str, Tensor]]:
    """`reset`, then the `observations` of all simulations and their `rsi_index` (E, 1)."""
    episode = reset(episode, mask, start, state, ground)
    context = observing(measure(state, robot, ground), episode, sensors, drawn, robot, config)
    if config.observation.past:
        # Before an episode the robot has always been where it starts.
        now = frame(context)
        episode = replace(
            episode,
            frames=torch.where(mask[:, None, None], now[:, None], episode.frames),
            frame=torch.where(mask[:, None], now, episode.frame),
        )
        context = replace(context, episode=episode)
    observed = observations(context, layouts)
    rsi_index = start.rsi_index.masked_fill(~mask, UNDER_WAY)
    return episode, observed | {"rsi_index": rsi_index[:, None]}


def observing(
    m: Measurements,
    episode: Episode,
    sensors: SensorState | None,
    drawn: dict[str, Tensor] | None,
    robot: RobotSpec,
    config: LocomotionConfig,
) -> StepContext:
    """What observation fields read."""
    nobody = torch.zeros_like(m.height, dtype=torch.bool)
    return StepContext(m, episode, nobody, robot, config, sensors, drawn or {})


def observations(step: StepContext, layouts: tuple[Layout, ...]) -> dict[str, Tensor]:
    """The style features `amp` (E, F), and what the layouts say, by their names (E, ...)."""
    return {**observe(step, layouts), "amp": style_features(step.m, step.robot)}


def act(
    episode: Episode,
    action: Tensor,
    push_draws: Tensor | None,
    root_quat: Tensor | None = None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
) -> tuple[Episode, Tensor]:
    """Joint targets and pushes of this step.

    Args:
        episode: after the last step.
        action: (E, J) policy output; clipped to [-1, 1].
        push_draws: (3, E), see `push_force`; None in a task without pushes.
        root_quat: (E, 4) orientation before the step; None likewise.
        robot: the robot.
        config: the task.

    Returns:
        The episode with this step's filtered action and push, and position targets (E, J) [rad].
    """
    filtered, ctrl = policy_action_to_ctrl(action, episode.action, robot, config.action)
    push, push_steps = episode.push, episode.push_steps
    if push_draws is not None and root_quat is not None:
        heading = yaw(root_quat)
        push, push_steps = push_force(
            push, push_steps, push_draws, heading, config.push, config.ctrl_dt
        )
    episode = replace(
        episode, action=filtered, prev_action=episode.action, push=push, push_steps=push_steps
    )
    return episode, ctrl


def step(
    episode: Episode,
    state: PhysicsState,
    health: Tensor,
    command_draws: Tensor | None,
    sensors: SensorState | None = None,
    shares: Shares | None = None,
    drawn: dict[str, Tensor] | None = None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    layouts: tuple[Layout, ...],
    factors: Tensor,
    ground: Ground | None = None,
) -> tuple[Episode, StepResult]:
    """Result of a step, and the episode after it.

    A simulation that failed ends here: its values are replaced by 0 so that no NaN gets further.

    Args:
        episode: after `act`.
        state: physics after the step.
        health: (E,) as the engine reports it; anything but 0 is a failure.
        command_draws: (D, E) for commands that are resampled now, see `sample_command`; None
            where commands are held. New commands are observed from the next root on.
        sensors: after the step; None where nothing reads them.
        shares: of the ranges of commands and of the episode's length; None for the whole of them.
        drawn: terms of this episode by name.
        robot: the robot.
        config: the task.
        layouts: of what policy and critic observe.
        factors: (K,), see `term_factors`.
        ground: under the robots; None for the plane z = 0.
    """
    failed = health != 0
    steps = episode.steps + 1
    m = measure(state, robot, ground)
    causes = fall_causes(m, failed, robot, config.termination)
    fallen = causes.any(-1)
    if config.auto_reset:
        terminated = fallen
        truncated = steps >= time_limit(config, shares)
        if ground is not None:
            truncated = truncated | ground.ends_at(state.qpos)
        truncated = truncated & ~terminated
    else:
        terminated, truncated = torch.zeros_like(fallen), torch.zeros_like(fallen)
    velocity = m.linvel_h[:, 0].masked_fill(failed, 0.0)
    episode = replace(
        episode,
        steps=steps,
        heading=episode.heading + config.ctrl_dt * episode.command[:, YAW],
        mean_velocity=averaged_velocity(episode.mean_velocity, velocity, config),
    )
    context = StepContext(m, episode, terminated=terminated, robot=robot, config=config)
    episode = remembered(context, failed)
    context = replace(context, episode=episode)
    terms = _terms(context, factors, failed)
    reward = total(terms)
    velocity_error = (m.linvel_h[:, 0] - episode.command[:, FORWARD]).abs().masked_fill(failed, 0.0)
    following = replace(
        episode,
        episode_return=episode.episode_return + reward,
        air_time=(episode.air_time + config.ctrl_dt) * ~context.loaded,
        stance_time=(episode.stance_time + config.ctrl_dt)
        * (context.loaded.all(-1) & context.walking),
    )
    seen = observing(m, following, sensors, drawn, robot, config)
    if config.observation.past:
        frames = torch.cat([episode.frame[:, None], episode.frames[:, :-1]], dim=1)
        following = replace(following, frames=frames)
        seen = replace(seen, episode=following)
        following = replace(following, frame=frame(seen))
    observed = {
        key: value.masked_fill(failed[:, None], 0.0)
        for key, value in observations(seen, layouts).items()
    }
    dtype = reward.dtype
    numbers = torch.stack([following.episode_return, steps.to(dtype), velocity_error], dim=-1)
    result = StepResult(
        observations=observed | {"rsi_index": torch.full_like(steps, UNDER_WAY)[:, None]},
        terms=terms,
        reward=reward,
        metrics=torch.cat([numbers, causes.to(dtype), truncated[:, None].to(dtype)], dim=-1),
        fallen=fallen,
        terminated=terminated,
        truncated=truncated,
        done=terminated | truncated,
    )
    command = _next_command(episode.command, steps, command_draws, config, shares)
    return replace(following, command=command), result


def _terms(step: StepContext, factors: Tensor, failed: Tensor) -> Tensor:
    """Weighted terms (E, K); of a simulation that failed all but `termination` are 0.

    It pays for its end as a fall does; its other terms mean nothing.
    """
    terms = weighted_terms(step, factors)
    end = list(vars(step.config.reward.weights)).index("termination")
    kept = terms[:, end].clone()
    terms = terms.masked_fill(failed[:, None], 0.0)
    terms[:, end] = kept
    return terms


def averaged_velocity(mean: Tensor, velocity: Tensor, config: LocomotionConfig) -> Tensor:
    """(E,) [m/s]: exponential average of `velocity` (E,) over `reward.tracking_time`.

    A walking robot's root is slower over its stance foot and faster between the feet; the command
    is its speed over strides.
    """
    if config.reward.tracking_time == 0.0:
        return velocity
    return velocity + math.exp(-config.ctrl_dt / config.reward.tracking_time) * (mean - velocity)


def remembered(step: StepContext, failed: Tensor) -> Episode:
    """The episode with what reward terms remember of it; only what has a weight is computed."""
    episode, weights = step.episode, vars(step.config.reward.weights)
    if weights["base_height_variance"]:
        height = torch.where(failed, episode.mean_height, step.m.height)
        kept = math.exp(-step.config.ctrl_dt / HEIGHT_TIME)
        episode = replace(episode, mean_height=height + kept * (episode.mean_height - height))
    if weights["xy_drift"]:
        off, (forward, left, _) = step.heading_error, step.m.linvel_h.unbind(-1)
        sideways = forward * off.sin() + left * off.cos() - episode.command[:, LATERAL]
        moved = step.config.ctrl_dt * sideways.masked_fill(failed, 0.0)
        episode = replace(episode, drift=episode.drift + moved)
    return episode


def time_limit(config: LocomotionConfig, shares: Shares | None) -> Tensor | int:
    """Control steps after which an episode is truncated."""
    if shares is None:
        return config.episode_steps
    return (shares.episode_length * config.episode_steps).round().long()


def _next_command(
    command: Tensor,
    steps: Tensor,
    draws: Tensor | None,
    config: LocomotionConfig,
    shares: Shares | None,
) -> Tensor:
    if draws is None:
        return command
    interval = round(config.command.resample_s / config.ctrl_dt)
    due = (steps % interval)[:, None] == 0
    return torch.where(due, sample_command(draws, config.command, shares), command)
