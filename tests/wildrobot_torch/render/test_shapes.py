"""Tests of wildrobot_torch/render/shapes.py."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from wildrobot_torch.render.shapes import Surface, geom_surface

CUBE = "0 0 0  1 0 0  0 1 0  0 0 1  1 1 0  1 0 1  0 1 1  1 1 1"


def surface(geom: str) -> Surface:
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><asset><mesh name='cube' vertex='{CUBE}'/></asset>"
        f"<worldbody><geom {geom}/></worldbody></mujoco>"
    )
    found = geom_surface(model, 0)
    assert found is not None
    return found


def volume(corner: np.ndarray) -> float:
    """Of a closed surface, by the divergence theorem; positive when triangles face outward."""
    return float(np.einsum("mi,mi->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6.0)


@pytest.mark.parametrize(
    ("geom", "expected"),
    [
        ("type='box' size='0.1 0.2 0.3'", 8 * 0.1 * 0.2 * 0.3),
        ("type='sphere' size='0.2'", 4 / 3 * np.pi * 0.2**3),
        ("type='ellipsoid' size='0.1 0.2 0.3'", 4 / 3 * np.pi * 0.1 * 0.2 * 0.3),
        ("type='cylinder' size='0.1 0.3'", np.pi * 0.1**2 * 0.6),
        ("type='capsule' size='0.1 0.3'", np.pi * 0.1**2 * 0.6 + 4 / 3 * np.pi * 0.1**3),
        ("type='mesh' mesh='cube'", 1.0),
    ],
)
def test_surfaces_enclose_the_geoms_volume(geom: str, expected: float) -> None:
    found = surface(geom)
    # Circles are polygons of twenty corners: up to 5 % less, never more.
    assert 0.94 * expected < volume(found.corner) <= expected * (1 + 1e-6)
    assert np.linalg.norm(found.normal, axis=-1) == pytest.approx(np.ones(found.normal.shape[:2]))


@pytest.mark.parametrize(
    "geom",
    [
        "type='box' size='0.1 0.2 0.3'",
        "type='capsule' size='0.1 0.3'",
        "type='cylinder' size='1 2'",
    ],
)
def test_normals_point_outward(geom: str) -> None:
    found = surface(geom)
    corner = found.corner
    facing = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (np.einsum("mi,mki->mk", facing, found.normal) > 0).all()


def test_a_plane_has_no_triangles() -> None:
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='plane' size='1 1 1'/></worldbody></mujoco>"
    )
    assert geom_surface(model, 0) is None
