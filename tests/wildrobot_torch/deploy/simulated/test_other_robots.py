"""The simulated robot of other robots: it stands, and its IMU is where it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wildrobot_torch.deploy.simulated.options import RobotOptions, perfect
from wildrobot_torch.deploy.simulated.robot import SimulatedRobot


@pytest.mark.parametrize("name", ["biped12", "wildrobot17"])
def test_stands_at_home(name: str) -> None:
    """For 2 s by its servos, those of held joints among them."""
    body = SimulatedRobot(RobotOptions(robot=name, start="holding", **perfect()))
    height = body.truth()[2]
    for _ in range(round(2.0 / body.dt)):
        body.step()
    assert body.truth()[2] == pytest.approx(height, abs=0.01)
    assert body.truth()[3] > 0.999
    assert len(body.joint_names) == (12 if name == "biped12" else 11)


def test_imu_of_a_chest_that_turns() -> None:
    """The waist told to go to 0.3 rad about -z: the chest's heading is -0.3 rad, not the root's."""
    body = SimulatedRobot(RobotOptions(robot="wildrobot17", start="holding", **perfect()))
    target = body.servos.shown(body.truth()[7:18])
    target[body.joint_names.index("waist_yaw")] = 0.3
    body.write(target)
    for _ in range(round(1.5 / body.dt)):
        body.step()
    w, x, y, z = body.read().quat
    heading = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    w, x, y, z = body.truth()[3:7]
    root = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    turned = body.truth()[7 + body.joint_names.index("waist_yaw")]
    assert heading - root == pytest.approx(-turned, abs=0.01) and turned > 0.2
    assert np.isfinite(body.read().gyro).all()
