from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from envs.physics.capacities import Capacities
from envs.physics.warp import WarpPhysics

PLATE = """
<mujoco>
  <option timestep="0.002" iterations="10"><flag autoreset="disable"/></option>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="plate" pos="0 0 0.1">
      <freejoint/>
      <geom name="plate" type="box" size=".05 .04 .002" mass="1"/>
    </body>
  </worldbody>
  <sensor>
    <contact name="touch" geom1="floor" geom2="plate" reduce="netforce" data="found force"/>
  </sensor>
</mujoco>
"""


@pytest.mark.parametrize("tilt", [0.0, 0.02, 0.3, 1.2])
@pytest.mark.parametrize("depth", [0.001, 0.006])
def test_a_plate_has_the_contacts_mujoco_gives_it(depth: float, tilt: float) -> None:
    """Pressed in less and more than it is high, flat and on edge."""
    model = mujoco.MjModel.from_xml_string(PLATE)
    lowest = 0.05 * abs(np.sin(tilt)) + 0.002 * np.cos(tilt)
    qpos = np.array([0, 0, lowest - depth, np.cos(tilt / 2), 0, np.sin(tilt / 2), 0])
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    engine = WarpPhysics(model, 1, Capacities(64, 16, 16), "cpu")
    everywhere = torch.ones(1, dtype=torch.bool)
    state = torch.as_tensor(qpos, dtype=torch.float32)[None]
    engine.reset(everywhere, state, torch.zeros(1, 6), torch.zeros(1, 0))
    assert data.sensordata[0] > 0
    measured = engine.state().sensordata[0].numpy()
    assert measured == pytest.approx(data.sensordata, rel=1e-3, abs=1e-4)
