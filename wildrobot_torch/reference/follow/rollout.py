"""Clip-following rollouts: clips become joint targets, the environment becomes motion.

The state is set once; after that physics alone moves the robot. `force` is the exception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.physics.base import require_capacities
from envs.recorder import record_step, stacked
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.feedforward import position_targets
from wildrobot_torch.reference.follow.balance import BalanceConfig, balance_offsets


@dataclass(frozen=True)
class Task:
    """One rollout: a clip at the control rate, followed from one of its frames to its end."""

    clip: Clip
    start: int
    command: float | None = None
    """[m/s]: velocity asked of a policy, whose own motion is the clip; None for other clips."""

    @property
    def num_steps(self) -> int:
        """Control steps to the clip's last frame."""
        return self.clip.num_frames - 1 - self.start


@dataclass(frozen=True)
class Goal:
    """What all rollouts are to reach in one step: the next state of their clips."""

    step: int
    """Steps taken before."""
    qpos: Tensor
    """(E, nq)."""
    qvel: Tensor
    """(E, nv)."""


Method = Literal["tracker", "harness", "policy", "forced"]
"""How the motion was made.

tracker: a tracking policy follows the clip. harness: balance feedback and a support follow it.
policy: a policy walks at a command. forced: the state is set to the clip's before every step
(teacher forcing), which diagnoses the clip and is no motion of the robot.
"""
DIAGNOSTIC_TIER = "2"
"""The best tier of forced motion."""

Correction = Callable[[LocomotionEnv, Measurements, Goal], Tensor]
"""What is added to the clips' joints (E, J) [rad] so that the robot does the motion."""


@dataclass(frozen=True)
class Rollout:
    """What the robot did, up to the step before the first one in which it had fallen.

    On the CPU, whatever engine simulated it.
    """

    task: Task
    recording: Recording
    """One episode of T steps, (T, 1, ...)."""
    method: Method

    @classmethod
    def of(
        cls, task: Task, recording: Recording, index: int, length: int, method: Method
    ) -> Rollout:
        """The rollout of a task: `length` steps of episode `index` of a recording."""
        return cls(task, recording.select([index]).cut(0, length), method)

    @property
    def num_frames(self) -> int:
        """T."""
        return self.recording.num_steps

    @property
    def survival(self) -> float:
        """Share of the task's steps done before the robot fell."""
        return self.num_frames / self.task.num_steps

    def tier(self, best: str | None) -> str | None:
        """Tier of a stretch of this rollout for which the gates say `best`."""
        return DIAGNOSTIC_TIER if self.method == "forced" and best is not None else best

    def support(self, start: int, stop: int) -> str:
        """What held the robot up in frames start..stop-1: `none`, or `harness` if anything did."""
        wrench = self.recording.support
        held = wrench is not None and bool(wrench[start:stop].any())
        return "harness" if held or self.method == "forced" else "none"


@dataclass(frozen=True)
class _Targets:
    """States of the clips, step by step; E tasks, T steps, short ones hold their last frame.

    On the robot's device.
    """

    qpos: Tensor
    """(E, T + 1, nq)."""
    qvel: Tensor
    """(E, T + 1, nv)."""

    @staticmethod
    def of(tasks: list[Task], robot: RobotSpec) -> _Targets:
        steps = max(task.num_steps for task in tasks)
        states: dict[int, tuple[Tensor, Tensor]] = {}
        rows = []
        for task in tasks:
            if id(task.clip) not in states:
                states[id(task.clip)] = clip_states(task.clip, robot)
            index = torch.arange(steps + 1).clamp(max=task.num_steps) + task.start
            rows.append([values[index] for values in states[id(task.clip)]])
        device = robot.home_qpos.device
        return _Targets(*(torch.stack(column).to(device) for column in zip(*rows, strict=True)))


def follow(
    env: LocomotionEnv, tasks: list[Task], robot_model: RobotModel, balance: BalanceConfig
) -> list[Rollout]:
    """Rollouts of all tasks, open loop but for the feedback that keeps the robot upright.

    Joints are commanded what their servos need to make the clip, by `position_targets`. Otherwise
    as `perform`.

    Args:
        env: without `auto_reset`, with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        robot_model: with the masses that the servos' needs are computed from.
        balance: gains of the correction to stay upright.
    """
    joints = env.robot.joint_qpos_adr
    clips = {id(task.clip): task.clip for task in tasks}
    targets = {
        key: torch.from_numpy(position_targets(clip, robot_model)).float()
        for key, clip in clips.items()
    }
    steps = torch.arange(max(task.num_steps for task in tasks) + 1)
    servo = torch.stack(
        [targets[id(t.clip)][t.start + steps.clamp(max=t.num_steps)] for t in tasks], dim=1
    ).to(joints.device)

    def correct(env: LocomotionEnv, m: Measurements, goal: Goal) -> Tensor:
        lead = servo[goal.step + 1] - goal.qpos[:, joints]
        return lead + balance_offsets(m, goal.qpos[:, 3:7], goal.qvel[:, :3], env.robot, balance)

    return perform(env, tasks, correct, "harness")


def perform(
    env: LocomotionEnv, tasks: list[Task], correct: Correction, method: Method
) -> list[Rollout]:
    """Rollouts of all tasks at once, one simulation each: set to their first state, then physics.

    Every joint is commanded to its next clip position plus a correction.

    Args:
        env: without `auto_reset`, with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        correct: called once per step.
        method: label of the rollouts; with "forced" the state is set before every step.

    Raises:
        ValueError: number of simulations and tasks differ, or the environment has `auto_reset`.
        PhysicsError: the engine dropped contacts for want of room.
    """
    if env.num_envs != len(tasks) or env.config.auto_reset:
        raise ValueError(
            f"{len(tasks)} clip rollouts need an environment of as many simulations "
            f"without auto_reset; this one has {env.num_envs}, auto_reset {env.config.auto_reset}"
        )
    targets = _Targets.of(tasks, env.robot)
    joints = env.robot.joint_qpos_adr
    everyone = torch.ones(env.num_envs, dtype=torch.bool, device=joints.device)
    steps: list[dict[str, Tensor]] = []
    fallen: list[Tensor] = []
    for step in range(1, targets.qpos.shape[1]):
        if step == 1 or method == "forced":
            env.set_state(everyone, targets.qpos[:, step - 1], targets.qvel[:, step - 1])
        qpos, qvel = targets.qpos[:, step], targets.qvel[:, step]
        if env.config.support is not None:
            env.set_support_targets(qpos[:, 2], qpos[:, 3:7])
        offset = correct(env, env.measure(), Goal(step - 1, qpos, qvel))
        action = env.joint_targets_to_action(qpos[:, joints] + offset)
        following = env.step(TensorDict({"action": action}, batch_size=[env.num_envs]))["next"]
        steps.append({**record_step(env, following), "joint_target": qpos[:, joints]})
        fallen.append(following["fallen"][:, 0])
    require_capacities(env.backend)
    standing = ~torch.stack(fallen).int().cummax(0).values.bool()
    recording = Recording(
        ctrl_dt=env.config.ctrl_dt,
        command=torch.tensor([task.clip.mean_speed for task in tasks]),
        valid=standing,
        terminated=~standing[-1],
        **stacked(steps),
    ).to("cpu")
    return [
        Rollout.of(task, recording, i, int(recording.valid[: task.num_steps, i].sum()), method)
        for i, task in enumerate(tasks)
    ]


def force(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
    """Teacher-forced rollouts: the state is set to the clip's before every step.

    Each frame is one control step of physics away from the clip and shows what the clip asks of the
    floor. No gate sees what puts the robot back, so the tier is `DIAGNOSTIC_TIER` at best.
    Otherwise as `perform`.
    """
    return perform(env, tasks, lambda env, m, goal: torch.zeros_like(m.joint_pos), "forced")
