"""Fixtures: perfect walks drawn by hand, a toy robot, and checkpoints with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.config import policy_settings
from envs.frames import heading_to_world, quat_from_euler, quat_rotate_inverse
from envs.recording import Recording
from envs.robot.spec import LegGeometry, RobotSpec, ServoSpec
from envs.task.observations import observation_layout
from envs.task.terminations import ENDS
from tests.tasks import ideal_task
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT

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
        task = ideal_task()
        about = {
            "format": CHECKPOINT_FORMAT,
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
            {
                "state_dict": weights,
                "actor": policy.hparams,
                "wildrobot": about | changes,
                "training": {"amp": None},
            },
            path,
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
            "end_cause": torch.full((num,), ENDS.index("time")),
        }
        return Recording(ctrl_dt=0.02, **(values | replaced))

    return make


@pytest.fixture
def toy_robot() -> RobotSpec:
    """3 kg under 10 m/s^2, so a weight of 30 N; two joints within [-1, 1] rad."""
    pair = torch.ones(2)
    return RobotSpec(
        name="toy",
        root_body=1,
        joint_names=("left", "right"),
        joint_qpos_adr=torch.tensor([7, 8]),
        joint_qvel_adr=torch.tensor([6, 7]),
        joint_range=torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]),
        joint_max_velocity=10 * pair,
        home_qpos=torch.tensor([0.0, 0, 0.4, 1, 0, 0, 0, 0, 0]),
        kp=pair,
        kv=pair,
        torque_limit=pair,
        mirror_index=torch.tensor([1, 0]),
        mirror_sign=pair,
        action_sign=pair,
        plate_names=("left_plate", "right_plate"),
        plate_geoms=torch.arange(4),
        floor_geom=0,
        plate_foot=torch.tensor([0, 1]),
        mass=3.0,
        gravity=10.0,
        leg=LegGeometry(
            hip_pitch_pos=(0.0, 0.05, 0.0),
            hip_roll_pos=(0.0, 0.05, 0.0),
            leg_y=0.1,
            thigh=0.15,
            shank=0.15,
            ankle_height=0.1,
            heel=-0.05,
            toe=0.1,
            sole_width=0.09,
        ),
        sensors={},
        servo=ServoSpec(model="ideal", stall_torque=1.0, no_load_speed=10.0, voltage=12.0),
        digest="0123456789abcdef",
    )


@pytest.fixture
def toy_walk() -> Callable[..., Recording]:
    """Maker of a recording of a robot that walks ahead at 0.3 m/s, one foot loaded at a time.

    Each foot carries the whole weight for 10 frames, then the other; joints stay mid-range on their
    targets, nothing supports the robot. Keyword arguments replace recorded quantities, without the
    axis of episodes; so do roll, pitch, yaw [rad], yaw_rate [rad/s], linvel_h [m/s], support_force
    [N] and support_torque [N m].
    """

    def make(num_frames: int = 100, **replaced: torch.Tensor) -> Recording:
        t = torch.arange(num_frames)
        left = (t // 10) % 2 == 0
        zeros = torch.zeros(num_frames)
        sides = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
        ahead = torch.tensor([0.3, 0.0, 0.0]).expand(num_frames, 3)

        def given(name: str, otherwise: torch.Tensor) -> torch.Tensor:
            return replaced.pop(name, otherwise)

        quat = quat_from_euler(*(given(name, zeros) for name in ("roll", "pitch", "yaw")))
        turning = torch.stack([zeros, zeros, given("yaw_rate", zeros)], dim=-1)
        root = given("root_pos_w", torch.stack([0.3 * 0.02 * t, zeros, zeros + 0.4], dim=-1))
        qpos = torch.cat([root, quat, given("joint_pos", torch.zeros(num_frames, 2))], dim=-1)
        qvel = torch.cat(
            [
                heading_to_world(given("linvel_h", ahead), quat),
                quat_rotate_inverse(quat, turning),
                given("joint_vel", torch.zeros(num_frames, 2)),
            ],
            dim=-1,
        )
        values = {
            "qpos": qpos,
            "qvel": qvel,
            "com_height": zeros + 0.25,
            "joint_target": torch.zeros(num_frames, 2),
            "torque": torch.zeros(num_frames, 2),
            "action": torch.zeros(num_frames, 2),
            "foot_force": 30.0 * torch.stack([left, ~left], dim=-1).float(),
            "sole_pos_w": sides.expand(num_frames, 2, 3),
            "sole_linvel_w": torch.zeros(num_frames, 2, 3),
            "sole_height": torch.zeros(num_frames, 2),
            "support": torch.zeros(num_frames, 6),
            "support_saturated": torch.zeros(num_frames, 2, dtype=torch.bool),
            "amp": torch.zeros(num_frames, 31),
            "valid": torch.ones(num_frames, dtype=torch.bool),
        }
        if "support_force" in replaced or "support_torque" in replaced:
            none = torch.zeros(num_frames, 3)
            parts = [given(f"support_{part}", none) for part in ("force", "torque")]
            values["support"] = torch.cat(parts, dim=-1)
        series = {name: x[:, None] for name, x in (values | replaced).items()}
        return Recording(
            ctrl_dt=0.02, command=torch.tensor([0.3]), terminated=torch.tensor([False]), **series
        )

    return make
