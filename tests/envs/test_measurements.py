"""Tests of envs.measurements against plain MuJoCo and statics."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from envs.frames import quat_from_euler, quat_multiply, quat_rotate
from envs.measurements import measure
from envs.physics.base import PhysicsState
from envs.robot.model import RobotModel
from envs.robot.spec import FEET, RobotSpec


def physics(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray, settle: int = 0,
            ctrl: np.ndarray | None = None) -> PhysicsState:  # fmt: skip
    """State of one simulation after mj_forward (or `settle` steps)."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    if ctrl is not None:
        data.ctrl[:] = ctrl
    mujoco.mj_step(model, data, settle) if settle else mujoco.mj_forward(model, data)
    as_row = lambda x: torch.tensor(x, dtype=torch.float32)[None]  # noqa: E731
    return PhysicsState(as_row(data.qpos), as_row(data.qvel), as_row(data.sensordata))


def random_state(robot: RobotSpec, model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    qpos = robot.home_qpos.double().numpy().copy()
    qpos[:3] = [0.4, -0.2, 0.55]
    quat = quat_from_euler(*(torch.tensor(x, dtype=torch.float64) for x in (0.2, -0.3, 2.0)))
    qpos[3:7] = quat
    low, high = robot.joint_range.double().T.numpy()
    qpos[7:] = rng.uniform(low, high)
    return qpos, rng.normal(size=model.nv)


def test_standing_robot_presses_its_weight_on_both_feet(robot_model: RobotModel) -> None:
    model, robot = robot_model.model, robot_model.robot
    home = robot.home_qpos.double().numpy()
    m = measure(physics(model, home, np.zeros(model.nv), 2000, home[7:]), robot)
    assert m.plate_force.min() > 0
    assert m.foot_force.sum().item() == pytest.approx(robot.weight, rel=0.02)
    # Measured on the original CAD model: 16.1 N on the left foot, 16.3 N on the right.
    assert m.foot_force[0].tolist() == pytest.approx([16.1, 16.3], abs=0.4)


def test_velocities_and_positions_are_those_of_the_bodies(robot_model: RobotModel) -> None:
    model, robot = robot_model.model, robot_model.robot
    qpos, qvel = random_state(robot, model)
    m = measure(physics(model, qpos, qvel), robot)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    assert m.height.item() == pytest.approx(0.55, abs=1e-6)
    assert [m.roll.item(), m.pitch.item(), m.yaw.item()] == pytest.approx(
        [0.2, -0.3, 2.0], abs=1e-5
    )
    assert np.allclose(m.joint_pos[0], qpos[7:], atol=1e-6)
    assert np.allclose(m.joint_vel[0], qvel[6:], atol=1e-6)
    for foot, name in enumerate(("left_sole", "right_sole")):
        assert np.allclose(m.sole_pos_w[0, foot], data.site(name).xpos, atol=1e-5)
        velocity = np.zeros(6)
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name)
        mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_SITE, site, velocity, 0)
        assert np.allclose(m.sole_linvel_w[0, foot], velocity[3:], atol=1e-4)
    assert len(FEET) == 2
    # Turned by -2 rad about the vertical, the world velocity is the heading-frame one.
    c, s = np.cos(2.0), np.sin(2.0)
    expected = [c * qvel[0] + s * qvel[1], -s * qvel[0] + c * qvel[1], qvel[2]]
    assert np.allclose(m.linvel_h[0], expected, atol=1e-5)
    assert np.allclose(m.angvel_b[0], qvel[3:6], atol=1e-6)


def test_heading_quantities_do_not_see_the_heading(robot_model: RobotModel) -> None:
    model, robot = robot_model.model, robot_model.robot
    qpos, qvel = random_state(robot, model)
    zero = torch.zeros((), dtype=torch.float64)
    turn = quat_from_euler(zero, zero, torch.tensor(-1.3, dtype=torch.float64))
    turned_qpos, turned_qvel = qpos.copy(), qvel.copy()
    turned_qpos[:3] = quat_rotate(turn, torch.tensor(qpos[:3]))
    turned_qpos[3:7] = quat_multiply(turn, torch.tensor(qpos[3:7]))
    turned_qvel[:3] = quat_rotate(turn, torch.tensor(qvel[:3]))
    a = measure(physics(model, qpos, qvel), robot)
    b = measure(physics(model, turned_qpos, turned_qvel), robot)
    for name in ("height", "roll", "pitch", "gravity_b", "linvel_h", "angvel_b", "sole_pos_h"):
        assert torch.allclose(getattr(a, name), getattr(b, name), atol=1e-5), name
    assert (b.yaw - a.yaw).item() == pytest.approx(-1.3, abs=1e-5)


def test_torque_is_the_servo_law(robot_model: RobotModel) -> None:
    """kp (ctrl - q) - kv qd, at most 4 N m, for every joint."""
    model, robot = robot_model.model, robot_model.robot
    qpos, qvel = random_state(robot, model)
    qvel[6:] = 0.3
    ctrl = np.clip(qpos[7:] + 0.1, *robot.joint_range.double().T.numpy())
    m = measure(physics(model, qpos, qvel, ctrl=ctrl), robot)
    expected = np.clip(21.1 * (ctrl - qpos[7:]) - 0.5 * 0.3, -4, 4)
    assert np.allclose(m.torque[0], expected, atol=1e-4)
