"""Fixtures: a perfect walk drawn by hand, and checkpoints with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.config import LocomotionConfig, policy_settings
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.task.observations import observation_layout
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
            "env_config": policy_settings(task),
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


@pytest.fixture
def walking(robot: RobotSpec) -> Callable[..., Recording]:
    """Maker of recordings: 10 s at exactly the commanded speeds, 0.24 s of 0.4 s strides in stance.

    Knees bend by 20 degrees in each stride and soles rise by 40 mm; the foot that stands alone
    carries the weight, two share it. Keyword arguments replace recorded quantities.
    """

    def make(commands: tuple[float, ...] = (0.1, 0.3), **replaced: torch.Tensor) -> Recording:
        steps, num = 500, len(commands)
        command = torch.tensor(commands)
        t = torch.arange(steps)
        phase = torch.stack([t % 20, (t + 10) % 20], dim=-1)
        stands = phase < 12
        swing = torch.where(stands, 0.0, torch.sin(torch.pi * (phase - 12) / 8))
        share = stands / stands.sum(-1, keepdim=True)

        qpos = robot.home_qpos.expand(steps, num, -1).clone()
        qpos[..., 0] = 0.02 * t[:, None] * command
        for foot, side in enumerate(("left", "right")):
            knee = robot.joint_qpos_adr[robot.joint_names.index(f"{side}_knee_pitch")]
            qpos[..., knee] = torch.deg2rad(20.0 * swing[:, foot])[:, None]
        qvel = torch.zeros(steps, num, 14)
        qvel[..., 0] = command
        sole = torch.zeros(steps, num, 2, 3)
        sole[..., 2] = 0.04 * swing[:, None]
        values = {
            "command": command,
            "qpos": qpos,
            "qvel": qvel,
            "foot_force": (robot.weight * share)[:, None].expand(-1, num, -1).clone(),
            "sole_pos_w": sole,
            "sole_linvel_w": torch.zeros(steps, num, 2, 3),
            "torque": torch.full((steps, num, 8), 2.0),
            "action": torch.zeros(steps, num, 8),
            "amp": torch.zeros(steps, num, 31),
            "valid": torch.ones(steps, num, dtype=torch.bool),
            "terminated": torch.zeros(num, dtype=torch.bool),
        }
        return Recording(ctrl_dt=0.02, **(values | replaced))

    return make
