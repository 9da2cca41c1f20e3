"""Pictures of the robot without any graphics library: numpy draws triangles on a grid floor."""

from __future__ import annotations

import mujoco
import numpy as np

from wildrobot_torch.render.camera import GHOST, View
from wildrobot_torch.render.raster import Raster, rasterise
from wildrobot_torch.render.shapes import geom_surface

Array = np.ndarray

SUPERSAMPLE = 2
"""Pixels drawn per pixel shown, each way."""
LIGHT = np.array([0.35, -0.45, 1.0]) / np.linalg.norm([0.35, -0.45, 1.0])
"""Direction to the lamp."""
AMBIENT, DIFFUSE = 0.5, 0.6
SKY_HIGH, SKY_LOW = np.array([0.62, 0.75, 0.90]), np.array([0.95, 0.97, 0.98])
TILES = np.array([[0.84, 0.85, 0.87], [0.76, 0.78, 0.81]])
LINE = np.array([0.60, 0.62, 0.66])
TILE, LINE_WIDTH = 0.25, 0.008
"""[m]"""
HAZE = 7.0
"""Distance [m] in which the floor fades into the sky."""
NEAR = 0.05
"""Nothing nearer than this is drawn [m]."""


class SoftwareRenderer:
    """Draws robots of one model on a level floor at height 0. A height field is not drawn."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Cuts the model's visible geoms (groups 0 to 2, as MuJoCo shows) into triangles.

        Raises:
            ValueError: none is visible.
        """
        self._model, self._data = model, mujoco.MjData(model)
        self._width, self._height = width, height
        corners, normals, owners, colors = [], [], [], []
        for geom in range(model.ngeom):
            color = _color(model, geom)
            surface = geom_surface(model, geom)
            if model.geom_group[geom] > 2 or color[3] == 0.0 or surface is None:
                continue
            corners.append(surface.corner)
            normals.append(surface.normal)
            owners.append(np.full(len(surface.corner), geom))
            colors.append(np.repeat(color[None, :3], len(surface.corner), axis=0))
        if not corners:
            raise ValueError("the model has nothing to draw: no visible geom in groups 0 to 2")
        self._corner, self._normal = np.concatenate(corners), np.concatenate(normals)
        self._owner, self._color = np.concatenate(owners), np.concatenate(colors)

    def render(self, qpos: Array, target: Array, view: View, ghost: Array | None = None) -> Array:
        """The robot at `qpos` (nq,), seen from `view` around `target` (3,) [m]: (H, W, 3) uint8.

        With `ghost` (nq,) a second, translucent one is drawn at those positions.
        """
        eye, axes = view.pose(target)
        corner, normal = self._placed(qpos)
        image = self._background(eye, axes, corner[normal[:, 0] @ LIGHT > 0.0])
        raster, bright, color = self._draw(corner, normal, eye, axes)
        hit = raster.triangle >= 0
        image[hit] = color[hit] * bright[hit][:, None]
        if ghost is not None:
            behind = raster.depth
            raster, bright, _ = self._draw(*self._placed(ghost), eye, axes)
            hit = raster.depth < behind
            shade = GHOST[:3] * bright[hit][:, None]
            image[hit] += GHOST[3] * (shade - image[hit])
        smaller = image.reshape(self._height, SUPERSAMPLE, self._width, SUPERSAMPLE, 3).mean((1, 3))
        return (255.0 * smaller.clip(0.0, 1.0)).round().astype(np.uint8)

    def _placed(self, qpos: Array) -> tuple[Array, Array]:
        """Corners and normals (M, 3, 3) of all triangles in the world, the robot at `qpos`."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        turn = self._data.geom_xmat.reshape(-1, 3, 3)[self._owner]
        place = self._data.geom_xpos[self._owner]
        corner = np.einsum("mij,mkj->mki", turn, self._corner) + place[:, None]
        return corner, np.einsum("mij,mkj->mki", turn, self._normal)

    def _draw(
        self, corner: Array, normal: Array, eye: Array, axes: Array
    ) -> tuple[Raster, Array, Array]:
        """What is seen of triangles, how bright (H, W) and in which colour (H, W, 3)."""
        shown = (((eye - corner[:, :1]) * normal).sum(-1) > 0.0).any(-1)  # the rest faces away
        pixel, depth = self._project(corner[shown], eye, axes)
        width, height = self._width * SUPERSAMPLE, self._height * SUPERSAMPLE
        raster = rasterise(pixel, depth, width, height)
        lit = AMBIENT + DIFFUSE * np.clip(normal[shown] @ LIGHT, 0.0, None)
        bright = (lit[raster.triangle] * raster.weight).sum(-1)
        return raster, bright, self._color[shown][raster.triangle]

    def close(self) -> None:
        """Nothing to free; there for whoever closes any renderer."""

    def _focal(self) -> float:
        """Focal length in drawn pixels."""
        half = np.deg2rad(self._model.vis.global_.fovy) / 2.0
        return SUPERSAMPLE * self._height / 2.0 / float(np.tan(half))

    def _project(self, corner: Array, eye: Array, axes: Array) -> tuple[Array, Array]:
        """Pixels (M, 3, 2) and depths (M, 3) of triangles (M, 3, 3) in the world."""
        seen = (corner - eye) @ axes.T
        depth = -seen[..., 2]
        near = (depth < NEAR).any(-1)
        seen[near], depth[near] = 0.0, 1.0  # shrunk to a point, which draws nothing
        center = np.array([self._width, self._height]) * SUPERSAMPLE / 2.0
        flat = seen[..., :2] * [1.0, -1.0] / depth[..., None]
        return center + self._focal() * flat, depth

    def _background(self, eye: Array, axes: Array, lit: Array) -> Array:
        """Sky, floor, and the shadow of the lit triangles on it, at drawn resolution."""
        width, height = self._width * SUPERSAMPLE, self._height * SUPERSAMPLE
        x = (np.arange(width) + 0.5 - width / 2.0)[None, :]
        y = (height / 2.0 - np.arange(height) - 0.5)[:, None]
        ray = x[..., None] * axes[0] + y[..., None] * axes[1] - self._focal() * axes[2]
        ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
        rise = ray[..., 2]
        image = SKY_LOW + np.clip(2.5 * rise, 0.0, 1.0)[..., None] * (SKY_HIGH - SKY_LOW)

        floor = rise < -1e-3
        distance = -eye[2] / rise[floor]
        point = eye[:2] + distance[:, None] * ray[floor][:, :2]
        cell = np.floor(point / TILE).astype(int)
        color = TILES[cell.sum(-1) % 2]
        edge = np.abs(point / TILE - np.round(point / TILE)).min(-1) * TILE
        color = np.where((edge < LINE_WIDTH / 2.0)[:, None], LINE, color)

        fallen = lit - lit[..., 2:] / LIGHT[2] * LIGHT
        pixel, depth = self._project(fallen, eye, axes)
        shadow = rasterise(pixel, depth, width, height).triangle >= 0
        color = np.where(shadow[floor][:, None], 0.68 * color, color)
        haze = 1.0 - np.exp(-((distance / HAZE) ** 2))
        image[floor] = color + haze[:, None] * (SKY_LOW - color)
        return image


def _color(model: mujoco.MjModel, geom: int) -> Array:
    """Colour (4,) of a geom: its material's, unless it has one of its own."""
    material = int(model.geom_matid[geom])
    return (model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]).astype(float)
