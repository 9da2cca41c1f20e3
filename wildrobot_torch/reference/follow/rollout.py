"""Clip-following rollouts: clips become joint targets, the environment becomes motion.

The state is set once; after that physics alone moves the robot. `force` is the exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.physics.base import require_capacities
from envs.reality.servo import ServoConfig
from envs.recorder import record_step, stacked
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.task.actions import ActionConfig
from envs.task.observations import ObservationConfig
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.feedforward import position_targets
from wildrobot_torch.reference.follow.balance import BalanceConfig, balance_offsets

Method = Literal["tracker", "harness", "policy", "forced"]
"""How the motion was made.

tracker: a tracking policy follows the clip. harness: balance feedback and a support follow it.
policy: a policy walks at a command. forced: the state is set to the clip's before every step
(teacher forcing), which diagnoses the clip and is no motion of the robot.
"""
DIAGNOSTIC_TIER = "2"
"""The best tier of forced motion."""
IDEAL_SERVO = ServoConfig(model="ideal")


@dataclass(frozen=True)
class Task:
    """One rollout: a clip at the control rate, followed from one of its frames to its end."""

    clip: Clip
    first_frame: int
    command: float | None = None
    """[m/s]: velocity asked of a policy, whose own motion is the clip; None for other clips."""

    @property
    def num_steps(self) -> int:
        """Control steps to the clip's last frame."""
        return self.clip.num_frames - 1 - self.first_frame


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

    def support(self, start: int, stop: int) -> str:
        """What held the robot up in frames start..stop-1: `none`, or `harness` if anything did."""
        wrench = self.recording.support
        held = wrench is not None and bool(wrench[start:stop].any())
        return "harness" if held or self.method == "forced" else "none"


def clip_env(
    num_envs: int,
    *,
    servo: ServoConfig = IDEAL_SERVO,
    physics: str = "native",
    seed: int = 0,
    **task: Any,
) -> LocomotionEnv:
    """The environment that clips are followed in: every joint angle within an action's reach.

    What follows them is no policy for a robot: it observes the true state, and has an ideal servo
    unless `servo` is given. `task` are other settings of `LocomotionConfig`: support, and pushes by
    `seed`.
    """
    config = LocomotionConfig(
        action=ActionConfig(mapping="full_range", filter=0.0),
        observation=ObservationConfig(profile="simulator"),
        servo=servo,
        auto_reset=False,
        **task,
    )
    return LocomotionEnv(config, num_envs, physics=physics, seed=seed)


def of_tasks(tasks: Sequence[Task], values: Callable[[Clip], Tensor]) -> Tensor:
    """Values (T + 1, E, ...) of the clips of E tasks, step by step; short tasks hold their last.

    `values` gives those of all frames of a clip (N, ...). T is the number of steps of the longest.
    """
    steps = torch.arange(max(task.num_steps for task in tasks) + 1)
    made = {id(task.clip): task.clip for task in tasks}
    frames = {key: values(clip) for key, clip in made.items()}
    rows = [frames[id(t.clip)][t.first_frame + steps.clamp(max=t.num_steps)] for t in tasks]
    return torch.stack(rows, dim=1)


Correction = Callable[[Measurements, int, Tensor, Tensor], Tensor]
"""What is added to the joints of the clips (E, J) [rad] in a step, so that the robot does the
motion: from the robots' measurements, the number of steps taken before, and the states qpos (E, nq)
and qvel (E, nv) that the clips reach in the step."""


def follow(
    env: LocomotionEnv, tasks: list[Task], robot_model: RobotModel, balance: BalanceConfig
) -> list[Rollout]:
    """Rollouts of all tasks, open loop but for the feedback that keeps the robot upright.

    Joints are commanded what their servos need to make the clip, by `position_targets`, plus the
    correction to stay upright. Otherwise as `perform`.
    """
    joints = env.robot.joint_qpos_adr
    servo = of_tasks(
        tasks, lambda clip: torch.from_numpy(position_targets(clip, robot_model)).float()
    ).to(joints.device)

    def correct(m: Measurements, step: int, qpos: Tensor, qvel: Tensor) -> Tensor:
        lead = servo[step + 1] - qpos[:, joints]
        return lead + balance_offsets(m, qpos[:, 3:7], qvel[:, :3], env.robot, balance)

    return perform(env, tasks, correct, "harness")


def force(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
    """Teacher-forced rollouts: the state is set to the clip's before every step.

    Each frame is one control step of physics away from the clip and shows what the clip asks of the
    floor. No gate sees what puts the robot back, so the tier is `DIAGNOSTIC_TIER` at best.
    Otherwise as `perform`.
    """
    return perform(env, tasks, lambda m, *_: torch.zeros_like(m.joint_pos), "forced")


def perform(
    env: LocomotionEnv, tasks: list[Task], correct: Correction, method: Method
) -> list[Rollout]:
    """Rollouts of all tasks at once, one simulation each: set to their first state, then physics.

    Every joint is commanded to its next clip position plus a correction.

    Args:
        env: a `clip_env` with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        correct: called once per step.
        method: label of the rollouts; with "forced" the state is set before every step.

    Raises:
        PhysicsError: the engine dropped contacts for want of room.
    """
    assert not env.config.auto_reset, "a robot that fell would be put back and go on"
    robot, joints = env.robot, env.robot.joint_qpos_adr
    states = of_tasks(tasks, lambda clip: torch.cat(clip_states(clip, robot), dim=-1))
    states = states.to(joints.device)
    qpos, qvel = states.split([env.backend.model.nq, env.backend.model.nv], dim=-1)
    everyone = torch.ones(env.num_envs, dtype=torch.bool, device=joints.device)
    steps: list[dict[str, Tensor]] = []
    fallen: list[Tensor] = []
    for step in range(len(states) - 1):
        if step == 0 or method == "forced":
            env.set_state(everyone, qpos[step], qvel[step])
        goal = qpos[step + 1]
        if env.config.support is not None:
            env.set_support_targets(goal[:, 2], goal[:, 3:7])
        offset = correct(env.measure(), step, goal, qvel[step + 1])
        action = env.joint_targets_to_action(goal[:, joints] + offset)
        following = env.step(TensorDict({"action": action}, batch_size=[env.num_envs]))["next"]
        steps.append({**record_step(env, following), "joint_target": goal[:, joints]})
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
