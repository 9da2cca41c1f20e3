"""The shape of a foot's underside: which geoms can touch the floor, and the rectangle they span."""

from __future__ import annotations

import mujoco
import numpy as np

Array = np.ndarray


def colliding_geoms(model: mujoco.MjModel, body: int) -> Array:
    """Ids of the geoms that can touch something, of a body and of all bodies that hang on it."""
    below = np.zeros(model.nbody, dtype=bool)
    for index in range(body, model.nbody):  # parents come first
        below[index] = index == body or below[model.body_parentid[index]]
    paired = np.isin(np.arange(model.ngeom), [model.pair_geom1, model.pair_geom2])
    touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0) | paired
    return np.flatnonzero(touching & below[model.geom_bodyid])


def geom_points(model: mujoco.MjModel, geom: int) -> tuple[Array, float]:
    """Points (n, 3) [m] in a geom's frame and a radius [m]: balls around them span the geom.

    Boxes and meshes have corners, spheres and capsules middles; round edges are sampled.
    """
    kind, size = model.geom_type[geom], model.geom_size[geom]
    types = mujoco.mjtGeom
    signs = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij")).reshape(3, -1).T
    if kind == types.mjGEOM_SPHERE:
        return np.zeros((1, 3)), float(size[0])
    if kind == types.mjGEOM_CAPSULE:
        return np.array([[0.0, 0.0, -size[1]], [0.0, 0.0, size[1]]]), float(size[0])
    if kind == types.mjGEOM_BOX:
        return signs * size, 0.0
    if kind == types.mjGEOM_CYLINDER:
        turn = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
        rim = np.stack([size[0] * np.cos(turn), size[0] * np.sin(turn), 0.0 * turn], axis=-1)
        up = np.array([0.0, 0.0, size[1]])
        return np.concatenate([rim - up, rim + up]), 0.0
    if kind == types.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first, number = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        return np.array(model.mesh_vert[first : first + number], dtype=float), 0.0
    if kind == types.mjGEOM_ELLIPSOID:
        turn, tilt = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 32), np.linspace(0.0, np.pi, 17))
        ball = [np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)]
        return np.stack(ball, axis=-1).reshape(-1, 3) * size, 0.0
    return signs * model.geom_aabb[geom, 3:] + model.geom_aabb[geom, :3], 0.0


def foot_points(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> tuple[Array, Array]:
    """Points (n, 3) [m] in the world and radii (n,) [m] of all that collides of a foot."""
    points, radii = [], []
    for geom in colliding_geoms(model, body).tolist():
        own, radius = geom_points(model, geom)
        points.append(own @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
        radii.append(np.full(len(own), radius))
    return np.concatenate(points), np.concatenate(radii)


def lowest_point(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> float:
    """Height [m] in the world of the lowest point that collides of a foot."""
    points, radii = foot_points(model, data, body)
    return float((points[:, 2] - radii).min())


def sole_rectangle(
    model: mujoco.MjModel, data: mujoco.MjData, body: int, site: int, near: float
) -> tuple[float, Array, Array]:
    """The underside of a foot in the frame of its sole's site.

    Args:
        model: compiled model.
        data: positions, in any pose.
        body: of the foot.
        site: of the sole.
        near: points this near to the lowest one touch a level floor [m].

    Returns:
        Height of the lowest point over the site (negative below it) [m]; least and greatest x and y
        (2,) each of what touches [m].
    """
    points, radii = foot_points(model, data, body)
    axes = data.site_xmat[site].reshape(3, 3)
    own = (points - data.site_xpos[site]) @ axes
    height = own[:, 2] - radii
    touching = own[height <= height.min() + near]
    return float(height.min()), touching[:, :2].min(0), touching[:, :2].max(0)
