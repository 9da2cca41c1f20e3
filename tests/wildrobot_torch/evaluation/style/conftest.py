"""A small reference: six built-in walks, played without physics."""

from __future__ import annotations

import mujoco
import pytest
import torch

from envs.physics.base import PhysicsState
from envs.robot.model import RobotModel
from envs.task.features import amp_features, amp_layout
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.dataset import ReferenceDataset

SPEEDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)


@pytest.fixture(scope="session")
def walks(robot_model: RobotModel) -> ReferenceDataset:
    """`small_reference`."""
    return small_reference(robot_model)


def small_reference(robot_model: RobotModel) -> ReferenceDataset:
    """5 s of each of `SPEEDS` [m/s] at 50 Hz; a foot at most 1 mm over the other carries half."""
    robot, model = robot_model.robot, robot_model.model
    data = mujoco.MjData(model)
    parts: list[tuple[torch.Tensor, ...]] = []
    for speed in SPEEDS:
        qpos, qvel = clip_states(walking_clip(robot, speed, 5.0, 50.0), robot)
        rows = []
        for position, velocity in zip(qpos.double().numpy(), qvel.double().numpy(), strict=True):
            data.qpos[:], data.qvel[:] = position, velocity
            mujoco.mj_forward(model, data)
            rows.append(torch.from_numpy(data.sensordata.copy()).float())
        sensed = torch.stack(rows)
        sole_height = sensed[:, robot.sensor_columns["sole_pos"]][:, [2, 5]]
        lowest = sole_height.amin(1, keepdim=True)
        force = 0.5 * robot.weight * (sole_height < lowest + 0.001)
        amp = amp_features(PhysicsState(qpos.float(), qvel.float(), sensed), robot)
        parts.append((amp, qpos.float(), qvel.float(), force))
    amp, qpos, qvel, force = (torch.cat(values) for values in zip(*parts, strict=True))
    length = torch.tensor([len(part[0]) for part in parts])
    return ReferenceDataset(
        amp=amp,
        qpos=qpos,
        qvel=qvel,
        foot_force=force,
        support_wrench=torch.zeros(len(amp), 6),
        segment_start=length.cumsum(0) - length,
        segment_length=length,
        segment_weight=torch.ones(len(parts)),
        segment_velocity=torch.tensor(SPEEDS),
        segment_clip=tuple(f"walk_{speed:.2f}" for speed in SPEEDS),
        segment_tier=("0+",) * len(parts),
        segment_support=("none",) * len(parts),
        ctrl_dt=0.02,
        amp_layout=amp_layout(robot),
        robot_digest=robot.digest,
        manifest={},
    )
