"""Pictures of the robot without any graphics library: numpy draws triangles on a tiled floor."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import mujoco
import numpy as np
from scipy.spatial import ConvexHull

from wildrobot_torch.render.camera import GHOST, View

Array = np.ndarray

SUPERSAMPLE = 2
"""Pixels drawn per pixel shown, each way, of robots and shadows."""
LIGHT = np.array([0.35, -0.45, 1.0]) / np.linalg.norm([0.35, -0.45, 1.0])
"""Direction to the lamp."""
AMBIENT, DIFFUSE, SHADOW = 0.5, 0.6, 0.32
SKY_HIGH, SKY_LOW = np.array([[0.62, 0.75, 0.90], [0.95, 0.97, 0.98]], dtype=np.float32)
TILES = np.array([[0.84, 0.85, 0.87], [0.76, 0.78, 0.81]], dtype=np.float32)
LINE = np.array([0.60, 0.62, 0.66], dtype=np.float32)
TILE, LINE_WIDTH = 0.25, 0.008
"""[m]"""
HAZE = 7.0
"""Distance [m] in which the floor fades into the sky."""
NEAR = 0.05
"""Nothing nearer than this is drawn [m]."""
_ROUND = 20
"""Corners of a circle."""
_AROUND, _RISE = np.meshgrid(np.arange(_ROUND), np.arange(-_ROUND // 4, _ROUND // 4 + 1))
_AROUND, _RISE = 2.0 * np.pi / _ROUND * _AROUND.ravel(), 2.0 * np.pi / _ROUND * _RISE.ravel()
_BALL = np.stack(
    [np.cos(_AROUND) * np.cos(_RISE), np.sin(_AROUND) * np.cos(_RISE), np.sin(_RISE)], -1
)
"""Points (N, 3) of the unit sphere, on circles of equal height."""


class SoftwareRenderer:
    """Draws robots of one model on a level floor at height 0. A height field is not drawn."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Cuts visible geoms (groups 0 to 2, as in MuJoCo) into triangles; there must be some."""
        self._model, self._data = model, mujoco.MjData(model)
        self._width, self._height = width, height
        half = np.deg2rad(model.vis.global_.fovy) / 2.0
        self._focal = height / 2.0 / float(np.tan(half))
        """Focal length in pixels shown."""
        surfaces, owners, colors = [], [], []
        for geom in range(model.ngeom):
            material = int(model.geom_matid[geom])
            color = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
            surface = geom_surface(model, geom)
            if model.geom_group[geom] <= 2 and color[3] > 0.0 and surface is not None:
                surfaces.append(surface)
                owners += [geom] * len(surface.corner)
                colors += [color[:3]] * len(surface.corner)
        if not surfaces:
            raise ValueError("the model has nothing to draw: no visible geom in groups 0 to 2")
        self._corner = np.concatenate([surface.corner for surface in surfaces])
        self._normal = np.concatenate([surface.normal for surface in surfaces])
        self._owner, self._color = np.array(owners), np.array(colors)
        self._floor: tuple[bytes, Floor] | None = None

    def render(self, qpos: Array, target: Array, view: View, ghost: Array | None = None) -> Array:
        """The robot at `qpos` (nq,), seen from `view` around `target` (3,) [m]: (H, W, 3) uint8.

        With `ghost` (nq,) a second, translucent one is drawn at those positions.
        """
        eye, axes = view.pose(target)
        corner, color = self._placed(qpos, self._color)
        shadow = self._seen(corner - corner[..., 2:] / LIGHT[2] * LIGHT, eye, axes).pixel
        image = self._background(eye, axes, self._averaged(shadow, np.ones((len(shadow), 1))))
        robot = self._seen(corner, eye, axes)
        pixel, layer = robot.pixel, robot.mean(color)
        if ghost is not None:
            ghost_corner, ghost_color = self._placed(ghost, np.tile(GHOST[:3], (len(corner), 1)))
            both = self._seen(np.concatenate([corner, ghost_corner]), eye, axes)
            front = both.triangle >= len(corner)
            veil = GHOST[3] * both.mean(np.concatenate([color, ghost_color]))[front]
            layer *= 1.0 - GHOST[3] * np.isin(pixel, both.pixel[front])[:, None]
            pixel, layer = np.append(pixel, both.pixel[front]), np.concatenate([layer, veil])
        over = self._averaged(pixel, layer)
        image = image * (1.0 - over[..., 3:]) + over[..., :3]
        return (255.0 * image.clip(0.0, 1.0)).round().astype(np.uint8)

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def _placed(self, qpos: Array, color: Array) -> tuple[Array, Array]:
        """Corners (M, 3, 3) of all triangles in the world; colour and opacity (M, 3, 4) there."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        turn = self._data.geom_xmat.reshape(-1, 3, 3)
        corner = self._corner @ turn.transpose(0, 2, 1)[self._owner]
        corner += self._data.geom_xpos[self._owner, None]
        lamp = (LIGHT @ turn)[self._owner]  # seen from each geom
        lit = np.einsum("mki,mi->mk", self._normal, lamp).clip(0.0)
        placed = np.ones((len(corner), 3, 4))
        placed[..., :3] = color[:, None] * (AMBIENT + DIFFUSE * lit)[..., None]
        return corner, placed

    def _seen(self, corner: Array, eye: Array, axes: Array) -> Fragments:
        """Visible pixels of triangles (M, 3, 3) in the world, from their outer side."""
        local = (corner - eye) @ axes.T
        depth = -local[..., 2]
        flat = self._focal * local[..., :2] * [1.0, -1.0] / np.maximum(depth, NEAR)[..., None]
        pixel = SUPERSAMPLE * (flat + np.array([self._width, self._height]) / 2.0)
        b, c = (pixel[:, 1] - pixel[:, 0]).T, (pixel[:, 2] - pixel[:, 0]).T
        kept = np.flatnonzero((b[0] * c[1] < b[1] * c[0]) & (depth > NEAR).all(1))
        width, height = SUPERSAMPLE * self._width, SUPERSAMPLE * self._height
        seen = rasterise(pixel[kept], depth[kept], width, height)
        return seen._replace(triangle=kept[seen.triangle])

    def _averaged(self, pixel: Array, values: Array) -> Array:
        """Picture (H, W, K) of values (F, K) at drawn pixels (F,); 0 where there are none."""
        row, column = np.divmod(pixel, SUPERSAMPLE * self._width)
        shown = row // SUPERSAMPLE * self._width + column // SUPERSAMPLE
        sums = [np.bincount(shown, v, self._width * self._height) for v in values.T]
        mean = np.stack(sums, -1).astype(np.float32) / SUPERSAMPLE**2
        return mean.reshape(self._height, self._width, -1)

    def _background(self, eye: Array, axes: Array, shadow: Array) -> Array:
        """Sky, and the floor with a shadow (H, W, 1), (H, W, 3)."""
        key = axes.tobytes() + eye[2].tobytes()
        if self._floor is None or self._floor[0] != key:
            self._floor = key, Floor(self._width, self._height, self._focal, eye[2], axes)
        return self._floor[1].picture(eye, shadow)


class Floor:
    """Sky and tiled floor, seen by a camera that keeps its height and direction."""

    def __init__(self, width: int, height: int, focal: float, eye_z: float, axes: Array) -> None:
        x = (np.arange(width) + 0.5 - width / 2.0)[None, :, None]
        y = (height / 2.0 - np.arange(height) - 0.5)[:, None, None]
        ray = x * axes[0] + y * axes[1] - focal * axes[2]
        length = np.linalg.norm(ray, axis=-1)
        rise = ray[..., 2] / length
        blue = np.clip(2.5 * rise, 0.0, 1.0)[..., None].astype(np.float32)
        self._sky = SKY_LOW + blue * (SKY_HIGH - SKY_LOW)
        # The camera does not roll, so the floor is what lies below some row.
        self._first = int((rise >= -1e-3).all(1).sum())
        below = ray[self._first :]
        reach = -eye_z / below[..., 2]
        haze = 1.0 - np.exp(-((reach * length[self._first :] / HAZE) ** 2))
        self._haze = haze[..., None].astype(np.float32)
        # Where each pixel begins and ends on the floor along x and y, in tiles, seen from the eye.
        place = below[..., :2] / below[..., 2:]
        size = np.full_like(place, 1e-6)
        for axis in axes[:2]:  # one pixel to the right, one up
            size += np.abs((axis[:2] - place * axis[2]) / below[..., 2:] * eye_z / TILE)
        place = -eye_z / TILE * place.transpose(2, 0, 1)
        size = size.transpose(2, 0, 1)
        self._size = size.astype(np.float32)
        self._ends = np.stack([place - size / 2.0, place + size / 2.0]).astype(np.float32)

    def picture(self, eye: Array, shadow: Array) -> Array:
        """(H, W, 3) from `eye` (3,), darkened by a shadow (H, W, 1) in [0, 1]."""
        # A pixel shows the mean over its box on the floor, by integrals of the pattern along x and
        # y: tiles are a square wave of period 2, lines a pulse of period 1.
        ends = self._ends + (eye[:2] / TILE % 2.0).astype(np.float32)[:, None, None]
        start, stop = np.abs(ends - 2.0 * np.floor(ends / 2.0) - 1.0)
        wave = (start - stop) / self._size
        share = np.float32(LINE_WIDTH / TILE)
        ends += share / 2
        whole = np.floor(ends)
        start, stop = whole * share + np.minimum(ends - whole, share)
        line = (stop - start) / self._size
        line = 1.0 - (1.0 - line[0]) * (1.0 - line[1])
        floor = TILES[0] + (0.5 - 0.5 * wave[0] * wave[1])[..., None] * (TILES[1] - TILES[0])
        floor += line[..., None] * (LINE - floor)
        floor *= 1.0 - SHADOW * shadow[self._first :]
        floor += self._haze * (SKY_LOW - floor)
        image = self._sky.copy()
        image[self._first :] = floor
        return image


class Fragments(NamedTuple):
    """Pixels that triangles cover, each by the nearest one.

    Each pixel (F,) is row times width plus column; with it go the number of its triangle (F,), and
    its place there, as shares (F, 3) of the corners.
    """

    pixel: Array
    triangle: Array
    weight: Array

    def mean(self, values: Array) -> Array:
        """Values (F, K) there, of values (M, 3, K) at corners."""
        return np.einsum("fi,fik->fk", self.weight, values[self.triangle])


def rasterise(corner: Array, depth: Array, width: int, height: int) -> Fragments:
    """The nearest triangle in each pixel of a picture; pixel centres lie at half-integers.

    Corners (M, 3, 2) are in pixels, x to the right, y down; depth (M, 3) is positive, their
    distance along the view.
    """
    triangle, row, column = _covered(corner, width, height)
    # Shares of the second and third corner are linear across the picture, as is 1 / depth.
    b, c = (corner[:, 1] - corner[:, 0]), (corner[:, 2] - corner[:, 0])
    area = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    area = np.where(area == 0.0, np.inf, area)[:, None]
    to_b, to_c = c[:, ::-1] * [1.0, -1.0] / area, b[:, ::-1] * [-1.0, 1.0] / area
    near = 1.0 / depth
    slope = (near[:, 1:2] - near[:, :1]) * to_b + (near[:, 2:] - near[:, :1]) * to_c
    level = near[:, 0] - (slope * corner[:, 0]).sum(-1)
    x, y = column + 0.5, row + 0.5
    closeness = slope[triangle, 0] * x + slope[triangle, 1] * y + level[triangle]
    pixel = row * width + column
    closest = np.zeros(width * height)
    np.maximum.at(closest, pixel, closeness)
    seen = np.flatnonzero(closeness == closest[pixel])
    # Of two as close to each other as can be, one is drawn.
    pixel, first = np.unique(pixel[seen], return_index=True)
    seen = seen[first]
    triangle = triangle[seen]
    offset = np.stack([x[seen], y[seen]], -1) - corner[triangle, 0]
    share_b, share_c = (np.einsum("fi,fi->f", offset, to[triangle]) for to in (to_b, to_c))
    weight = np.stack([1.0 - share_b - share_c, share_b, share_c], -1)
    return Fragments(pixel, triangle, weight)


def _covered(corner: Array, width: int, height: int) -> tuple[Array, Array, Array]:
    """Triangle, row and column of every pixel centre within a triangle."""
    x, y = np.ascontiguousarray(corner.transpose(2, 1, 0))  # (3, M) each
    triangle, row = _ranges(_centre(y.min(0), height), _centre(y.max(0), height))
    # Each row of a triangle reaches from the first of its edges to the last that crosses it.
    x, y = x[:, triangle], y[:, triangle]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (row + 0.5 - y) / (np.roll(y, -1, 0) - y)
        cross = x + share * (np.roll(x, -1, 0) - x)
    crosses = (share >= 0.0) & (share <= 1.0)
    left = np.where(crosses, cross, np.inf).min(0)
    right = np.where(crosses, cross, -np.inf).max(0)
    span, column = _ranges(_centre(left, width), _centre(right, width))
    return triangle[span], row[span], column


def _centre(place: Array, size: int) -> Array:
    """First pixel whose centre is at or beyond `place`, from 0 to `size`."""
    return np.ceil(place - 0.5).clip(0, size).astype(int)


def _ranges(first: Array, stop: Array) -> tuple[Array, Array]:
    """Index of each range, and its numbers from `first` to `stop` (exclusive), one by one."""
    count = np.maximum(stop - first, 0)
    which = np.repeat(np.arange(len(count)), count)
    return which, np.arange(len(which)) + (first - np.cumsum(count) + count)[which]


class Surface(NamedTuple):
    """Triangles (M, 3, 3) [m] of one geom in its frame, and outward unit normals at each corner."""

    corner: Array
    normal: Array


def geom_surface(model: mujoco.MjModel, geom: int) -> Surface | None:
    """The surface of a geom; None for one that has no triangles here (plane, height field)."""
    kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), model.geom_size[geom]
    radius, up = size[0], np.array([0.0, 0.0, size[1]])
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        vertex, face = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
        vertices = model.mesh_vert[vertex : vertex + int(model.mesh_vertnum[mesh])]
        faces = model.mesh_face[face : face + int(model.mesh_facenum[mesh])]
        corner = vertices[faces].astype(float)
        normal = _flat(corner)
    elif kind == mujoco.mjtGeom.mjGEOM_BOX:
        corner = _hull(np.array(list(itertools.product((-1.0, 1.0), repeat=3))) * size)
        normal = _flat(corner)
    elif kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        radii = np.full(3, radius) if kind == mujoco.mjtGeom.mjGEOM_SPHERE else size
        corner = _hull(_BALL * radii)
        normal = corner / radii**2
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        corner = _hull(np.concatenate([_BALL * radius + up, _BALL * radius - up]))
        normal = corner - up * np.sign(corner[..., 2:])
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        ring = radius * _BALL[_BALL[:, 2] == 0.0]
        corner = _hull(np.concatenate([ring + up, ring - up]))
        normal = _flat(corner)
        wall = np.abs(normal[..., 2:]) < 0.5 * np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = np.where(wall, corner * [1.0, 1.0, 0.0], normal)
    else:
        return None
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return Surface(corner, normal / np.maximum(length, 1e-12))


def _flat(corner: Array) -> Array:
    """Normals (M, 3, 3) of triangles, each with one; not of unit length."""
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return np.repeat(normal[:, None], 3, axis=1)


def _hull(points: Array) -> Array:
    """Triangles (M, 3, 3) around points (N, 3), counter-clockwise from outside."""
    hull = ConvexHull(points)
    corner = points[hull.simplices]
    facing = (_flat(corner)[:, 0] * hull.equations[:, :3]).sum(-1)
    corner = np.where(facing[:, None, None] < 0.0, corner[:, ::-1], corner)
    return corner[np.abs(facing) > 1e-12]
