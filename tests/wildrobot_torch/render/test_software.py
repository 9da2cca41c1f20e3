"""Tests of wildrobot_torch/render/software.py."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import RobotModel
from wildrobot_torch.render.camera import View
from wildrobot_torch.render.software import (
    Fragments,
    SoftwareRenderer,
    Surface,
    geom_surface,
    rasterise,
)

LEVEL = View(azimuth=90.0, elevation=0.0, distance=2.0, height=0.0)


def ball(color: str = "1 0 0 1", place: str = "0 0 0.5", group: int = 0) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(
        f"""<mujoco><worldbody>
        <geom type="plane" size="1 1 1"/>
        <geom type="sphere" size="0.2" pos="{place}" rgba="{color}" group="{group}"/>
        </worldbody></mujoco>"""
    )


def red(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 90) & (picture[..., 1] < 30) & (picture[..., 2] < 30)


def test_a_ball_is_where_and_as_large_as_it_should_be() -> None:
    picture = SoftwareRenderer(ball(), 160, 120).render(
        np.zeros(0), np.array([0.0, 0.0, 0.5]), LEVEL
    )
    assert picture.shape == (120, 160, 3)
    rows, columns = np.nonzero(red(picture))
    assert rows.mean() == pytest.approx(59.5, abs=0.5)
    assert columns.mean() == pytest.approx(79.5, abs=0.5)
    # tan of the angle is 0.2 / sqrt(2^2 - 0.2^2); half the picture's height is tan 22.5 degrees.
    radius = 60 * 0.2 / np.sqrt(3.96) / np.tan(np.pi / 8)
    assert columns.max() - columns.min() + 1 == pytest.approx(2 * radius, abs=2)


def test_right_in_the_world_is_right_in_the_picture() -> None:
    renderer = SoftwareRenderer(ball(place="0.5 0 0.5"), 160, 120)
    rows, columns = np.nonzero(red(renderer.render(np.zeros(0), np.array([0, 0, 0.2]), LEVEL)))
    assert columns.mean() > 90  # +x is to the right of a camera that looks along +y
    assert rows.mean() < 50  # up is up


def test_the_upper_side_is_brighter() -> None:
    picture = SoftwareRenderer(ball(), 160, 120).render(
        np.zeros(0), np.array([0.0, 0.0, 0.5]), LEVEL
    )
    assert int(picture[52, 80, 0]) > int(picture[68, 80, 0]) + 20


def test_a_shadow_falls_on_the_floor() -> None:
    down = View(azimuth=90.0, elevation=-60.0, distance=3.0, height=0.0)
    target = np.zeros(3)
    lit = SoftwareRenderer(ball(place="50 50 1"), 160, 120).render(np.zeros(0), target, down)
    shaded = SoftwareRenderer(ball(place="0.15 -0.2 0.45"), 160, 120).render(
        np.zeros(0), target, down
    )
    darker = (lit.astype(int) - shaded > 30).all(-1) & ~red(shaded)
    assert darker.sum() > 50


def test_the_sky_is_above_the_floor_and_the_floor_has_tiles() -> None:
    picture = SoftwareRenderer(ball(place="50 50 1"), 160, 120).render(
        np.zeros(0), np.array([0.0, 0.0, 0.3]), View()
    )
    top, bottom = picture[2], picture[-20:]
    assert top[:, 2].mean() > top[:, 0].mean() + 10  # blue
    assert bottom.std() > 8


def test_a_camera_that_looks_up_sees_the_sky_alone() -> None:
    renderer = SoftwareRenderer(ball(place="0 -5 0"), 64, 64)
    picture = renderer.render(np.zeros(0), np.array([0.0, 0.0, 1.0]), View(elevation=60.0))
    assert (picture == picture[0, 0]).all()


def test_tiles_are_as_wide_as_they_are_in_the_world() -> None:
    # From 2 m above, straight down, half the picture's height is 2 m times tan 22.5 degrees.
    down = View(azimuth=90.0, elevation=-90.0, distance=2.0, height=0.0)
    picture = SoftwareRenderer(ball(place="9 9 9"), 320, 320).render(
        np.zeros(0), np.array([0.125, 0.125, 0.0]), down
    )
    lines = np.flatnonzero(np.diff((picture[160, :, 0] < 175).astype(int)) == 1)
    assert np.diff(lines).mean() == pytest.approx(0.25 / (2.0 * np.tan(np.pi / 8)) * 160, rel=0.02)
    bright = picture[160, :, 0].astype(int)
    assert len(set((bright[lines[:-1] + 10] > 203).tolist())) == 2, "light and dark tiles"


def test_hidden_groups_and_clear_geoms_are_not_drawn() -> None:
    for model in (ball(group=3), ball(color="1 0 0 0")):
        with pytest.raises(ValueError, match="nothing to draw"):
            SoftwareRenderer(model, 64, 64)


def test_the_robot_is_drawn_in_one_piece_and_moves(robot_model: RobotModel) -> None:
    model, robot = robot_model.model, robot_model.robot
    renderer = SoftwareRenderer(model, 160, 128)
    home = robot.home_qpos.numpy().astype(float)
    view = View()
    target = np.array([0.0, 0.0, view.height])
    stands = renderer.render(home, target, view)
    orange = (stands[..., 0] > 150) & (stands[..., 2] < 60)
    assert orange.sum() > 200
    bent = home.copy()
    bent[robot.joint_qpos_adr[robot.joint_names.index("right_knee_pitch")]] = 1.0
    changed = (renderer.render(bent, target, view).astype(int) - stands).any(-1)
    rows = np.nonzero(changed)[0]
    assert 30 < changed.sum() < 128 * 160 / 4
    assert rows.min() > 40  # the trunk stays


def blue(picture: np.ndarray) -> np.ndarray:
    return picture[..., 2].astype(int) - picture[..., 0] > 45


def test_a_ghost_is_blue_lets_the_floor_through_and_leaves_the_robot_alone(
    robot_model: RobotModel,
) -> None:
    renderer = SoftwareRenderer(robot_model.model, 160, 128)
    home = robot_model.robot.home_qpos.numpy().astype(float)
    aside = home + 0.6 * np.eye(15)[1]
    target = np.array([0.0, 0.3, 0.31])
    alone = renderer.render(home, target, View())
    both = renderer.render(home, target, View(), aside)
    changed = (both != alone).any(-1)
    assert 300 < changed.sum() < 0.2 * changed.size
    assert blue(both)[changed].mean() > 0.5
    orange = (alone[..., 0] > 150) & (alone[..., 2] < 60)
    assert not changed[orange].any()
    # What shows through is darker where what lies behind is.
    assert (renderer.render(aside, target, View()) != both).any()
    assert (renderer.render(home, target, View()) == alone).all()


def test_a_ghost_behind_the_robot_is_hidden_by_it() -> None:
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><body><freejoint/><geom type="sphere" size="0.2" rgba="1 0 0 1"/>
        </body></worldbody></mujoco>"""
    )
    renderer = SoftwareRenderer(model, 80, 60)
    here = np.array([0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0])
    behind, before = here + 2.0 * np.eye(7)[1], here - 0.5 * np.eye(7)[1]
    target = here[:3]
    alone = renderer.render(here, target, LEVEL)
    assert (renderer.render(here, target, LEVEL, behind) == alone).all()
    assert (renderer.render(here, target, LEVEL, before) != alone).any(-1).sum() > 200


SQUARE = np.array([[[2, 2], [6, 2], [6, 6]], [[2, 2], [6, 6], [2, 6]]], dtype=float)


def picture(fragments: Fragments, values: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, ...) of values (F, ...) at covered pixels; -1 elsewhere."""
    flat = np.full((height * width, *values.shape[1:]), -1.0)
    flat[fragments.pixel] = values
    return flat.reshape(height, width, *values.shape[1:])


def triangles(corner: np.ndarray, depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W): the triangle seen in each pixel, -1 for none."""
    found = rasterise(corner, depth, width, height)
    return picture(found, found.triangle, width, height)


def test_a_square_covers_its_pixels() -> None:
    covered = triangles(SQUARE, np.ones((2, 3)), 8, 10) >= 0
    expected = np.zeros((10, 8), dtype=bool)
    expected[2:6, 2:6] = True
    assert (covered == expected).all()


def test_the_order_of_corners_does_not_matter() -> None:
    turned = triangles(SQUARE[:, ::-1], np.ones((2, 3)), 8, 10)
    assert (turned == triangles(SQUARE, np.ones((2, 3)), 8, 10)).all()


@pytest.mark.parametrize("nearest", [0, 1])
def test_the_nearest_wins_whatever_the_order(nearest: int) -> None:
    big = np.array([[[-50, -50], [50, -50], [0, 100]], [[0, 0], [8, 0], [0, 8]]], dtype=float)
    depth = np.array([[2.0] * 3, [1.0] * 3]) if nearest else np.array([[1.0] * 3, [2.0] * 3])
    assert triangles(big, depth, 8, 8)[1, 1] == nearest


def test_triangles_that_cut_each_other_are_split_by_depth() -> None:
    # Two triangles over the whole picture: one level, one whose depth grows to the right.
    whole = np.array([[[0, -100], [0, 100], [100, 0]]] * 2, dtype=float)
    depth = np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 1e9]])
    seen = triangles(whole, depth, 100, 1)
    # 1 / depth falls from 1 to 0 over 100 pixels and passes 1 / 2 in the middle.
    assert (seen[0, :50] == 1).all()
    assert (seen[0, 50:99] == 0).all()


def test_weights_are_shares_of_the_corners() -> None:
    corner = np.array([[[0, 0], [8, 0], [0, 8]]], dtype=float)
    found = rasterise(corner, np.ones((1, 3)), 8, 8)
    # The centre of pixel x = 1, y = 3 lies at 1.5 / 8 towards the second corner, 3.5 / 8 the third.
    assert picture(found, found.weight, 8, 8)[3, 1] == pytest.approx([3 / 8, 1.5 / 8, 3.5 / 8])


def test_what_is_outside_or_flat_draws_nothing() -> None:
    outside = np.array([[[20, 0], [30, 0], [20, 9]], [[1, 1], [5, 5], [3, 3]]], dtype=float)
    assert (triangles(outside, np.ones((2, 3)), 8, 8) == -1).all()
    assert (triangles(np.zeros((0, 3, 2)), np.zeros((0, 3)), 8, 8) == -1).all()


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
