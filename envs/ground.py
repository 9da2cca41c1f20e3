"""The height of the ground under any point, as a look-up in tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.frames import quat_rotate
from envs.physics.base import PhysicsState
from envs.robot.spec import FEET, RobotSpec

AREA = 0.2
"""Episodes start within this share of a field's half size around its middle."""
EDGE = 0.5
"""Where a field has less than this left [m], nobody walks on."""
TILE, TILES = 0.5, 32
"""Side of the tiles that patches consist of [m]; tiles along a side of their pattern."""
PATTERN = TILE * TILES
"""Side of the pattern of patches, which repeats without end [m]."""


@dataclass(frozen=True)
class Ground:
    """A height field under E robots."""

    heights: Tensor
    """(rows, columns) [m] above the world origin; rows along y, columns along x."""
    cells: Tensor
    """(2,): number of the field's cells along x and y."""
    half_size: Tensor
    """(2,) [m]: half the field's extent along x and y, around the origin."""
    sole: Tensor
    """(P, 3) [m]: points all over a sole, from its centre."""

    def height(self, points: Tensor) -> Tensor:
        """Height (...) [m] of the ground under points (..., 2 or more) [m], x and y in the world.

        Exact: MuJoCo cuts each cell of the grid into two triangles along the diagonal from its
        lowest to its highest x and y. Beyond the edge it is that of the edge.
        """
        columns = self.heights.shape[1]
        where = (points[..., :2] + self.half_size) / (2.0 * self.half_size) * self.cells
        where = torch.minimum(where.nan_to_num(0.0).clamp(min=0.0), self.cells)
        cell = torch.minimum(where.floor(), self.cells - 1.0)
        share_x, share_y = (where - cell).unbind(-1)
        column, row = cell.long().unbind(-1)
        flat, index = self.heights.flatten(), row * columns + column
        near, far = flat[index], flat[index + columns + 1]
        # The third corner of the triangle: along x first, or along y first.
        along_x = share_x > share_y
        corner = flat[torch.where(along_x, index + 1, index + columns)]
        longer, shorter = torch.maximum(share_x, share_y), torch.minimum(share_x, share_y)
        return near + longer * (corner - near) + shorter * (far - corner)

    def ends_at(self, points: Tensor) -> Tensor:
        """(...) bool: the field is about to end at points (..., 2 or more) [m]."""
        return (points[..., :2].abs() > self.half_size - EDGE).any(-1)

    def scattered(self, qpos: Tensor, draws: Tensor) -> Tensor:
        """States (E, nq) moved to other places; draws (E, 2) are random numbers in [0, 1)."""
        moved = qpos.clone()
        moved[:, :2] += AREA * self.half_size * (2.0 * draws - 1.0)
        return moved

    def carry(self, qpos: Tensor, state: PhysicsState, robot: RobotSpec) -> Tensor:
        """States (E, nq) as far above this ground as they were above the plane z = 0.

        Args:
            qpos: (E, nq) for a robot on the plane z = 0.
            state: physics in that state, for its soles.
            robot: the robot.
        """
        points = sole_points(state, self.sole, robot)
        wanted, found = (above(g, points).flatten(1).amin(-1) for g in (None, self))
        raised = qpos.clone()
        raised[:, 2] += wanted - found
        return raised


def above(ground: Ground | None, points: Tensor) -> Tensor:
    """Heights (...) [m] of points (..., 3) [m] above the ground; None for the plane z = 0."""
    heights = points[..., 2].clone()
    return heights if ground is None else heights - ground.height(points)


def make_patches(device: torch.device) -> Tensor:
    """(TILES, TILES) bool: which tiles of a floor are patches, a third of them at random."""
    drawn = torch.rand(TILES, TILES, generator=torch.Generator().manual_seed(0))
    return (drawn < 1.0 / 3.0).to(device)


def on_patch(points: Tensor, patches: Tensor) -> Tensor:
    """(...) bool: which points (..., 2 or more) [m] are on a patch, x and y in the pattern."""
    column, row = (points[..., :2] / TILE).floor().long().remainder(TILES).unbind(-1)
    return patches[row, column]


def sole_points(state: PhysicsState, points: Tensor, robot: RobotSpec) -> Tensor:
    """Points of both soles in the world (E, 2, P, 3) [m].

    Args:
        state: physics of E robots.
        points: (P, 3) [m] from the sole's centre, in the foot's axes.
        robot: the robot.
    """
    centres = state.sensordata[:, robot.sensor_columns["sole_pos"]].unflatten(1, (len(FEET), 3))
    quat = torch.stack([state.sensordata[:, robot.sensors[f"{f}_quat"]] for f in FEET], dim=1)
    shape = (*quat.shape[:2], len(points))
    turned = quat_rotate(quat[:, :, None].expand(*shape, 4), points.expand(*shape, 3))
    return centres[:, :, None] + turned
