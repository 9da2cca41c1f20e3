"""What the physics says of a dataset's stored states: a forward pass over every frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from envs.measurements import measure
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel
from envs.task.features import style_features
from wildrobot_torch.reference.follow.rollout import lowest_sole_points

CHUNK = 1024
"""Frames in one forward pass."""


@dataclass(frozen=True)
class Forward:
    """Quantities of N frames, recomputed from their states alone."""

    features: Tensor
    """(N, F): style features by the environment's own function."""
    linvel_h: Tensor
    """(N, 3) [m/s]: root velocity, heading frame."""
    sole_linvel_w: Tensor
    """(N, 2, 3) [m/s]."""
    sole_height: Tensor
    """(N, 2) [m]: lowest point of each sole above the floor."""
    foot_force: Tensor
    """(N, 2) [N]: what the floor would answer if the joints' targets were where the joints are."""
    tilt: Tensor
    """(N,) [rad]: angle between the body's vertical and the world's."""


def forward(qpos: Tensor, qvel: Tensor, loaded: RobotModel) -> Forward:
    """Every frame's state put into the physics and measured; no time passes."""
    robot = loaded.robot
    size = min(CHUNK, len(qpos))
    physics = NativePhysics(loaded.model, size)
    parts: list[Forward] = []
    for first in range(0, len(qpos), size):
        here = slice(first, min(first + size, len(qpos)))
        count = here.stop - here.start
        rows = torch.zeros(size, dtype=torch.bool)
        rows[:count] = True
        padded = [_padded(x[here], size) for x in (qpos, qvel)]
        physics.reset(rows, padded[0], padded[1], padded[0][:, robot.joint_qpos_adr])
        state = physics.state()
        m = measure(state, robot)
        whole = Forward(
            features=style_features(m, robot),
            linvel_h=m.linvel_h,
            sole_linvel_w=m.sole_linvel_w,
            sole_height=lowest_sole_points(state, m.sole_pos_w, robot),
            foot_force=m.foot_force,
            tilt=torch.acos((-m.gravity_b[:, 2]).clamp(-1.0, 1.0)),
        )
        parts.append(Forward(*(getattr(whole, f.name)[:count] for f in fields(Forward))))
    return Forward(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Forward)))


def _padded(rows: Tensor, size: int) -> Tensor:
    return torch.cat([rows, rows[-1:].expand(size - len(rows), -1)])
