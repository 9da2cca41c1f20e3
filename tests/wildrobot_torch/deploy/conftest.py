"""Fixtures: a bundle of a robot that stands, exported once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.config import LocomotionConfig, policy_settings, trained_settings
from envs.reality.disturbances import PushConfig
from envs.reality.randomization import Draw, RandomizationConfig
from envs.robot.spec import RobotSpec
from envs.task.observations import observation_layout
from wildrobot_torch.deploy.bundle import write_bundle
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT


def robot_task() -> LocomotionConfig:
    """What a real robot shows, a little of it."""
    randomization = RandomizationConfig(
        joint_age=Draw(low=10.0, high=30.0),
        imu_age=Draw(low=0.0, high=20.0),
        gyro_noise=Draw(low=0.0, high=0.05),
        zero_error=Draw(sd=0.01),
    )
    return replace(
        LocomotionConfig(), randomization=randomization, push=PushConfig(impulse_max=0.1)
    )


@pytest.fixture(scope="session")
def standing_checkpoint(tmp_path_factory: pytest.TempPathFactory, robot: RobotSpec) -> Path:
    """A checkpoint whose actions stay near home, so that the robot stands."""
    torch.manual_seed(0)
    task = robot_task()
    layout = observation_layout(robot, task.observation)
    policy = Policy(layout.size, robot.num_joints, hidden=(16, 16))
    with torch.no_grad():
        for parameter in policy.net.parameters():
            parameter.normal_(0.0, 0.02)
    path = tmp_path_factory.mktemp("run") / "standing.ckpt"
    weights = {f"{WEIGHTS_PREFIX}{name}": value for name, value in policy.state_dict().items()}
    about = {
        "format": CHECKPOINT_FORMAT,
        "observation_layout": layout.to_dict(),
        "robot_digest": robot.digest,
        "env_config": policy_settings(task),
        "trained_task": trained_settings(task),
        "seed": 7,
        "env_steps": 1000,
        "metrics": {"score": 0.5},
    }
    torch.save({"state_dict": weights, "actor": policy.hparams, "wildrobot": about}, path)
    return path


@pytest.fixture(scope="session")
def bundle_zip(standing_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle as a zip, without an int8 policy."""
    out = tmp_path_factory.mktemp("bundle") / "standing.zip"
    write_bundle(standing_checkpoint, out)
    return out
