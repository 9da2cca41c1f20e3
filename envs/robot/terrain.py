"""The terrains: grounds that are made here, or lie in a scene of the robot's folder.

One that is made here replaces the level floor of the robot's flat scene by a height field, so both
engines get the same triangles in the compiled model.
"""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError
from envs.ground import Ground
from envs.robot.spec import RobotSpec

Array = np.ndarray

FLOOR = "floor"
"""Name of the geom that is the ground, in every scene."""
HALF_SIZE = 25.0
"""Half the side of a field that is made here [m]. Robots start within 5 m of its middle, so they
walk for 40 s at 0.5 m/s before their episode is cut short at its edge."""


def _rough() -> Array:
    """Smooth noise of +-20 mm on a grid of 0.15 m; slopes are mostly below 0.1."""
    number = round(2.0 * HALF_SIZE / 0.15) + 1
    noise = np.random.RandomState(0).uniform(-1.0, 1.0, (number, number))
    for _ in range(2):
        for axis in (0, 1):
            noise = (np.roll(noise, 1, axis) + 2.0 * noise + np.roll(noise, -1, axis)) / 4.0
    return np.clip(0.02 * noise / (2.5 * noise.std()), -0.02, 0.02)


def _steps() -> Array:
    """Tiles of 0.5 m at 0, 2, 4 or 6 mm; an edge is a ramp 50 mm long, the width of a grid cell."""
    tile, number = 10, round(2.0 * HALF_SIZE / 0.05) + 1
    tiles = np.random.RandomState(0).randint(0, 4, (number // tile + 1, number // tile + 1))
    return 0.002 * np.kron(tiles, np.ones((tile, tile)))[:number, :number]


MADE: dict[str, Callable[[], Array]] = {"rough": _rough, "steps": _steps}
"""Name of a ground -> its heights [m] on a square grid, rows along y, columns along x."""


def lay(spec: mujoco.MjSpec, name: str) -> None:
    """Replace the level floor of a flat scene by the ground called `name`.

    A patch of 0.5 m around the origin stays level at height 0.

    Raises:
        UserError: the scene's floor is no plane.
    """
    floor = spec.geom(FLOOR)
    if floor is None or floor.type != mujoco.mjtGeom.mjGEOM_PLANE:
        raise UserError(f"terrain {name!r} is laid on a flat scene's floor, which must be a plane")
    heights = MADE[name]()
    axis = np.linspace(-HALF_SIZE, HALF_SIZE, len(heights))
    distance = np.hypot(axis[:, None], axis[None])
    heights = heights * np.clip((distance - 0.5) / 0.5, 0.0, 1.0)
    low, high = heights.min(), heights.max()
    # The compiler scales the least value to 0 and the greatest to the third size.
    spec.add_hfield(
        name="ground",
        nrow=len(heights),
        ncol=len(heights),
        size=[HALF_SIZE, HALF_SIZE, high - low, 0.1],
        userdata=((heights - low) / (high - low)).ravel(),
    )
    floor.type, floor.hfieldname = mujoco.mjtGeom.mjGEOM_HFIELD, "ground"
    floor.pos = [0.0, 0.0, low]


def ground_of(model: mujoco.MjModel, robot: RobotSpec) -> Ground | None:
    """The ground of a scene, on the robot's device; None where it is the plane z = 0.

    Raises:
        UserError: the floor is something else, or a field that is turned or shifted.
    """
    floor = model.geom(FLOOR)
    kind, index = int(floor.type[0]), int(floor.dataid[0])
    upright = np.array_equal(floor.quat, [1.0, 0.0, 0.0, 0.0]) and not floor.pos[:2].any()
    if kind == mujoco.mjtGeom.mjGEOM_PLANE and upright and not floor.pos[2]:
        return None
    if kind != mujoco.mjtGeom.mjGEOM_HFIELD or not upright:
        raise UserError(
            "the scene's floor is neither the plane z = 0 nor a height field around the "
            "origin; heights above it are not known"
        )
    device = robot.home_qpos.device
    rows, columns = int(model.hfield_nrow[index]), int(model.hfield_ncol[index])
    first = int(model.hfield_adr[index])
    data = model.hfield_data[first : first + rows * columns].reshape(rows, columns)
    size_x, size_y, top, _ = model.hfield_size[index]
    return Ground(
        torch.as_tensor(data * top + floor.pos[2], dtype=torch.float32, device=device),
        torch.tensor([columns - 1.0, rows - 1.0], device=device),
        torch.tensor([size_x, size_y], dtype=torch.float32, device=device),
        _sole(model, robot).to(device),
    )


def _sole(model: mujoco.MjModel, robot: RobotSpec) -> Tensor:
    """(P, 3) [m]: points all over the plates of a sole, from its centre; nothing lies between."""
    share = np.linspace(-1.0, 1.0, 4)
    plates = robot.plate_geoms.cpu().numpy()
    boxes = (model.geom_type[plates] == mujoco.mjtGeom.mjGEOM_BOX).all()
    level = np.abs(model.geom_quat[plates] - (1.0, 0.0, 0.0, 0.0)).max() < 1e-6
    if robot.geom_plate is not None or not boxes or not level:
        leg = robot.leg
        x, y = np.meshgrid(
            (leg.heel + leg.toe + share * (leg.toe - leg.heel)) / 2.0,
            share * leg.sole_width / 2.0,
            indexing="ij",
        )
        points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
        return torch.as_tensor(points, dtype=torch.float32)
    plates = robot.plate_geoms[robot.plate_foot == 0].cpu().numpy()
    x, y = (
        model.geom_pos[plates, axis, None] + share * model.geom_size[plates, axis, None]
        for axis in (0, 1)
    )
    x += robot.leg.heel - x.min()
    y -= (y.min() + y.max()) / 2.0
    x, y = np.broadcast_arrays(x[:, :, None], y[:, None])
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    return torch.as_tensor(points, dtype=torch.float32)
