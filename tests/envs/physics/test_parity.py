"""What parity compares, and which differences have a known cause."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np
import torch

from envs.physics.parity import TOLERANCES, Difference, boxes_touch, grazes, sensor_groups
from envs.robot.model import RobotModel


def test_a_difference_passes_by_share_and_by_known_causes() -> None:
    """Limit of qpos: 1e-5 for 95 % of the states."""
    errors = torch.zeros(100)
    errors[:4] = 1.0
    known = torch.zeros(100, dtype=torch.bool)
    assert not Difference.of("qpos", "standing", errors, known).passed
    known[:4] = True
    difference = Difference.of("qpos", "standing", errors, known)
    assert difference.passed and difference.exceptions == 4 and difference.unexplained == 0
    assert difference.share == 0.96 and difference.largest == 1.0 and difference.median == 0.0
    errors[:6], known[:6] = 1.0, True
    assert not Difference.of("qpos", "standing", errors, known).passed


def test_every_sensor_has_a_tolerance(robot_model: RobotModel) -> None:
    columns = sorted(itertools.chain(*sensor_groups(robot_model.model).values()))
    assert columns == list(range(robot_model.model.nsensordata))
    assert set(sensor_groups(robot_model.model)) <= set(TOLERANCES)


def test_grazing_is_within_the_reach_alone(robot_model: RobotModel) -> None:
    """A robot whose soles are exactly in the floor grazes; one 0.1 mm lower does not."""
    qpos = robot_model.robot.home_qpos.repeat(2, 1)
    low = _height_of_lowest_corner(robot_model, qpos[0])
    qpos[:, 2] -= low
    qpos[1, 2] -= 1e-4
    everywhere = torch.ones(2, dtype=torch.bool)
    assert grazes(robot_model.model, {"qpos": qpos.double()}, everywhere).tolist() == [True, False]


def test_feet_on_each_other_are_recognised(robot_model: RobotModel) -> None:
    """At home they are apart; with both hips rolled inwards they are not."""
    qpos = robot_model.robot.home_qpos.repeat(2, 1)
    names = robot_model.robot.joint_names
    for side, inwards in (("left", 0.17), ("right", -0.17)):
        column = robot_model.robot.joint_qpos_adr[names.index(f"{side}_hip_roll")]
        qpos[1, column] = inwards
    everywhere = torch.ones(2, dtype=torch.bool)
    touching = boxes_touch(robot_model.model, {"qpos": qpos.double()}, everywhere)
    assert touching.tolist() == [False, True]


def _height_of_lowest_corner(robot_model: RobotModel, qpos: torch.Tensor) -> float:
    data = mujoco.MjData(robot_model.model)
    data.qpos[:] = qpos.double().numpy()
    mujoco.mj_forward(robot_model.model, data)
    heights = []
    for name in robot_model.robot.plate_names:
        geom = robot_model.model.geom(name)
        centre, axes = data.geom_xpos[geom.id], data.geom_xmat[geom.id].reshape(3, 3)
        heights.append(centre[2] - np.abs(axes[2]) @ robot_model.model.geom_size[geom.id])
    return float(min(heights))
