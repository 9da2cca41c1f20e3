"""The sole of a foot: the flat side of what collides of it."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial import ConvexHull, QhullError

from envs.robot.inference.frame import angle_between
from envs.robot.inference.tree import Tree, placed_points
from envs.robot.soles import geom_points

Array = np.ndarray

STEEPEST = np.cos(np.deg2rad(40.0))
"""Least cosine between a sole's normal and the vertical in the zero pose."""


@dataclass(frozen=True)
class Sole:
    """A rectangle on which a foot stands."""

    body: int
    """Body whose frame the sole's is given in."""
    pos: Array
    """(3,) [m]: the origin, below the ankle, in the body's frame."""
    quat: Array
    """(4,) wxyz: x to the toes, z up, in the body's frame."""
    heel: float
    """Rear edge behind the origin, negative [m]."""
    toe: float
    """Front edge ahead of it [m]."""
    width: float
    """[m]."""
    geoms: tuple[int, ...]
    """Geoms that touch the ground when it stands."""
    fill: float
    """Share of the rectangle within the outline of what touches."""
    tilt: float
    """Angle to the ground in the zero pose [rad]."""
    shape: str
    """`flat`, or `line` or `point` where a ball or capsule alone touches."""


def find_sole(tree: Tree, link: int, ankle: Array | None, data: mujoco.MjData) -> Sole:
    """The sole of a link.

    Args:
        tree: the robot.
        link: the foot.
        ankle: a point (3,) of the ankle's pitch axis in the world; None for a foot without one.
        data: the zero pose, robot's axes along the world's.
    """
    geoms = tree.geoms(link)
    points, radii = placed_points(tree.model, geoms, data)
    size = float(np.ptp(points, axis=0).max() + 2.0 * radii.max())
    tolerance = max(1.5e-3, 0.01 * size)
    up = np.array([0.0, 0.0, 1.0])
    areas = [
        (_area(points, radii, normal, tolerance), normal) for normal in _normals(points, radii)
    ]
    best, normal = max(areas, key=lambda each: each[0])
    if _area(points, radii, up, tolerance) >= 0.7 * best:
        normal = up
    touching = _touching(points, radii, normal, tolerance)
    forward = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    forward /= np.linalg.norm(forward)
    left = np.cross(normal, forward)
    contact = points[touching] - radii[touching, None] * normal
    height = float(((points - radii[:, None] * normal) @ normal).min())
    x, y = contact @ forward, contact @ left
    long, wide = float(np.ptp(x)), float(np.ptp(y))
    radius, thin = float(radii[touching].max()), 0.02 * size
    shape = "flat" if min(long, wide) > thin else "point" if max(long, wide) <= thin else "line"
    middle = np.array([x.min() + x.max(), y.min() + y.max()]) / 2.0
    # A ball's or a capsule's own contact has no area: it is given half its radius each way.
    long, wide = (max(extent, radius, thin) for extent in (long, wide))
    origin = middle.copy()
    if ankle is not None:
        origin[0] = ankle @ forward
    body = _lowest_body(tree, geoms, points, radii, normal, data)
    turn = data.xmat[body].reshape(3, 3)
    place = origin[0] * forward + origin[1] * left + height * normal
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, (turn.T @ np.stack([forward, left, normal], -1)).flatten())
    owners = np.concatenate(
        [np.full(len(geom_points(tree.model, geom)[0]), geom) for geom in geoms]
    )
    area = _area(points, radii, normal, tolerance)
    return Sole(
        body=body,
        pos=turn.T @ (place - data.xpos[body]),
        quat=quat if quat[0] >= 0.0 else -quat,
        heel=float(middle[0] - long / 2.0 - origin[0]),
        toe=float(middle[0] + long / 2.0 - origin[0]),
        width=wide,
        geoms=tuple(int(geom) for geom in dict.fromkeys(owners[touching].tolist())),
        fill=area / (long * wide),
        tilt=angle_between(normal, up),
        shape=shape,
    )


def _lowest_body(
    tree: Tree,
    geoms: tuple[int, ...],
    points: Array,
    radii: Array,
    normal: Array,
    data: mujoco.MjData,
) -> int:
    """Body of the link that has most of what touches the ground; the link itself where it can."""
    tallies: dict[int, float] = {}
    lowest = float((points @ normal - radii).min())
    for geom in geoms:
        place, radius = placed_points(tree.model, (geom,), data)
        if (place @ normal - radius).min() <= lowest + 2e-3:
            body = int(tree.model.geom_bodyid[geom])
            tallies[body] = tallies.get(body, 0.0) + float(tree.model.geom_rbound[geom])
    return max(tallies, key=lambda body: tallies[body])


def _touching(points: Array, radii: Array, normal: Array, tolerance: float) -> Array:
    """(N,) bool: which balls touch a plane with this normal that is laid under all."""
    height = points @ normal - radii
    return height <= height.min() + tolerance


def _area(points: Array, radii: Array, normal: Array, tolerance: float) -> float:
    """Area of the outline of what touches such a plane [m^2]."""
    touching = points[_touching(points, radii, normal, tolerance)]
    across = np.linalg.svd(normal[None])[2][1:]
    try:
        return float(ConvexHull(touching @ across.T).volume)
    except (QhullError, ValueError):
        return 0.0  # on a line or a point


def _normals(points: Array, radii: Array) -> list[Array]:
    """Upward normals that a sole may have: the vertical, and those of the hull's lower faces."""
    up = np.array([0.0, 0.0, 1.0])
    found = [up]
    under = points - radii[:, None] * up
    try:
        hull = ConvexHull(under)
        faces = hull.equations[:, :3]
        corner = under[hull.simplices]
        size = np.linalg.norm(
            np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=-1
        )
        largest = faces[np.argsort(-size)[:60]]
        found.extend(-face for face in largest if face[2] <= -STEEPEST)
    except (QhullError, ValueError):
        if len(under) >= 3:  # all in one plane
            normal = np.linalg.svd(under - under.mean(0))[2][2]
            normal *= np.sign(normal[2]) or 1.0
            if normal[2] >= STEEPEST:
                found.append(normal)
    return found
