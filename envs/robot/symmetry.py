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
    """Mirror of actions (..., J): sides swap, and equal actions move both legs alike.

    What turns a joint on the midline to the left turns the mirrored robot's to the right.
    """
    sign = robot.mirror_sign * robot.action_sign * robot.action_sign[robot.mirror_index]
    return Mirror(robot.mirror_index, sign)


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


_POLAR = (1.0, -1.0, 1.0)
"""Signs of positions, velocities and forces."""
_AXIAL = (-1.0, 1.0, -1.0)
"""Signs of rotations: a mirror keeps the one about its own normal and reverses the others."""

MIRRORS: dict[str, MirrorOf] = {
    "even": _signs(1.0),
    "odd": _signs(-1.0),
    "polar": _signs(*_POLAR),
    "horizontal": _signs(*_POLAR[:2]),
    "axial": _signs(*_AXIAL),
    "joints": _joints,
    "command": _signs(1.0, -1.0, -1.0),
    "actions": action_mirror,
    "plates": _plates,
    "feet": _feet(1.0),
    "feet_polar": _feet(*_POLAR),
}
"""Rule of a layout field -> its mirror. Vectors are mirrored along the y axis of their own frame,
world or heading: every task here is the same along any heading."""


def layout_mirror(layout: Layout, robot: RobotSpec) -> Mirror:
    """Mirror of vectors (..., D) packed by a layout, on the CPU.

    Raises:
        UserError: a field has no known mirror, or one of another size.
    """
    robot = robot.to("cpu")
    index, sign = [], []
    for field in layout.fields:
        if field.mirror not in MIRRORS:
            raise UserError(
                f"layout {layout.name!r}: mirror of field {field.name!r} is {field.mirror!r}; "
                f"allowed: {', '.join(MIRRORS)}, or any with model.network.asymmetry and "
                "model.network.deployed_asymmetry at 1"
            )
        part = MIRRORS[field.mirror](robot)
        blocks, rest = divmod(field.size, len(part.index))
        if rest:
            raise UserError(
                f"layout {layout.name!r}: field {field.name!r} has {field.size} values, its mirror "
                f"{field.mirror!r} has {len(part.index)}"
            )
        for block in range(blocks):
            first = layout.slices[field.name].start + block * len(part.index)
            index.append(part.index + first)
            sign.append(part.sign)
    return Mirror(torch.cat(index), torch.cat(sign))
