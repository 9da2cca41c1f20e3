"""Clip-following rollouts: clips become joint targets, the environment becomes motion.

The state is set once, then there is physics and nothing else. `force` is the exception: it puts the
robot back on its clip before every step, to show what a clip asks of the floor. What it measures
was not done by the robot, so it is labelled, and no gate can make it more than a diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.frames import quat_rotate
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.physics.base import PhysicsState, require_capacities
from envs.robot.model import RobotModel
from envs.robot.spec import FEET, RobotSpec
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.feedforward import position_targets
from wildrobot_torch.reference.follow.balance import BalanceConfig, balance_offsets
from wildrobot_torch.reference.judge.metrics import Frames


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


Mode = Literal["physics", "teacher_forced"]
"""physics: the state is set once; teacher_forced: the clip's is set anew in every step."""
DIAGNOSTIC_TIER = "2"
"""The best tier of motion that was forced upon the robot."""

Correction = Callable[[LocomotionEnv, Measurements, Goal], Tensor]
"""What is added to the clips' joints (E, J) [rad] so that the robot does the motion."""


@dataclass(frozen=True)
class Rollout:
    """What the robot did; T frames, ending before the first one in which it had fallen.

    On the CPU, whatever engine simulated it.
    """

    task: Task
    frames: Frames
    amp: Tensor
    """(T, F): the environment's style features."""
    qpos: Tensor
    """(T, nq)."""
    qvel: Tensor
    """(T, nv)."""
    mode: Mode = "physics"
    """What moved the robot."""

    @property
    def survival(self) -> float:
        """Share of the task's steps done before the robot fell."""
        return self.frames.num_frames / self.task.num_steps

    def tier(self, best: str | None) -> str | None:
        """Tier of a stretch of this rollout for which the gates say `best`."""
        forced = self.mode == "teacher_forced" and best is not None
        return DIAGNOSTIC_TIER if forced else best

    def support(self, start: int, stop: int) -> str:
        """What held the robot up in frames start..stop-1: `none`, or `harness` if anything did."""
        frames = self.frames.cut(start, stop)
        held = bool(frames.harness_force.any()) or bool(frames.harness_torque.any())
        return "harness" if held or self.mode == "teacher_forced" else "none"


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
        env: in harness mode, with as many simulations as tasks.
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

    return perform(env, tasks, correct)


def perform(env: LocomotionEnv, tasks: list[Task], correct: Correction) -> list[Rollout]:
    """Rollouts of all tasks at once, one simulation each: set to their first state, then physics.

    Every joint is commanded to its next clip position plus a correction.

    Args:
        env: in harness mode, with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        correct: called once per step.

    Raises:
        ValueError: number of simulations and tasks differ, or the environment has no harness.
        PhysicsError: the engine dropped contacts for want of room.
    """
    return _roll(env, tasks, correct, "physics")


def force(env: LocomotionEnv, tasks: list[Task]) -> list[Rollout]:
    """Teacher-forced rollouts: before every step the robot is put where its clip is.

    So each frame is one control step of physics away from the clip. A diagnosis, of tier
    `DIAGNOSTIC_TIER` at best: what puts the robot back is a hand that no gate sees. Otherwise as
    `perform`.
    """
    return _roll(env, tasks, lambda env, m, goal: torch.zeros_like(m.joint_pos), "teacher_forced")


def _roll(env: LocomotionEnv, tasks: list[Task], correct: Correction, mode: Mode) -> list[Rollout]:
    if env.num_envs != len(tasks) or env.config.harness is None:
        raise ValueError(
            f"{len(tasks)} clip rollouts need an environment of as many simulations in harness "
            f"mode; this one has {env.num_envs}, harness {env.config.harness}"
        )
    targets = _Targets.of(tasks, env.robot)
    joints = env.robot.joint_qpos_adr
    everyone = torch.ones(env.num_envs, dtype=torch.bool, device=joints.device)
    recorded: list[dict[str, Tensor]] = []
    for step in range(1, targets.qpos.shape[1]):
        if step == 1 or mode == "teacher_forced":
            env.set_state(everyone, targets.qpos[:, step - 1], targets.qvel[:, step - 1])
        qpos, qvel = targets.qpos[:, step], targets.qvel[:, step]
        env.set_harness_targets(qpos[:, 2], qpos[:, 3:7])
        offset = correct(env, env.measure(), Goal(step - 1, qpos, qvel))
        action = env.joint_targets_to_action(qpos[:, joints] + offset)
        result = env.step(TensorDict({"action": action}, batch_size=[env.num_envs]))
        recorded.append({**record_step(env, result["next"]), "joint_target": qpos[:, joints]})
    require_capacities(env.backend)
    series = {name: torch.stack([r[name] for r in recorded], dim=1).cpu() for name in recorded[0]}
    return [cut_rollout(task, i, series, env.config.ctrl_dt, mode) for i, task in enumerate(tasks)]


def record_step(env: LocomotionEnv, following: TensorDict) -> dict[str, Tensor]:
    """Everything one step leaves behind (E, ...), in memory of its own.

    Args:
        env: after the step, in harness mode.
        following: what the step returned as next.
    """
    state = env.backend.state().clone()
    m = env.measure()
    return {
        "root_pos_w": state.qpos[:, :3],
        "root_linvel_h": m.linvel_h,
        "roll": m.roll,
        "pitch": m.pitch,
        "yaw": m.yaw,
        "yaw_rate": quat_rotate(state.qpos[:, 3:7], m.angvel_b)[:, 2],
        "com_height": state.sensordata[:, env.robot.sensors["com_pos"]][:, 2],
        "joint_pos": m.joint_pos,
        "joint_vel": m.joint_vel,
        "torque": m.torque,
        "foot_force": m.foot_force,
        "foot_pos_w": m.sole_pos_w,
        "foot_linvel_w": m.sole_linvel_w,
        "sole_height": lowest_sole_points(state, m.sole_pos_w, env.robot),
        "harness_force": env.support.mean[:, :3],
        "harness_torque": env.support.mean[:, 3:],
        "harness_saturated": env.support.saturated,
        "amp": following["amp"],
        "qpos": state.qpos,
        "qvel": state.qvel,
        "fallen": following["fallen"][:, 0],
    }


def lowest_sole_points(state: PhysicsState, sole_pos_w: Tensor, robot: RobotSpec) -> Tensor:
    """Height of each sole's lowest corner (E, 2) [m], from the sole centres (E, 2, 3)."""
    leg, half = robot.leg, robot.leg.sole_width / 2
    corners = torch.tensor(
        [[x, y, 0.0] for x in (leg.heel, leg.toe) for y in (-half, half)], device=sole_pos_w.device
    )
    quat = torch.stack([state.sensordata[:, robot.sensors[f"{f}_quat"]] for f in FEET], dim=1)
    shape = (*quat.shape[:2], corners.shape[0])
    turned = quat_rotate(quat[:, :, None].expand(*shape, 4), corners.expand(*shape, 3))
    return sole_pos_w[..., 2] + turned[..., 2].amin(-1)


def cut_rollout(
    task: Task, index: int, series: dict[str, Tensor], ctrl_dt: float, mode: Mode = "physics"
) -> Rollout:
    """The rollout of one task up to its end or a fall, from what was recorded of all.

    Args:
        task: what was done.
        index: of its simulation.
        series: (E, T, ...) what `record_step` gave, and `joint_target` where a clip was followed.
        ctrl_dt: time between frames [s].
        mode: what moved the robot.
    """
    fallen = series["fallen"][index, : task.num_steps]
    length = int(fallen.int().argmax()) if bool(fallen.any()) else task.num_steps
    mine = {name: values[index, :length] for name, values in series.items()}
    outside = {name: mine.pop(name) for name in ("amp", "qpos", "qvel", "fallen")}
    frames = Frames(ctrl_dt, **mine)
    return Rollout(task, frames, outside["amp"], outside["qpos"], outside["qvel"], mode)
