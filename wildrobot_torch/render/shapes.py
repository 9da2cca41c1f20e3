"""Geoms as triangles, for drawing without a graphics library."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

Array = np.ndarray
_ROUND = 20
"""Corners of a circle."""


@dataclass(frozen=True)
class Surface:
    """Triangles of one geom, in its own frame."""

    corner: Array
    """(M, 3, 3) [m]."""
    normal: Array
    """(M, 3, 3): unit normal at each corner, outward."""


def geom_surface(model: mujoco.MjModel, geom: int) -> Surface | None:
    """The surface of a geom; None for one that has no triangles here (plane, height field)."""
    kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return _flat(_box(size))
    if kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        radii = np.full(3, size[0]) if kind == mujoco.mjtGeom.mjGEOM_SPHERE else size
        return _lathe(*_arc(-np.pi / 2, np.pi / 2, 0.0), radii)
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        ratio = size[1] / size[0]
        lower, upper = _arc(-np.pi / 2, 0.0, -ratio), _arc(0.0, np.pi / 2, ratio)
        profile = np.concatenate([lower[0], upper[0]])
        return _lathe(profile, np.concatenate([lower[1], upper[1]]), np.full(3, size[0]))
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        ratio = size[1] / size[0]
        # Doubled points keep the edge sharp: the cap's normal ends where the wall's begins.
        profile = np.array([[0, -1], [1, -1], [1, -1], [1, 1], [1, 1], [0, 1]], float)
        normal = np.array([[0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1]], float)
        return _lathe(profile * [1.0, ratio], normal, np.full(3, size[0]))
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        vertex, face = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
        vertices = model.mesh_vert[vertex : vertex + int(model.mesh_vertnum[mesh])]
        faces = model.mesh_face[face : face + int(model.mesh_facenum[mesh])]
        return _flat(vertices[faces].astype(float))
    return None


def _flat(corner: Array) -> Surface:
    """Triangles each with one normal."""
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = normal / np.maximum(length, 1e-12)
    return Surface(corner, np.repeat(normal[:, None], 3, axis=1))


def _box(size: Array) -> Array:
    """Twelve triangles, counter-clockwise from outside."""
    triangles = []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        for side in (-1.0, 1.0):
            center = side * np.eye(3)[axis]
            ring = [center - u - v, center + u - v, center + u + v, center - u + v]
            if side < 0:
                ring.reverse()
            triangles += [[ring[0], ring[1], ring[2]], [ring[0], ring[2], ring[3]]]
    return np.array(triangles) * size


def _arc(start: float, end: float, lift: float) -> tuple[Array, Array]:
    """Points and normals (r, z) of a unit circle's arc, its centre lifted along z."""
    count = max(3, round(_ROUND / 2 * (end - start) / np.pi) + 1)
    angle = np.linspace(start, end, count)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return circle + np.array([0.0, lift]), circle


def _lathe(profile: Array, profile_normal: Array, radii: Array) -> Surface:
    """A profile (N, 2) of (r, z) turned about z, then scaled by `radii` (3,)."""
    angle = np.linspace(0.0, 2.0 * np.pi, _ROUND, endpoint=False)
    spoke = np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def turn(pairs: Array) -> Array:
        around = pairs[:, None, :1] * spoke[None]
        return np.concatenate([around, np.repeat(pairs[:, None, 1:], _ROUND, axis=1)], axis=-1)

    point, normal = turn(profile) * radii, turn(profile_normal) / radii
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    row = np.arange(len(profile) - 1)[:, None]
    here, there = np.arange(_ROUND)[None], (np.arange(_ROUND)[None] + 1) % _ROUND
    index = [row * _ROUND + here, row * _ROUND + there, (row + 1) * _ROUND + there]
    other = [row * _ROUND + here, (row + 1) * _ROUND + there, (row + 1) * _ROUND + here]
    faces = np.concatenate(
        [np.stack([k.ravel() for k in corners], axis=-1) for corners in (index, other)]
    )
    corner = point.reshape(-1, 3)[faces]
    span = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    solid = np.linalg.norm(span, axis=-1) > 1e-12  # those at the poles have no area
    return Surface(corner[solid], normal.reshape(-1, 3)[faces][solid])
