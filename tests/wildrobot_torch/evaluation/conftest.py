"""A recording of a robot that walks perfectly, drawn by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from envs.robot import RobotSpec
from wildrobot_torch.evaluation.trajectory import Trajectory


@pytest.fixture
def walking(robot: RobotSpec) -> Callable[..., Trajectory]:
    """Maker of recordings: 10 s at exactly the commanded speeds, 0.24 s of 0.4 s strides in stance.

    Knees bend by 20 degrees in each stride and soles rise by 40 mm; the foot that stands alone
    carries the weight, two share it. Keyword arguments replace recorded quantities.
    """

    def make(commands: tuple[float, ...] = (0.1, 0.3), **replaced: torch.Tensor) -> Trajectory:
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
        return Trajectory(ctrl_dt=0.02, **(values | replaced))

    return make
