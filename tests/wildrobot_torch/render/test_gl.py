"""Tests of wildrobot_torch/render/gl.py, where there is an OpenGL without a display."""

from __future__ import annotations

import numpy as np
import pytest

from envs.robot.model import load_robot
from wildrobot_torch.render.camera import View
from wildrobot_torch.render.gl import GlRenderer, available_platform
from wildrobot_torch.render.software import SoftwareRenderer


@pytest.fixture
def platform() -> str:
    found = available_platform()
    if found is None:
        pytest.skip("neither EGL nor OSMesa draws on this machine")
    return found


def test_both_renderers_put_the_robot_in_the_same_place(platform: str) -> None:
    loaded = load_robot()
    home = loaded.robot.home_qpos.numpy().astype(float)
    view = View()
    target = np.array([0.0, 0.0, view.height])
    gl = GlRenderer(loaded.model, 320, 240, platform)
    try:
        pictures = [
            gl.render(home, target, view),
            SoftwareRenderer(loaded.model, 320, 240).render(home, target, view),
        ]
    finally:
        gl.close()
    assert pictures[0].shape == pictures[1].shape == (240, 320, 3)
    # Blue is weak in the robot's orange alone: floor and sky are grey and blue.
    masks = [picture[..., 0].astype(int) - picture[..., 2] > 60 for picture in pictures]
    shared, either = (masks[0] & masks[1]).sum(), (masks[0] | masks[1]).sum()
    assert either > 1000
    assert shared / either > 0.8


def test_a_renderer_draws_the_state_it_is_given(platform: str) -> None:
    loaded = load_robot()
    home = loaded.robot.home_qpos.numpy().astype(float)
    target = np.array([0.0, 0.0, 0.3])
    gl = GlRenderer(loaded.model, 64, 64, platform)
    try:
        first = gl.render(home, target, View())
        away = gl.render(home + np.eye(15)[1] * 9.0, target, View())
        again = gl.render(home, target, View())
    finally:
        gl.close()
    assert (first == again).all()
    assert (first != away).any()


def test_both_renderers_put_the_ghost_in_the_same_place(platform: str) -> None:
    loaded = load_robot()
    home = loaded.robot.home_qpos.numpy().astype(float)
    target = np.array([0.0, 0.3, 0.31])
    ghost = home + 0.6 * np.eye(15)[1]
    gl = GlRenderer(loaded.model, 320, 240, platform)
    try:
        alone, both = gl.render(home, target, View()), gl.render(home, target, View(), ghost)
        again = gl.render(home, target, View())
    finally:
        gl.close()
    assert (alone == again).all()
    drawn = SoftwareRenderer(loaded.model, 320, 240).render(home, target, View(), ghost)
    masks = [picture[..., 2].astype(int) - picture[..., 0] > 45 for picture in (both, drawn)]
    masks = [mask & (np.arange(240) > 60)[:, None] for mask in masks]  # below the sky
    shared, either = (masks[0] & masks[1]).sum(), (masks[0] | masks[1]).sum()
    assert either > 1000
    assert shared / either > 0.6
