"""Tests of wildrobot_torch/render/raster.py."""

from __future__ import annotations

import numpy as np
import pytest

from wildrobot_torch.render.raster import rasterise

SQUARE = np.array([[[2, 2], [6, 2], [6, 6]], [[2, 2], [6, 6], [2, 6]]], dtype=float)


def test_a_square_covers_its_pixels() -> None:
    raster = rasterise(SQUARE, np.ones((2, 3)), 8, 10)
    covered = raster.triangle >= 0
    assert covered.shape == (10, 8)
    expected = np.zeros((10, 8), dtype=bool)
    expected[2:6, 2:6] = True
    assert (covered == expected).all()


def test_the_order_of_corners_does_not_matter() -> None:
    turned = rasterise(SQUARE[:, ::-1], np.ones((2, 3)), 8, 10)
    straight = rasterise(SQUARE, np.ones((2, 3)), 8, 10)
    assert ((turned.triangle >= 0) == (straight.triangle >= 0)).all()


@pytest.mark.parametrize("nearest", [0, 1])
def test_the_nearest_wins_whatever_the_order(nearest: int) -> None:
    big = np.array([[[-50, -50], [50, -50], [0, 100]], [[0, 0], [8, 0], [0, 8]]], dtype=float)
    depth = np.array([[2.0] * 3, [1.0] * 3]) if nearest else np.array([[1.0] * 3, [2.0] * 3])
    raster = rasterise(big, depth, 8, 8)
    assert raster.triangle[1, 1] == nearest


def test_triangles_that_cut_each_other_are_split_by_depth() -> None:
    # Two triangles over the whole picture: one level, one whose depth grows to the right.
    whole = np.array([[[0, -100], [0, 100], [100, 0]]] * 2, dtype=float)
    depth = np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 1e9]])
    raster = rasterise(whole, depth, 100, 1)
    # 1 / depth falls from 1 to 0 over 100 pixels and passes 1 / 2 in the middle.
    assert (raster.triangle[0, :50] == 1).all()
    assert (raster.triangle[0, 50:] == 0).all()


def test_weights_are_shares_of_the_corners() -> None:
    corner = np.array([[[0, 0], [8, 0], [0, 8]]], dtype=float)
    raster = rasterise(corner, np.ones((1, 3)), 8, 8)
    # The centre of pixel x = 1, y = 3 lies at 1.5 / 8 towards the second corner, 3.5 / 8 the third.
    assert raster.weight[3, 1] == pytest.approx([3 / 8, 1.5 / 8, 3.5 / 8])


def test_what_is_outside_or_flat_draws_nothing() -> None:
    outside = np.array([[[20, 0], [30, 0], [20, 9]], [[1, 1], [5, 5], [3, 3]]], dtype=float)
    assert (rasterise(outside, np.ones((2, 3)), 8, 8).triangle == -1).all()
    nothing = rasterise(np.zeros((0, 3, 2)), np.zeros((0, 3)), 8, 8)
    assert (nothing.triangle == -1).all()
