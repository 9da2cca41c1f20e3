"""Motions that are wrong in a known way, made from the reference: a metric has to see them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from envs.layout import Layout
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style.motion import SOLE, leg_points

JITTER = 0.03
"""Standard deviation of the noise on joint angles [rad], new at every step."""
AMPLITUDE = 0.7
"""Share of each joint's excursion from its mean that is left."""


def reversed_in_time(recording: Recording, robot: RobotSpec, layout: Layout) -> Recording:
    """The recording run backwards: every pose is a reference's, velocities point the other way."""
    back = recording.map_steps(lambda x: _flipped(x, recording.valid))
    parts = dict(layout.unpack(back.amp))
    for name in ("linvel", "angvel", "joint_vel"):
        parts[name] = -parts[name]
    return replace(
        back, qvel=-back.qvel, sole_linvel_w=-back.sole_linvel_w, amp=layout.pack(**parts)
    )


def _flipped(values: Tensor, valid: Tensor) -> Tensor:
    """Values (T, E, ...) with the valid steps of each stretch, its first ones, turned round."""
    steps = torch.arange(len(values))[:, None]
    last = valid.sum(0) - 1
    source = torch.where(valid, last - steps, steps)
    return values[source, torch.arange(values.shape[1])]


def jittered(recording: Recording, robot: RobotSpec, layout: Layout) -> Recording:
    """The recording with white noise of `JITTER` on joint angles; velocities and soles with it."""
    noise = JITTER * torch.randn(
        recording.amp.shape[0], recording.num_episodes, robot.num_joints,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    (rate,) = torch.gradient(noise, spacing=recording.ctrl_dt, dim=0)
    return _moved(recording, noise, rate, robot, layout)


def damped(recording: Recording, robot: RobotSpec, layout: Layout) -> Recording:
    """The recording with joints that go `AMPLITUDE` of their way: a shuffle at the same tempo."""
    joint_pos, joint_vel = recording.joint_pos(robot), recording.joint_vel(robot)
    weight = recording.valid[..., None].float()
    mean = (weight * joint_pos).sum(0) / weight.sum(0)
    less = AMPLITUDE - 1.0
    return _moved(recording, less * (joint_pos - mean), less * joint_vel, robot, layout)


def _moved(
    recording: Recording, joint_pos: Tensor, joint_vel: Tensor, robot: RobotSpec, layout: Layout
) -> Recording:
    """The recording with something added to joint angles and velocities, features with them."""
    qpos, qvel = recording.qpos.clone(), recording.qvel.clone()
    qpos[..., robot.joint_qpos_adr] += joint_pos
    qvel[..., robot.joint_qvel_adr] += joint_vel
    parts = dict(layout.unpack(recording.amp))
    parts["joint_pos"] = qpos[..., robot.joint_qpos_adr]
    parts["joint_vel"] = qvel[..., robot.joint_qvel_adr]
    parts["sole_pos"] = leg_points(qpos, robot)[..., SOLE, :].flatten(-2)
    return replace(recording, qpos=qpos, qvel=qvel, amp=layout.pack(**parts))


CONTROLS = {"reversed": reversed_in_time, "jittered": jittered, "damped": damped}
"""Makers of negative controls by name."""
