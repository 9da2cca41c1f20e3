"""A toy robot with round numbers, and a recording of it walking perfectly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from envs.robot.spec import LegGeometry, RobotSpec
from wildrobot_torch.reference.judge.metrics import Frames


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
        digest="0123456789abcdef",
    )


@pytest.fixture
def walking() -> Callable[..., Frames]:
    """Maker of frames of a robot that walks ahead at 0.3 m/s, one foot loaded at a time.

    Each foot carries the whole weight for 10 frames, then the other; joints stay mid-range on their
    targets, the harness is slack. Keyword arguments replace recorded quantities.
    """

    def make(num_frames: int = 100, **replaced: torch.Tensor) -> Frames:
        t = torch.arange(num_frames)
        left = (t // 10) % 2 == 0
        zeros = torch.zeros(num_frames)
        root = torch.stack([0.3 * 0.02 * t, zeros, zeros + 0.4], dim=-1)
        sides = torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]])
        values = {
            "root_pos_w": root,
            "root_linvel_h": torch.tensor([0.3, 0.0, 0.0]).expand(num_frames, 3),
            "roll": zeros,
            "pitch": zeros,
            "yaw": zeros,
            "yaw_rate": zeros,
            "com_height": zeros + 0.25,
            "joint_pos": torch.zeros(num_frames, 2),
            "joint_vel": torch.zeros(num_frames, 2),
            "joint_target": torch.zeros(num_frames, 2),
            "torque": torch.zeros(num_frames, 2),
            "foot_force": 30.0 * torch.stack([left, ~left], dim=-1).float(),
            "foot_pos_w": sides.expand(num_frames, 2, 3),
            "foot_linvel_w": torch.zeros(num_frames, 2, 3),
            "sole_height": torch.zeros(num_frames, 2),
            "harness_force": torch.zeros(num_frames, 3),
            "harness_torque": torch.zeros(num_frames, 3),
            "harness_saturated": torch.zeros(num_frames, 2, dtype=torch.bool),
        }
        return Frames(0.02, **(values | replaced))

    return make
