"""Control abstraction: two ways to position targets, from policy actions and from joint angles.

A policy action is a normalised number, the same for both legs: it goes through a low-pass filter
and an affine map with mirror signs, `policy_action_to_ctrl`. A physical angle, of a clip or a pose,
is already what the servo is told, `physical_angles_to_ctrl`. The two are never mixed: an angle that
goes the policy's way moves the right hip backwards. docs/control.md explains both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from envs.robot.spec import RobotSpec
from envs.settings import PositiveFloat, ShareBelowOne, check


@dataclass(frozen=True, kw_only=True)
class ActionConfig:
    """How an action in [-1, 1] becomes a joint target."""

    mapping: Literal["home", "full_range"] = "home"
    """home: action 0 is the home pose and 1 is `scale` away. full_range: -1 and 1 are the joint's
    stops, so action 0 is a deep crouch (the mapping of the earlier system)."""
    scale: PositiveFloat = 1.4
    """Joint angle of action 1 from home [rad]; read by mapping `home` only. Poses further away are
    out of reach: walks with bent knees have poses up to 1.4 away."""
    filter: ShareBelowOne = 0.5
    """Share of the previous filtered action in the next one; 0 for no filter."""

    def __post_init__(self) -> None:
        check(self)


def filter_action(action: Tensor, previous: Tensor, config: ActionConfig) -> Tensor:
    """Filtered action (E, J): the clipped action (E, J) blended with the last filtered one."""
    return config.filter * previous + (1.0 - config.filter) * action.clamp(-1.0, 1.0)


def action_map(robot: RobotSpec, config: ActionConfig) -> tuple[Tensor, Tensor]:
    """Offset and gain (J,) [rad] of the affine map from filtered action to joint target."""
    if config.mapping == "home":
        return robot.joint_home, robot.action_sign * config.scale
    return robot.joint_center, robot.action_sign * robot.joint_half_span


def policy_action_to_ctrl(
    action: Tensor, previous: Tensor, robot: RobotSpec, config: ActionConfig
) -> tuple[Tensor, Tensor]:
    """What a policy's output does: the filtered action (E, J) and position targets (E, J) [rad].

    Args:
        action: (E, J) policy output; clipped to [-1, 1].
        previous: (E, J) the last filtered action.
        robot: the robot.
        config: of the action.
    """
    filtered = filter_action(action, previous, config)
    return filtered, filtered_action_to_ctrl(filtered, robot, config)


def filtered_action_to_ctrl(filtered: Tensor, robot: RobotSpec, config: ActionConfig) -> Tensor:
    """Position targets (E, J) [rad] of a filtered action (E, J), within the joints' ranges."""
    offset, gain = action_map(robot, config)
    return physical_angles_to_ctrl(offset + gain * filtered, robot)


def ctrl_to_policy_action(ctrl: Tensor, robot: RobotSpec, config: ActionConfig) -> Tensor:
    """Filtered action (E, J) in [-1, 1] whose target is nearest to `ctrl` (E, J) [rad]."""
    offset, gain = action_map(robot, config)
    return ((ctrl - offset) / gain).clamp(-1.0, 1.0)


def physical_angles_to_ctrl(angles: Tensor, robot: RobotSpec) -> Tensor:
    """Position targets (E, J) [rad] of joint angles (E, J) [rad]: the same, within the ranges.

    Clips and poses go this way. No sign is changed: angles have the joints' own signs.
    """
    return torch.clamp(angles, robot.joint_range[:, 0], robot.joint_range[:, 1])
