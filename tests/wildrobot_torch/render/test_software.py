"""Tests of wildrobot_torch/render/software.py."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import RobotModel
from wildrobot_torch.render.camera import View
from wildrobot_torch.render.software import SoftwareRenderer

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
