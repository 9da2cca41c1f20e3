"""Tests of wildrobot_torch/amp/micro_training.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.amp.micro_training import micro_train
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.verify.finding import PASS


def dataset(robot: RobotSpec, amp: Tensor) -> ReferenceDataset:
    """Frames (64, 100, F) as 64 segments."""
    count = amp.shape[0] * amp.shape[1]
    return ReferenceDataset(
        amp=amp.flatten(0, 1),
        qpos=torch.zeros(count, 15),
        qvel=torch.zeros(count, 14),
        foot_force=torch.zeros(count, 2),
        support_wrench=torch.zeros(count, 6),
        segment_start=torch.arange(64) * 100,
        segment_length=torch.full((64,), 100),
        segment_weight=torch.ones(64),
        segment_velocity=torch.zeros(64),
        segment_clip=tuple(f"clip_{i}" for i in range(64)),
        segment_tier=("0",) * 64,
        segment_support=("none",) * 64,
        ctrl_dt=0.02,
        amp_layout=amp_layout(robot),
        robot_digest=robot.digest,
        manifest={},
    )


def test_a_reference_unlike_a_random_policy_is_learned_and_its_like_is_not(
    robot: RobotSpec,
) -> None:
    generator = torch.Generator().manual_seed(0)
    size = amp_layout(robot).size
    random = torch.randn(64, 100, 2, size, generator=generator)
    alike = torch.randn(64, 100, size, generator=generator)
    real = {f.name: f for f in micro_train(dataset(robot, alike + 1.0), random, seed=0)}
    assert {f.status for f in real.values()} == {PASS}
    learned = real["accuracy, policy's windows not trained on"].value
    assert learned is not None and learned > 0.9
    imitation = {f.name: f for f in micro_train(dataset(robot, alike), random, seed=0)}
    assert imitation["accuracy, policy's windows not trained on"].value == pytest.approx(
        0.5, abs=0.1
    )
