"""What a mirror along the robot's forward axis makes of packed vectors: left is right, y is -y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Layout
from envs.robot.spec import RobotSpec


@dataclass(frozen=True)
class Mirror:
    """A signed permutation of D values that is its own inverse."""

    index: Tensor
    """(D,) long: where the mirrored value comes from."""
    sign: Tensor
    """(D,) 1 or -1: what it is multiplied by."""

    def __call__(self, values: Tensor) -> Tensor:
        """Mirrored values (..., D)."""
        return values[..., self.index] * self.sign


def _joined(parts: list[Mirror]) -> Mirror:
    index, start = [], 0
    for part in parts:
        index.append(part.index + start)
        start += part.index.numel()
    return Mirror(torch.cat(index), torch.cat([part.sign for part in parts]))


def _signs(*signs: float) -> Mirror:
    return Mirror(torch.arange(len(signs)), torch.tensor(signs))


def _swapped(values_per_side: int, *signs: float) -> Mirror:
    """Left block, right block, each of so many values, with the same signs in both."""
    index = torch.arange(2 * values_per_side).reshape(2, -1).flip(0).flatten()
    return Mirror(index, torch.tensor(signs * 2))


def _joints(robot: RobotSpec) -> Mirror:
    return Mirror(robot.mirror_index, robot.mirror_sign)


def action_mirror(robot: RobotSpec) -> Mirror:
    """Mirror of actions (..., J): sides swap, and equal actions move both legs alike."""
    return Mirror(robot.mirror_index, torch.ones_like(robot.mirror_sign))


def _plates(robot: RobotSpec) -> Mirror:
    """The plate of the same rank under the other foot."""
    foot = robot.plate_foot.tolist()
    sides = [[i for i, f in enumerate(foot) if f == side] for side in (0, 1)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"the feet have {len(sides[0])} and {len(sides[1])} contact plates; a robot with a "
            "mirror image has as many on both"
        )
    index = [sides[1 - side][sides[side].index(i)] for i, side in enumerate(foot)]
    return Mirror(torch.tensor(index), torch.ones(len(index)))


def _even(robot: RobotSpec) -> Mirror:
    return _signs(1.0)


def _odd(robot: RobotSpec) -> Mirror:
    return _signs(-1.0)


def _polar(robot: RobotSpec) -> Mirror:
    return _signs(1.0, -1.0, 1.0)


def _axial(robot: RobotSpec) -> Mirror:
    """Rotations: a mirror keeps the one about its own normal and turns the others round."""
    return _signs(-1.0, 1.0, -1.0)


def _feet(robot: RobotSpec) -> Mirror:
    return _swapped(1, 1.0)


def _feet_polar(robot: RobotSpec) -> Mirror:
    return _swapped(3, 1.0, -1.0, 1.0)


FIELDS: dict[str, Callable[[RobotSpec], Mirror]] = {
    "gravity": _polar,
    "angvel": _axial,
    "linvel": _polar,
    "joint_pos": _joints,
    "joint_vel": _joints,
    "torque": _joints,
    "foot_switch": _plates,
    "plate_load": _plates,
    "prev_action": action_mirror,
    "velocity_command": _even,
    "heading_error": _odd,
    "padding": _even,
    "height": _even,
    "sole_height": _feet,
    "sole_linvel": _feet_polar,
    "sole_pos": _feet_polar,
    "contact": _feet,
    "air_time": _feet,
    "stance_time": _even,
    "mean_velocity": _even,
}
"""Layout field -> its mirror. World-frame vectors are mirrored along the world's x, as the heading
is; every task of this project looks the same along any heading."""


def layout_mirror(layout: Layout, robot: RobotSpec) -> Mirror:
    """Mirror of vectors (..., D) packed by a layout, on the CPU.

    Raises:
        ValueError: a field has no known mirror, or one of another size.
    """
    robot = robot.to("cpu")
    parts = []
    for field in layout.fields:
        if field.name not in FIELDS:
            raise ValueError(
                f"layout {layout.name!r} has a field {field.name!r} whose mirror is not known; add "
                "it to envs/robot/symmetry.py, or set model.network.asymmetry and "
                "model.network.deployed_asymmetry to 1"
            )
        part = FIELDS[field.name](robot)
        if part.index.numel() != field.size:
            raise ValueError(
                f"layout {layout.name!r}: field {field.name!r} has {field.size} values, its mirror "
                f"has {part.index.numel()}"
            )
        parts.append(part)
    return _joined(parts)
