"""Checkpoints as a training writes them, of a policy with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.observations import observation_layout
from envs.robot import RobotSpec
from envs.task import LocomotionConfig
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Policy

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def policy() -> Policy:
    """A policy whose actions differ from zero and whose normaliser has seen data."""
    policy = Policy(39, 8, hidden=(32, 32))
    with torch.no_grad():
        for parameter in policy.net.parameters():
            parameter.normal_(0.0, 0.3)
    policy.normalizer.update(torch.randn(200, 39) * torch.linspace(0.1, 5.0, 39) + 2.0)
    return policy


@pytest.fixture
def make_checkpoint(tmp_path: Path, robot: RobotSpec, policy: Policy) -> MakeCheckpoint:
    """Writes a checkpoint of `policy`; keywords replace entries of its description."""

    def make(**changes: Any) -> Path:
        task = LocomotionConfig()
        about = {
            "observation_layout": observation_layout(robot, task.observation).to_dict(),
            "robot_digest": robot.digest,
            "env_config": asdict(task),
            "env_steps": 12345,
            "metrics": {"score": 0.5},
        }
        path = tmp_path / "checkpoints" / "last.ckpt"
        path.parent.mkdir(exist_ok=True)
        weights = {f"{WEIGHTS_PREFIX}{name}": value for name, value in policy.state_dict().items()}
        weights["critic.net.0.weight"] = torch.zeros(3, 3)
        torch.save(
            {"state_dict": weights, "actor": policy.hparams, "wildrobot": about | changes}, path
        )
        return path

    return make
