"""A toy robot with round numbers, and a recording of it walking perfectly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from envs.frames import heading_to_world, quat_from_euler, quat_rotate_inverse
from envs.recording import Recording
from envs.robot.spec import LegGeometry, RobotSpec


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
def walking() -> Callable[..., Recording]:
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
