"""Packed vectors of the mirrored robot: left and right swap, y becomes -y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
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


MirrorOf = Callable[[RobotSpec], Mirror]


def _signs(*signs: float) -> MirrorOf:
    """Values that stay in their place."""
    return lambda robot: Mirror(torch.arange(len(signs)), torch.tensor(signs))


def _feet(*signs: float) -> MirrorOf:
    """The left foot's values, then the right foot's, with the same signs on both sides."""
    index = torch.arange(2 * len(signs)).reshape(2, -1).flip(0).flatten()
    return lambda robot: Mirror(index, torch.tensor(signs * 2))


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
        raise UserError(
            f"the feet have {len(sides[0])} and {len(sides[1])} contact plates; a robot with a "
            "mirror image has as many on both"
        )
    index = [sides[1 - side][sides[side].index(i)] for i, side in enumerate(foot)]
    return Mirror(torch.tensor(index), torch.ones(len(index)))


_EVEN, _ODD = _signs(1.0), _signs(-1.0)
_POLAR = (1.0, -1.0, 1.0)
"""Signs of positions, velocities and forces."""
_AXIAL = (-1.0, 1.0, -1.0)
"""Signs of rotations: a mirror keeps the one about its own normal and reverses the others."""

FIELDS: dict[str, MirrorOf] = {
    "gravity": _signs(*_POLAR),
    "angvel": _signs(*_AXIAL),
    "linvel": _signs(*_POLAR),
    "joint_pos": _joints,
    "joint_vel": _joints,
    "torque": _joints,
    "foot_switch": _plates,
    "plate_load": _plates,
    "prev_action": action_mirror,
    "velocity_command": _EVEN,
    "heading_error": _ODD,
    "padding": _EVEN,
    "height": _EVEN,
    "sole_height": _feet(1.0),
    "sole_linvel": _feet(*_POLAR),
    "sole_pos": _feet(*_POLAR),
    "contact": _feet(1.0),
    "air_time": _feet(1.0),
    "stance_time": _EVEN,
    "mean_velocity": _EVEN,
}
"""Layout field -> its mirror. Vectors are mirrored along the y axis of their own frame, world or
heading: every task here is the same along any heading."""


def layout_mirror(layout: Layout, robot: RobotSpec) -> Mirror:
    """Mirror of vectors (..., D) packed by a layout, on the CPU.

    Raises:
        ValueError: a field has no known mirror, or one of another size.
    """
    robot = robot.to("cpu")
    index, sign = [], []
    for field in layout.fields:
        if field.name not in FIELDS:
            raise UserError(
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
        index.append(part.index + layout.slices[field.name].start)
        sign.append(part.sign)
    return Mirror(torch.cat(index), torch.cat(sign))
