"""Evidence of a policy as it acts: a few robots, ten seconds, at the commands of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.faults import FaultConfig
from envs.reality.lint import require_effects
from envs.reality.randomization import RandomizationConfig
from envs.recorder import PolicyFunction, record, zero_policy
from envs.recording import Recording
from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from envs.task.commands import FORWARD, sample_command
from envs.task.observations import HISTORY
from envs.task.terminations import ENDS
from wildrobot_torch.amp.opinion import CheckpointPrior
from wildrobot_torch.evaluation.measures import Walks
from wildrobot_torch.ppo.policy_file import LoadedPolicy
from wildrobot_torch.training.health.why.evidence import Acts, Input

SETTLE_S = 1.0
"""Start of an episode that motion is not measured in [s]."""
MEASURED_S = 2.0
"""Motion of less than this says nothing [s]: a fall is fast."""
NUM_DRAWN = 4096
"""Commands drawn to see what the task commands."""
NUM_MOMENTS = 2048
"""Moments at which inputs are exchanged."""
AT_LIMIT = 0.99
"""An action of at least this size is at its limit."""
STILL = 1e-6
"""A value of the observation that varies less than this never changes."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """In what robots are looked at."""

    robots: int = 32
    """Robots side by side."""
    seconds: float = 10.0
    """Length of an episode [s]; more than `SETTLE_S` + `MEASURED_S`."""
    physics: str = "native"
    """Name of the engine."""
    seed: int = 0
    """Of commands, start noise, robots and pushes."""


def drawn_commands(task: LocomotionConfig, number: int, seed: int) -> Tensor:
    """Commands (number, 3) as the task draws them, each of its random numbers evenly spread."""
    generator = torch.Generator().manual_seed(seed)
    middles = (torch.arange(number) + 0.5) / number
    rows = [
        middles[torch.randperm(number, generator=generator)] for _ in range(task.command.num_draws)
    ]
    return sample_command(torch.stack(rows), task.command)


def without_idle(task: LocomotionConfig) -> tuple[LocomotionConfig, str | None]:
    """The task without randomisation and faults, and why, if some of them would change nothing."""
    loaded = load_robot(task.robot, task.terrain, task.sim_dt)
    try:
        require_effects(task, loaded.robot, loaded.model)
    except UserError as error:
        bare = replace(task, randomization=RandomizationConfig(), faults=FaultConfig())
        return bare, str(error)
    return task, None


def acting(
    policy: LoadedPolicy, task: LocomotionConfig, commands: Tensor, trial: Trial
) -> tuple[Recording, Acts, list[Input]]:
    """What a policy does in its task at commands (E, 3), and what it reads of its observation.

    Raises:
        UserError: it observes something else than the task says, or is for another robot.
    """
    env = _environment(task, len(commands), trial)
    policy.require(env.layouts["observation"], env.robot.digest)
    seen: list[Tensor] = []

    def watched(observation: Tensor) -> Tensor:
        seen.append(observation.cpu().clone())
        return policy(observation)

    recording, acts = _run(watched, env, commands)
    moments = torch.stack(seen)[recording.valid[: len(seen)]]
    return recording, acts, inputs_of(policy, moments, commands, trial.seed)


def ideal(task: LocomotionConfig, walker: LoadedPolicy) -> LocomotionConfig:
    """The task's commands, reward and ends in the world that the shipped walk was trained in."""
    world = walker.task
    return replace(
        world,
        command=task.command,
        reward=task.reward,
        termination=task.termination,
    )


def in_ideal_world(
    task: LocomotionConfig, commands: Tensor, walker: LoadedPolicy | None, trial: Trial
) -> tuple[Recording, Acts]:
    """What the shipped walk does at commands (E, 3) in a task; without a walker, home hold."""
    env = _environment(task, len(commands), trial)
    act: PolicyFunction = zero_policy(env.robot.num_joints)
    if walker is not None:
        walker.require(env.layouts["observation"], env.robot.digest)
        act = walker
    return _run(act, env, commands)


def with_style(
    acts: Acts, recording: Recording, prior: CheckpointPrior | None, weight: float
) -> Acts:
    """What was done, with what a motion prior of this weight pays for it."""
    settled = recording.settled(SETTLE_S)
    if prior is None or not weight or not bool(settled.any()):
        return acts
    style = weight * prior.style_reward(recording.amp, settled)["mean"]
    return replace(acts, terms={**acts.terms, "style": style})


def _environment(task: LocomotionConfig, num_envs: int, trial: Trial) -> LocomotionEnv:
    task = replace(task, episode_length_s=trial.seconds, support=None, auto_reset=True)
    # One thread: beside a training, which has the other cores, several would wait for each other.
    return LocomotionEnv(task, num_envs, physics=trial.physics, num_threads=1, seed=trial.seed)


def _run(policy: PolicyFunction, env: LocomotionEnv, commands: Tensor) -> tuple[Recording, Acts]:
    earned: list[Tensor] = []

    def watch(following: TensorDict) -> None:
        terms = following["terms"]
        earned.append(torch.cat([terms[name] for name in env.term_names], dim=-1).cpu())

    steps = env.config.episode_steps
    recording = record(policy, env, commands, steps, watch=watch).to("cpu")
    terms = torch.stack(earned)[recording.valid[: len(earned)]].double().mean(0)
    names = zip(env.term_names, terms.tolist(), strict=True)
    # Saturated is a torque at the limit of the servo that is simulated.
    robot = env.robot.to("cpu")
    robot = replace(robot, servo=replace(robot.servo, model=env.servo))
    return recording, measured(recording, robot, commands, dict(names))


def measured(
    recording: Recording, robot: RobotSpec, commands: Tensor, terms: dict[str, float]
) -> Acts:
    """What recorded robots did at commands (E, 3), and earned."""
    walks = Walks(recording, robot, SETTLE_S)
    valid, joints = recording.valid, robot.joint_names
    assert recording.action is not None and recording.end_cause is not None
    limit = (recording.action.abs() >= AT_LIMIT)[valid].double().mean(0)
    saturated = walks.saturated[valid].double().mean(0)
    single = recording.loaded(robot).sum(-1) == 1
    ends = recording.end_cause.bincount(minlength=len(ENDS)).tolist()
    velocities = torch.stack([walks.mean(x) for x in walks.velocities.unbind(-1)], dim=-1)
    short = walks.counted.sum(0) * recording.ctrl_dt < MEASURED_S
    return Acts(
        commands=commands.double(),
        velocities=velocities.masked_fill(short[:, None], torch.nan),
        lasted=valid.sum(0) * recording.ctrl_dt,
        ends=dict(zip(ENDS, ends, strict=True)),
        swinging=float(single[walks.counted].double().mean()),
        saturation=dict(zip(joints, saturated.tolist(), strict=True)),
        at_limit=dict(zip(joints, limit.tolist(), strict=True)),
        terms=terms,
    )


def inputs_of(policy: LoadedPolicy, moments: Tensor, commands: Tensor, seed: int) -> list[Input]:
    """The fields of a policy's observation, as it was at M moments (M, O).

    The effect of a field is what the action changes by when the field is that of another moment,
    drawn at random: permutation importance (Breiman 2001) of the action itself.
    """
    if len(moments) < 2:
        return []  # all simulations failed at once
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(moments), generator=generator)[:NUM_MOMENTS]
    other = moments[chosen[torch.randperm(len(chosen), generator=generator)]]
    now = moments[chosen]
    action = policy(now)
    variation = float((action - action.mean(0)).square().mean().sqrt())
    still = (moments.amax(0) - moments.amin(0)) < STILL
    columns: dict[str, list[int]] = {}
    for name, where in policy.layout.slices.items():
        columns.setdefault(name.removesuffix(HISTORY), []).extend(range(where.start, where.stop))
    found = []
    for name, mine in columns.items():
        changed = now.clone()
        changed[:, mine] = other[:, mine]
        change = float((policy(changed) - action).square().mean().sqrt())
        expected = _never_commanded(name, mine, commands)
        constant = sum(bool(still[i]) for i in mine if i not in expected)
        effect = change / variation if variation > 1e-9 else 0.0
        found.append(Input(name=name, size=len(mine), constant=constant, effect=effect))
    return found


def _never_commanded(name: str, columns: Sequence[int], commands: Tensor) -> set[int]:
    """Columns of a field of commands that are constant because the task commands one value."""
    alike = [bool((column == column[0]).all()) for column in commands.unbind(-1)]
    if name == "velocity_command":
        alike = [alike[FORWARD]]
    elif name != "command":
        return set()
    return {column for column, same in zip(columns, alike, strict=True) if same}
