"""Balance: how a clip follower corrects its joint targets so that it needs less of the harness.

Feedback after Yin, Loken and van de Panne, "SIMBICON: Simple Biped Locomotion Control" (SIGGRAPH
2007), section 2: the stance hip keeps the trunk's orientation, the swing leg steps towards where
the robot drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError
from envs.frames import roll_pitch, world_to_heading, wrap_angle
from envs.measurements import Measurements
from envs.robot.chain import Kind
from envs.robot.spec import RobotSpec


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """Gains of the balance feedback; all 0 follows the clip's joints and nothing else.

    The defaults were found together with the built-in walk's shape (`ReferenceConfig.walk`).
    """

    roll_kp: float = 2.5
    """Stance hip roll per trunk roll [rad/rad]."""
    roll_kd: float = 0.25
    """Stance hip roll per roll rate [s]."""
    pitch_kp: float = 2.2
    """Stance hip pitch per trunk pitch [rad/rad]."""
    pitch_kd: float = 0.08
    """Stance hip pitch per pitch rate [s]."""
    ankle: float = 0.45
    """Stance ankle pitch per excess of forward speed [rad s/m]."""
    step: float = 0.13
    """Swing hip pitch per excess of forward speed [rad s/m]."""


def leg_joints(robot: RobotSpec, kind: Kind) -> Tensor:
    """Indices (2,) of the left and right leg's joint of a kind.

    Raises:
        UserError: the robot's legs have none.
    """
    if kind not in robot.chains[0].kinds:
        has = ", ".join(robot.chains[0].kinds)
        raise UserError(f"balance needs a {kind} in each leg; those of {robot.name} have {has}")
    return robot.columns_of(kind)[:, 0]


def _axis(robot: RobotSpec, kind: Kind, along: int) -> Tensor:
    """(2,) sign of each leg's axis of a kind, along the root's x (0) or y (1)."""
    index = [chain.kinds.index(kind) for chain in robot.chains]
    signs = [float(np.sign(c.axes[i, along])) for c, i in zip(robot.chains, index, strict=True)]
    return torch.tensor(signs, device=robot.home_qpos.device)


def balance_offsets(
    m: Measurements,
    clip_quat: Tensor,
    clip_linvel_w: Tensor,
    robot: RobotSpec,
    config: BalanceConfig,
) -> Tensor:
    """Corrections (E, J) [rad] to add to a clip's joint targets.

    Args:
        m: the robot as it is.
        clip_quat: (E, 4) root orientation of the clip.
        clip_linvel_w: (E, 3) [m/s] root velocity of the clip, world.
        robot: with hip pitch, hip roll and ankle pitch on each side; `action_sign` makes hip pitch
            flexion.
        config: gains, for a robot of the WildRobot's size.
    """
    clip_roll, clip_pitch = roll_pitch(clip_quat)
    roll, pitch = wrap_angle(m.roll - clip_roll), wrap_angle(m.pitch - clip_pitch)
    excess = (m.linvel_h - world_to_heading(clip_linvel_w, clip_quat))[:, 0]
    excess = excess / robot.speed_scale
    share = m.foot_force / m.foot_force.sum(-1, keepdim=True).clamp(min=0.1 * robot.weight)
    stance, swing = share, 1.0 - share

    pace = robot.speed_scale
    trunk_roll = -(config.roll_kp * roll + config.roll_kd * pace * m.angvel_b[:, 0])
    trunk_pitch = -(config.pitch_kp * pitch + config.pitch_kd * pace * m.angvel_b[:, 1])
    step, ankle = config.step * excess, config.ankle * excess

    offsets = torch.zeros_like(m.joint_pos)
    hip_pitch = leg_joints(robot, "pitch")
    flexion = stance * trunk_pitch[:, None] + swing * step[:, None]
    offsets[:, hip_pitch] = robot.action_sign[hip_pitch] * flexion
    # A roll about the backward axis moves the leg to the right; a pitch about the leftward axis
    # points the toes down.
    right, down = -_axis(robot, "roll", 0), _axis(robot, "ankle_pitch", 1)
    offsets[:, leg_joints(robot, "roll")] = right * stance * trunk_roll[:, None]
    # A swing foot stays level when its ankle gives what its hip takes.
    level = stance * ankle[:, None] + swing * step[:, None]
    offsets[:, leg_joints(robot, "ankle_pitch")] = down * level
    return offsets
