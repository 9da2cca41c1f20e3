"""Tests of the servos in numpy: against hand arithmetic and the environment's law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.reality.servo import UPDATES_PER_STEP, drive
from envs.reality.timing import CommandState, send
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.simulators.servos import ServoLaw, Servos


@pytest.fixture
def law(robot: RobotSpec) -> ServoLaw:
    return ServoLaw.of(robot)


def test_torques_are_those_of_the_environments_law(robot: RobotSpec, law: ServoLaw) -> None:
    target = robot.joint_home + 0.8 * (torch.rand(200, 8) - 0.5)
    joints = robot.joint_home + 0.8 * (torch.rand(200, 8) - 0.5)
    speeds = 16.0 * (torch.rand(200, 8) - 0.5)  # beyond the speed without load, too
    driven = drive(
        target, joints, speeds, joints, None, {}, robot=robot, model="envelope", dt=0.004
    )
    engine = robot.kp * (driven.ctrl - joints) - robot.kv * speeds
    expected = torch.clamp(engine, driven.limits[..., 0], driven.limits[..., 1])
    ready = replace(law, travel_time=0.0, count=0.0, deadband=0.0)
    low, high = robot.joint_range.T
    for row in range(200):
        servos = Servos(ready, np.zeros(8))
        servos.send(target[row].double().numpy())
        if not bool(((target[row] >= low) & (target[row] <= high)).all()):
            continue
        torque = servos.drive(joints[row].double().numpy(), speeds[row].double().numpy(), 0.002)
        assert torque == pytest.approx(expected[row].numpy(), abs=1e-4)


def test_limits_by_hand(law: ServoLaw) -> None:
    # 4.41 N m at rest, cut at 4; none at 5.82 rad/s; more while the motor brakes, cut again.
    speeds = np.array([0.0, 2.91, 5.82, 8.0, -3.0, 0.5411, 1.0, 5.0])
    limits = law.limit(speeds)
    expected = [4.0, 2.205, 0.0, 0.0, 4.0, 4.0, 4.41 * (1 - 1 / 5.82), 4.41 * 0.82 / 5.82]
    assert limits == pytest.approx(expected, abs=1e-3)


def test_targets_travel_as_in_the_environment(robot: RobotSpec, law: ServoLaw) -> None:
    config = LocomotionConfig().servo.of(robot.servo)
    home = robot.joint_home
    state = CommandState.at(home[None], 2)
    servos = Servos(law, home.double().numpy())
    gainless = replace(law, kv=np.zeros(8), most=np.full(8, 1e9), stall_torque=1e9)
    servos.law = gainless
    for step in range(20):
        target = (home + 0.05 * step * torch.rand(8)).clamp(*robot.joint_range.T)
        state, own = send(state, target[None], None, {}, servo=config, ctrl_dt=0.02)
        servos.send(target.double().numpy())
        for update in range(UPDATES_PER_STEP):
            # The torque at joint angle 0 tells the servo's own target.
            torque = servos.drive(np.zeros(8), np.zeros(8), 0.004)
            assert torque / law.kp == pytest.approx(own[update, 0].numpy(), abs=1e-5)


def test_a_law_that_is_not_here_is_refused(robot: RobotSpec) -> None:
    other = replace(robot, servo=replace(robot.servo, model="bam", bam="servo.json"))
    with pytest.raises(UserError, match="bam"):
        ServoLaw.of(other)
    ideal = ServoLaw.of(replace(robot, servo=replace(robot.servo, model="ideal")))
    assert ideal.limit(np.full(8, 20.0)) == pytest.approx(np.full(8, 4.0))
