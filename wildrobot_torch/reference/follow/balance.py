"""Balance: how a clip follower corrects its joint targets so that it needs less of the harness.

Feedback after Yin, Loken and van de Panne, "SIMBICON: Simple Biped Locomotion Control" (SIGGRAPH
2007), section 2: the stance hip keeps the trunk's orientation, the swing leg steps towards where
the robot drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.frames import roll_pitch, world_to_heading, wrap_angle
from envs.measurements import Measurements
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


def leg_joints(robot: RobotSpec, kind: str) -> Tensor:
    """Indices (2,) of the left and right joint called `<side>_<kind>`.

    Raises:
        UserError: the robot has no such pair.
    """
    names = [f"{side}_{kind}" for side in ("left", "right")]
    if missing := [name for name in names if name not in robot.joint_names]:
        raise UserError(f"balance needs joints {missing}; robot {robot.name} lacks them")
    index = [robot.joint_names.index(name) for name in names]
    return torch.tensor(index, device=robot.home_qpos.device)


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
        robot: with hip pitch, hip roll and ankle pitch on each side. A positive hip roll moves
            either leg to the right, `action_sign` makes hip pitch flexion, a positive ankle
            points the toes down.
        config: gains.
    """
    clip_roll, clip_pitch = roll_pitch(clip_quat)
    roll, pitch = wrap_angle(m.roll - clip_roll), wrap_angle(m.pitch - clip_pitch)
    excess = (m.linvel_h - world_to_heading(clip_linvel_w, clip_quat))[:, 0]
    share = m.foot_force / m.foot_force.sum(-1, keepdim=True).clamp(min=0.1 * robot.weight)
    stance, swing = share, 1.0 - share

    trunk_roll = -(config.roll_kp * roll + config.roll_kd * m.angvel_b[:, 0])
    trunk_pitch = -(config.pitch_kp * pitch + config.pitch_kd * m.angvel_b[:, 1])
    step, ankle = config.step * excess, config.ankle * excess

    offsets = torch.zeros_like(m.joint_pos)
    hip_pitch = leg_joints(robot, "hip_pitch")
    flexion = stance * trunk_pitch[:, None] + swing * step[:, None]
    offsets[:, hip_pitch] = robot.action_sign[hip_pitch] * flexion
    offsets[:, leg_joints(robot, "hip_roll")] = stance * trunk_roll[:, None]
    # A swing foot stays level when its ankle gives what its hip takes.
    offsets[:, leg_joints(robot, "ankle_pitch")] = stance * ankle[:, None] + swing * step[:, None]
    return offsets
