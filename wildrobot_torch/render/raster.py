"""Triangles to pixels, in numpy: a depth buffer without a graphics library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Raster:
    """What is nearest in each pixel."""

    triangle: Array
    """(H, W): index of the triangle, -1 for none."""
    weight: Array
    """(H, W, 3): where in the triangle, as shares of its corners."""
    depth: Array
    """(H, W): how far away along the view; infinite where there is no triangle."""


def rasterise(corner: Array, depth: Array, width: int, height: int) -> Raster:
    """The nearest triangle in each pixel; pixel centres lie at half-integers.

    Triangles are drawn in groups whose bounding boxes have like sizes, each group at once.

    Args:
        corner: (M, 3, 2): corners in pixels, x to the right, y down.
        depth: (M, 3): distance of the corners along the view, positive.
        width: W.
        height: H.
    """
    nearest = np.full(height * width, np.inf)
    triangle = np.full(height * width, -1)
    weight = np.zeros((height * width, 3))
    edge_b, edge_c = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = edge_b[:, 0] * edge_c[:, 1] - edge_b[:, 1] * edge_c[:, 0]
    low = np.floor(np.clip(corner.min(1), 0, [width, height])).astype(int)
    high = np.ceil(np.clip(corner.max(1), 0, [width, height])).astype(int)
    size = high - low
    drawn = (size > 0).all(1) & (np.abs(area) > 1e-9)
    # Sizes rounded up to powers of two: few groups, and at most four times the pixels.
    group = np.ceil(np.log2(np.maximum(size, 1))).astype(int)
    for group_x, group_y in np.unique(group[drawn], axis=0):
        members = np.flatnonzero(drawn & (group[:, 0] == group_x) & (group[:, 1] == group_y))
        x = low[members, 0, None, None] + np.arange(2**group_x)[None, None, :]
        y = low[members, 1, None, None] + np.arange(2**group_y)[None, :, None]
        first = corner[members, 0]
        dx = x + 0.5 - first[:, 0, None, None]
        dy = y + 0.5 - first[:, 1, None, None]
        b, c, whole = edge_b[members], edge_c[members], area[members, None, None]
        share_b = (dx * c[:, 1, None, None] - dy * c[:, 0, None, None]) / whole
        share_c = (dy * b[:, 0, None, None] - dx * b[:, 1, None, None]) / whole
        share_a = 1.0 - share_b - share_c
        covered = (share_a >= 0) & (share_b >= 0) & (share_c >= 0) & (x < width) & (y < height)
        which, row, column = np.nonzero(covered)
        shares = np.stack([share_a[covered], share_b[covered], share_c[covered]], axis=-1)
        # 1 / depth is what is linear across the picture.
        distance = 1.0 / (shares / depth[members][which]).sum(-1)
        pixel = y[which, row, 0] * width + x[which, 0, column]
        order = np.argsort(-distance, kind="stable")  # the nearest is written last and stays
        order = order[distance[order] < nearest[pixel[order]]]
        nearest[pixel[order]] = distance[order]
        triangle[pixel[order]] = members[which[order]]
        weight[pixel[order]] = shares[order]
    shape = (height, width)
    return Raster(triangle.reshape(shape), weight.reshape(*shape, 3), nearest.reshape(shape))
