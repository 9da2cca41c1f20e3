"""Tests of wildrobot_torch/render/camera.py."""

from __future__ import annotations

import numpy as np
import pytest

from wildrobot_torch.render.camera import View, follow


def test_the_target_is_straight_ahead() -> None:
    target = np.array([1.0, 2.0, 0.3])
    for azimuth, elevation in ((0.0, 0.0), (125.0, -14.0), (-60.0, 30.0)):
        view = View(azimuth=azimuth, elevation=elevation, distance=1.5)
        eye, axes = view.pose(target)
        assert axes @ (target - eye) == pytest.approx([0.0, 0.0, -1.5], abs=1e-12)
        assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)


def test_azimuth_90_looks_along_y_from_the_right_of_a_robot_facing_x() -> None:
    eye, axes = View(azimuth=90.0, elevation=0.0, distance=2.0).pose(np.zeros(3))
    assert eye == pytest.approx([0.0, -2.0, 0.0])
    assert axes[0] == pytest.approx([1.0, 0.0, 0.0])  # ahead of the robot is to the right
    assert axes[1] == pytest.approx([0.0, 0.0, 1.0])


def test_a_steady_walk_is_followed_without_lag_and_without_sway() -> None:
    t = np.arange(200) / 50.0
    qpos = np.zeros((200, 15))
    qpos[:, 0] = 0.3 * t
    qpos[:, 1] = 0.03 * np.sin(2.0 * np.pi * t / 0.6)
    targets = follow(qpos, View(height=0.3), 50.0)
    assert targets[:, 0] == pytest.approx(0.3 * t, abs=1e-9)
    assert np.abs(targets[30:-30, 1]).max() < 0.003
    assert (targets[:, 2] == 0.3).all()


def test_a_single_frame_can_be_followed() -> None:
    assert follow(np.ones((1, 15)), View(height=0.3), 50.0).tolist() == [[1.0, 1.0, 0.3]]
