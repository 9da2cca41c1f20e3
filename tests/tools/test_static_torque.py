"""Tests of tools/static_torque.py: torques at rest by hand, on the packaged robot."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.robot.model import load_robot
from tools import static_torque as tool


def test_an_ankle_holds_its_foot_in_the_air_and_the_floors_force_on_the_ground() -> None:
    loaded = load_robot()
    robot, model = loaded.robot, loaded.model
    home = robot.home_qpos[None].numpy()
    air = tool.static_torques(loaded, home, np.zeros((1, 2)))[0]
    ground = tool.static_torques(loaded, home, np.full((1, 2), robot.weight / 2))[0]
    # A foot alone: its weight times the way of its centre of mass in front of the ankle's axis.
    ankle = robot.joint_names.index("left_ankle_pitch")
    foot, data = model.body("left_foot").id, mujoco.MjData(model)
    data.qpos[:] = home[0]
    mujoco.mj_forward(model, data)
    joint = model.joint("left_ankle_pitch").id
    way = data.xipos[foot, 0] - data.xanchor[joint, 0]
    torque = model.body_mass[foot] * robot.gravity * way
    assert abs(air[ankle]) == pytest.approx(abs(torque), rel=1e-6)
    # The floor's half of the weight acts at the sole's middle.
    sole = model.site("left_sole").id
    lever = data.site_xpos[sole, 0] - data.xanchor[joint, 0]
    change = abs(ground[ankle] - air[ankle])
    assert change == pytest.approx(robot.weight / 2 * abs(lever), rel=1e-6)
