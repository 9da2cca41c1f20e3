"""A runtime and a simulated robot in another process."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from wildrobot_torch.contract import Controller, Readings, read
from wildrobot_torch.deploy.runtime.hardware import Sample
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.files import WALKING_POLICY

PERFECT = {"servo": "ideal", "joint_period_s": [0, 0], "joint_lost": 0, "imu_stale": 0,
           "imu_period_s": 0, "orientation_noise": 0, "gyro_noise": 0, "gyro_bias": 0,
           "heading_drift": 0, "switch_drop": 0, "battery_ohm": 0, "write_s": 0}  # fmt: skip


@pytest.fixture(scope="module")
def robot() -> Iterator[RemoteRobot]:
    with RemoteRobot.start(lockstep=True) as remote:
        yield remote


def _readings(sample: Sample, age: float) -> Readings:
    """Readings of a robot whose servos and IMU are mounted as the contract has them."""
    w, x, y, z = sample.quat
    return Readings(
        gravity=np.array([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1]),
        angvel=sample.gyro,
        heading=math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        joint_pos=sample.position,
        joint_time=sample.position_time,
        switches=sample.switches,
        age=age,
    )


def test_the_shipped_policy_walks(robot: RemoteRobot) -> None:
    contract, network = read(WALKING_POLICY)
    robot.place()
    robot.sleep(0.1)
    assert robot.joint_names == contract.joint_names
    begun, home = robot.read().position, contract.offset
    for share in np.linspace(0.0, 1.0, 100):
        robot.write(begun + share * (home - begun))
        robot.sleep(contract.ctrl_dt)
    controller = Controller(contract, network)
    controller.begin(home, _readings(robot.read(), contract.ctrl_dt).heading)
    command, places = np.array([0.4, 0.0, 0.0]), []
    for _ in range(500):
        robot.write(controller.act(_readings(robot.read(), contract.ctrl_dt), command))
        robot.sleep(contract.ctrl_dt)
        places.append(robot.truth().qpos[:3])
    heights = np.array(places)[:, 2]
    assert heights.min() > 0.40
    speed = (places[-1][0] - places[100][0]) / (399 * contract.ctrl_dt)
    assert speed == pytest.approx(0.4, abs=0.06)
