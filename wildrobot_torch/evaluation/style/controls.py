"""Motions that are wrong in a known way, made from the reference: a metric has to see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from envs.layout import Layout
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style.motion import sole_places
from wildrobot_torch.evaluation.trajectory import Trajectory

JITTER = 0.03
"""Standard deviation of the noise on joint angles [rad], new at every step."""
AMPLITUDE = 0.7
"""Share of each joint's excursion from its mean that is left."""


def reversed_in_time(trajectory: Trajectory, robot: RobotSpec, layout: Layout) -> Trajectory:
    """The recording run backwards: every pose is a reference's, velocities point the other way."""
    parts = dict(layout.unpack(_flipped(trajectory.amp, trajectory.valid)))
    for name in ("linvel", "angvel", "joint_vel"):
        parts[name] = -parts[name]
    fields = ("qpos", "qvel", "foot_force", "sole_pos_w", "sole_linvel_w", "torque", "action")
    turned = {name: _flipped(getattr(trajectory, name), trajectory.valid) for name in fields}
    turned["qvel"], turned["sole_linvel_w"] = -turned["qvel"], -turned["sole_linvel_w"]
    return replace(trajectory, **turned, amp=layout.pack(**parts))


def _flipped(values: Tensor, valid: Tensor) -> Tensor:
    """Values (T, E, ...) with the valid steps of each stretch, its first ones, turned round."""
    steps = torch.arange(len(values))[:, None]
    last = valid.sum(0) - 1
    source = torch.where(valid, last - steps, steps)
    return values[source, torch.arange(values.shape[1])]


def jittered(trajectory: Trajectory, robot: RobotSpec, layout: Layout) -> Trajectory:
    """The recording with white noise of `JITTER` on joint angles; velocities and soles with it."""
    noise = JITTER * torch.randn(
        trajectory.amp.shape[0], trajectory.num_episodes, robot.num_joints,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    (rate,) = torch.gradient(noise, spacing=trajectory.ctrl_dt, dim=0)
    return _moved(trajectory, noise, rate, robot, layout)


def damped(trajectory: Trajectory, robot: RobotSpec, layout: Layout) -> Trajectory:
    """The recording with joints that go `AMPLITUDE` of their way: a shuffle at the same tempo."""
    joint_pos, joint_vel = trajectory.joint_pos(robot), trajectory.joint_vel(robot)
    weight = trajectory.valid[..., None].float()
    mean = (weight * joint_pos).sum(0) / weight.sum(0)
    less = AMPLITUDE - 1.0
    return _moved(trajectory, less * (joint_pos - mean), less * joint_vel, robot, layout)


def _moved(
    trajectory: Trajectory, joint_pos: Tensor, joint_vel: Tensor, robot: RobotSpec, layout: Layout
) -> Trajectory:
    """The recording with something added to joint angles and velocities, features with them."""
    qpos, qvel = trajectory.qpos.clone(), trajectory.qvel.clone()
    qpos[..., robot.joint_qpos_adr] += joint_pos
    qvel[..., robot.joint_qvel_adr] += joint_vel
    parts = dict(layout.unpack(trajectory.amp))
    parts["joint_pos"] = qpos[..., robot.joint_qpos_adr]
    parts["joint_vel"] = qvel[..., robot.joint_qvel_adr]
    parts["sole_pos"] = sole_places(qpos, robot).flatten(-2)
    return replace(trajectory, qpos=qpos, qvel=qvel, amp=layout.pack(**parts))


CONTROLS: dict[str, Callable[[Trajectory, RobotSpec, Layout], Trajectory]] = {
    "reversed": reversed_in_time,
    "jittered": jittered,
    "damped": damped,
}
"""Makers of negative controls by name."""
