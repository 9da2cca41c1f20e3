"""From policy output to position targets: low-pass filter, then an affine map into joint space."""

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


def action_to_ctrl(filtered: Tensor, robot: RobotSpec, config: ActionConfig) -> Tensor:
    """Position targets (E, J) [rad] of a filtered action (E, J), within the joints' ranges."""
    offset, gain = action_map(robot, config)
    return torch.clamp(offset + gain * filtered, robot.joint_range[:, 0], robot.joint_range[:, 1])


def ctrl_to_action(ctrl: Tensor, robot: RobotSpec, config: ActionConfig) -> Tensor:
    """Filtered action (E, J) in [-1, 1] whose target is nearest to `ctrl` (E, J) [rad]."""
    offset, gain = action_map(robot, config)
    return ((ctrl - offset) / gain).clamp(-1.0, 1.0)
