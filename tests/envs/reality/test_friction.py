"""Friction of a BAM servo against hand-worked numbers, and its load against MuJoCo's own forces."""

from __future__ import annotations

import math
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch

from envs.reality.friction import Hold, friction_budget, load_dependent_friction
from envs.robot.bam import BamServo
from envs.robot.model import RobotModel

M1 = {"viscous": 0.1, "coulomb": 0.05}
M2 = M1 | {"coulomb_rest": 0.04, "stribeck_speed": 0.5, "stribeck_exponent": 2.0}
M3 = M1 | {"motor": 0.2, "load": 0.2}
M4 = M2 | M3 | {"motor_rest": 0.1, "load_rest": 0.1}
M5 = M2 | {"motor": 0.3, "load": 0.1, "motor_rest": 0.2, "load_rest": 0.05}
M6 = M5 | {"motor_square": 0.01, "load_square": 0.02}


def budget(servo: dict[str, float], motor: float, load: float, speed: float) -> float:
    """Dry friction [N m] of a servo whose motor has no part in it."""
    bam = BamServo(torque_constant=1.0, resistance=1.0, armature=0.01, **servo)
    numbers = torch.tensor([[[motor]], [[load]], [[speed]]])
    return friction_budget(numbers[0], numbers[1], numbers[2], bam).item()


@pytest.mark.parametrize(
    ("servo", "motor", "load", "speed", "friction"),
    [
        (M1, 2.0, -1.0, 3.0, 0.05),
        (M2, 2.0, -1.0, 0.0, 0.09),
        (M2, 2.0, -1.0, 0.5, 0.05 + 0.04 / math.e),
        (M2, 2.0, -1.0, -1.0, 0.05 + 0.04 * math.exp(-4.0)),
        (M3, 2.0, -1.0, 0.0, 0.05 + 0.2 * 3.0),
        (M3, 2.0, 1.5, 0.0, 0.05 + 0.2 * 0.5),
        (M4, 2.0, -1.0, 0.0, 0.05 + 0.2 * 3.0 + 0.04 + 0.1 * 3.0),
        (M4, 2.0, -1.0, 0.5, 0.05 + 0.2 * 3.0 + (0.04 + 0.1 * 3.0) / math.e),
        # The motor drives: 0.3 * 2 + 0.1 * 1, and 0.2 * 2 + 0.05 * 1 at rest.
        (M5, 2.0, -1.0, 0.0, 0.05 + 0.7 + 0.04 + 0.45),
        # The load drives: 0.3 * 1 + 0.1 * 2, and 0.2 * 1 + 0.05 * 2.
        (M5, 1.0, -2.0, 0.0, 0.05 + 0.5 + 0.04 + 0.3),
        (M5, 2.0, -1.0, 5.0, 0.05 + 0.7),
        # The square of the weaker side: 0.02 * 1, or 0.01 * 1.
        (M6, 2.0, -1.0, 0.0, 0.05 + 0.7 + 0.04 + 0.45 + 0.02),
        (M6, 1.0, -2.0, 0.0, 0.05 + 0.5 + 0.04 + 0.3 + 0.01),
        (M6, 1.0, -2.0, 0.5, 0.05 + 0.5 + (0.04 + 0.3 + 0.01) / math.e),
        # Both on the same side, 0.3 * 2 - 0.1 * 1: no square.
        (M6, 2.0, 1.0, 0.0, 0.05 + 0.5 + 0.04 + 0.35),
    ],
)
def test_budgets(
    servo: dict[str, float], motor: float, load: float, speed: float, friction: float
) -> None:
    assert budget(servo, motor, load, speed) == pytest.approx(friction, abs=1e-6)


def test_load_is_what_gravity_and_contacts_do(robot_model: RobotModel) -> None:
    """A robot that swings and stands: with K_e = 1 alone the budget is the load, which is also

    -bias + constraints - dry friction, with the friction that MuJoCo's solver says it applied.
    """
    loss = 0.4
    model, robot = robot_model.spec.compile(), robot_model.robot
    dofs = robot.joint_qvel_adr.numpy()
    model.dof_frictionloss[dofs] = loss
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    data.qpos[:] = robot.home_qpos.numpy()
    load_alone = BamServo(
        torque_constant=1.0, resistance=1.0, armature=0.01, viscous=0.0, coulomb=0.0, load=1.0
    )
    robot = replace(robot, bam=load_alone)
    random, held = np.random.default_rng(0), 0
    for index in range(400):
        if index % 50 == 0:
            data.ctrl[:] = robot.joint_home.numpy() + (index > 200) * 0.3 * random.normal(size=8)
        mujoco.mj_step(model, data)
        rows = data.efc_type == mujoco.mjtConstraint.mjCNSTR_FRICTION_DOF
        friction = np.zeros(model.nv)
        friction[data.efc_id[rows]] = data.efc_force[rows]
        load = (data.qfrc_constraint - data.qfrc_bias - friction)[dofs]
        outputs = (data.qfrc_actuator, data.qfrc_bias, data.qfrc_constraint, data.qacc)
        found = load_dependent_friction(
            tuple(torch.from_numpy(values.copy())[None] for values in outputs),
            torch.from_numpy(data.qvel.copy())[None],
            torch.from_numpy(model.dof_frictionloss.copy())[None],
            torch.from_numpy(model.dof_invweight0.copy())[None],
            robot=robot,
            hold=Hold.of(model, robot),
            dt=model.opt.timestep,
        )
        assert np.allclose(found[0].numpy(), np.abs(load), atol=1e-5)
        held += int((np.abs(friction[dofs]) < 0.99 * loss).sum())
    assert held > 100  # joints that friction holds are the hard case
