"""What the physics says of given states: a forward pass over each; no time passes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.measurements import lowest_sole_points, measure
from envs.physics.native import NativePhysics
from envs.recorder import stacked
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.task.features import style_features

CHUNK = 1024
"""States in one forward pass."""


def forward(qpos: Tensor, qvel: Tensor, loaded: RobotModel, ctrl_dt: float) -> Recording:
    """States (N, nq), (N, nv) as one episode of N steps, recomputed from the states alone.

    `foot_force` is what the floor would answer if the joints' targets were where the joints are.
    """
    robot = loaded.robot
    size = min(CHUNK, len(qpos))
    physics = NativePhysics(loaded.model, size)
    everywhere = torch.ones(size, dtype=torch.bool)
    parts = []
    for first in range(0, len(qpos), size):
        # The last pass repeats the last state.
        rows = torch.arange(first, first + size).clamp(max=len(qpos) - 1)
        position, velocity = qpos[rows].float(), qvel[rows].float()
        physics.reset(everywhere, position, velocity, position[:, robot.joint_qpos_adr])
        state = physics.state()
        m = measure(state, robot)
        parts.append(
            {
                "foot_force": m.foot_force,
                "sole_pos_w": m.sole_pos_w,
                "sole_linvel_w": m.sole_linvel_w,
                "sole_height": lowest_sole_points(state, m.sole_pos_w, robot),
                "amp": style_features(m, robot),
            }
        )
    series = {name: x.flatten(0, 1)[: len(qpos), None] for name, x in stacked(parts).items()}
    return Recording(
        ctrl_dt=ctrl_dt,
        command=torch.tensor([math.nan]),
        qpos=qpos[:, None],
        qvel=qvel[:, None],
        valid=torch.ones(len(qpos), 1, dtype=torch.bool),
        terminated=torch.zeros(1, dtype=torch.bool),
        **series,
    )
