"""The contract every physics engine keeps; to test another one, add a line to ENGINES."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest
import torch

from envs.physics.base import HEALTH_BITS, PhysicsBackend
from envs.physics.capacities import Capacities
from envs.physics.native import NativePhysics
from envs.physics.warp import WarpPhysics
from envs.robot.model import RobotModel

ENGINES: dict[str, Callable[[mujoco.MjModel, int], PhysicsBackend]] = {
    "native": NativePhysics,
    "warp-cpu": lambda model, num: WarpPhysics(model, num, Capacities(128, 64, 32), "cpu"),
}
NUM = 4


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, robot_model: RobotModel) -> PhysicsBackend:
    """NUM robots standing at home."""
    backend = ENGINES[request.param](robot_model.model, NUM)
    everywhere(backend, *home(robot_model))
    return backend


def home(robot_model: RobotModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    qpos = robot_model.robot.home_qpos.repeat(NUM, 1)
    ctrl = robot_model.robot.joint_home.repeat(NUM, 1)
    return qpos, torch.zeros(NUM, robot_model.model.nv), ctrl


def everywhere(
    backend: PhysicsBackend, qpos: torch.Tensor, qvel: torch.Tensor, ctrl: torch.Tensor
) -> None:
    backend.reset(torch.ones(NUM, dtype=torch.bool), qpos, qvel, ctrl)


def reference(robot_model: RobotModel, qpos: np.ndarray, qvel: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(robot_model.model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    data.ctrl[:] = robot_model.robot.joint_home
    mujoco.mj_forward(robot_model.model, data)
    return data


def varied(robot_model: RobotModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Different states near home, as float32 so that every engine holds the same numbers."""
    qpos, qvel, ctrl = home(robot_model)
    qpos[:, robot_model.robot.joint_qpos_adr] += 0.1 * torch.rand(NUM, 8)
    return qpos, 0.2 * torch.randn_like(qvel), ctrl


def test_is_a_physics_backend(engine: PhysicsBackend) -> None:
    assert isinstance(engine, PhysicsBackend)


def test_reports_float32_of_the_right_shapes(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    state, model = engine.state(), robot_model.model
    assert state.qpos.shape == (NUM, model.nq) and state.qpos.dtype == torch.float32
    assert state.qvel.shape == (NUM, model.nv) and state.qvel.dtype == torch.float32
    assert state.sensordata.shape == (NUM, model.nsensordata)


def test_steps_as_plain_mujoco(engine: PhysicsBackend, robot_model: RobotModel) -> None:
    qpos, qvel, ctrl = varied(robot_model)
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 10)
    for env in range(NUM):
        data = reference(robot_model, qpos[env].double().numpy(), qvel[env].double().numpy())
        data.ctrl[:] = ctrl[env].double().numpy()
        mujoco.mj_step(robot_model.model, data, 10)
        assert np.allclose(engine.state().qpos[env], data.qpos, atol=1e-5)
        assert np.allclose(engine.state().qvel[env], data.qvel, atol=1e-3)


def test_decimation_is_that_many_single_steps(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    qpos, qvel, ctrl = varied(robot_model)
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 6)
    together = engine.state().clone()
    everywhere(engine, qpos, qvel, ctrl)
    for _ in range(6):
        engine.step(ctrl, None, 1)
    assert torch.allclose(engine.state().qpos, together.qpos, atol=1e-6)
    assert torch.allclose(engine.state().qvel, together.qvel, atol=1e-5)


def test_position_and_velocity_sensors_are_fresh(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    """After a step they are those of the state reported, not of one substep before."""
    qpos, qvel, ctrl = varied(robot_model)
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 10)
    state, sensors = engine.state(), robot_model.robot.sensors
    for env in range(NUM):
        data = reference(
            robot_model, state.qpos[env].double().numpy(), state.qvel[env].double().numpy()
        )
        for name in ("left_foot_pos", "right_foot_linvel", "imu_gyro", "com_pos"):
            got = state.sensordata[env, sensors[name]]
            assert np.allclose(got, data.sensordata[sensors[name]], atol=1e-4), name


def test_foot_forces_carry_the_weight(engine: PhysicsBackend, robot_model: RobotModel) -> None:
    qpos, qvel, ctrl = home(robot_model)
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 1000)
    robot, data = robot_model.robot, engine.state().sensordata
    support = sum(data[:, robot.sensors[f"{p}_contact"].start + 3].abs() for p in robot.plate_names)
    assert torch.allclose(support, torch.full((NUM,), robot.weight), rtol=0.02)


def test_reset_touches_the_mask_alone(engine: PhysicsBackend, robot_model: RobotModel) -> None:
    qpos, qvel, ctrl = home(robot_model)
    engine.step(ctrl, None, 20)
    before = engine.state().clone()
    mask = torch.tensor([False, True, False, True])
    moved = qpos.clone()
    moved[:, 2] = 0.6
    engine.reset(mask, moved, qvel + 0.5, ctrl)
    after = engine.state()
    assert torch.equal(after.qpos[~mask], before.qpos[~mask])
    assert torch.equal(after.qvel[~mask], before.qvel[~mask])
    assert torch.equal(after.sensordata[~mask], before.sensordata[~mask])
    assert torch.allclose(after.qpos[mask], moved[mask])
    assert torch.allclose(after.qvel[mask], qvel[mask] + 0.5)


def test_reset_computes_the_new_states_sensors(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    """A robot lifted off the floor carries nothing; one left standing still does."""
    qpos, qvel, ctrl = home(robot_model)
    engine.step(ctrl, None, 200)
    lifted = qpos.clone()
    lifted[:, 2] += 0.1
    engine.reset(torch.tensor([True, False, False, False]), lifted, qvel, ctrl)
    robot, state = robot_model.robot, engine.state()
    contact = robot.sensors[f"{robot.plate_names[0]}_contact"]
    assert not state.sensordata[0, contact].any()
    assert state.sensordata[1, contact].any()
    foot = robot.sensors["left_foot_pos"]
    assert state.sensordata[0, foot][2].item() == pytest.approx(0.1, abs=2e-3)


def test_state_outlives_the_next_step_when_cloned(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    kept = engine.state().clone()
    again = kept.clone()
    engine.step(robot_model.robot.joint_center.repeat(NUM, 1), None, 20)
    assert torch.equal(kept.qpos, again.qpos)
    assert not torch.allclose(engine.state().qpos, kept.qpos)


def test_wrench_of_the_weight_lifts(engine: PhysicsBackend, robot_model: RobotModel) -> None:
    """With m g upwards on the root of one robot its feet carry nothing; without it they do."""
    ctrl = home(robot_model)[2]
    wrench = torch.zeros(NUM, robot_model.model.nbody, 6)
    wrench[0, robot_model.robot.root_body, 2] = robot_model.robot.weight * 1.2
    engine.step(ctrl, wrench, 100)
    height = engine.state().qpos[:, 2]
    # a = 0.2 g for 0.2 s lifts by a t^2 / 2 = 39 mm
    assert height[0] - height[1] == pytest.approx(0.039, abs=0.006)
    engine.step(ctrl, None, 500)
    assert engine.state().qpos[0, 2] == pytest.approx(height[1].item(), abs=0.02)


def test_per_environment_gravity_masses_act(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    """One robot with a root twice as heavy presses that much more on the floor."""
    mass = engine.expand("body_mass")
    root = robot_model.robot.root_body
    extra = float(mass[0, root])
    mass[0, root] = 2.0 * extra
    engine.set_const()
    ctrl = home(robot_model)[2]
    engine.step(ctrl, None, 1000)
    robot, data = robot_model.robot, engine.state().sensordata
    support = sum(data[:, robot.sensors[f"{p}_contact"].start + 3].abs() for p in robot.plate_names)
    assert (support[0] - support[1]).item() == pytest.approx(extra * 9.81, rel=0.05)


def test_outputs_are_those_of_the_last_substep(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    """Servo torques are kp (ctrl - q) - kv qd of the state before it."""
    robot = robot_model.robot
    engine.output("qfrc_actuator")
    ctrl = robot.joint_home.expand(engine.num_envs, -1) + 0.05
    engine.step(ctrl, None, 3)
    before = engine.state().clone()
    engine.step(ctrl, None, 1)
    error = ctrl - before.qpos[:, robot.joint_qpos_adr]
    wanted = robot.kp * error - robot.kv * before.qvel[:, robot.joint_qvel_adr]
    found = engine.output("qfrc_actuator")[:, robot.joint_qvel_adr]
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-4)
    with pytest.raises(ValueError, match="qfrc_none"):
        engine.output("qfrc_none")


def test_unknown_model_field_is_refused(engine: PhysicsBackend) -> None:
    with pytest.raises(ValueError, match="body_masss"):
        engine.expand("body_masss")


def test_a_state_that_is_not_finite_is_seen_and_stays_alone(
    engine: PhysicsBackend, robot_model: RobotModel
) -> None:
    qpos, qvel, ctrl = home(robot_model)
    bad = qvel.clone()
    bad[2, 0] = float("nan")
    everywhere(engine, qpos, bad, ctrl)
    engine.step(ctrl, None, 10)
    health = engine.health()
    assert health[2].item() & (HEALTH_BITS["nonfinite"] | HEALTH_BITS["engine"])
    assert health[[0, 1, 3]].tolist() == [0, 0, 0]
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 10)
    assert engine.health().tolist() == [0] * NUM
    assert torch.isfinite(engine.state().qpos).all()


def test_snapshot_resumes_exactly(engine: PhysicsBackend, robot_model: RobotModel) -> None:
    qpos, qvel, ctrl = varied(robot_model)
    everywhere(engine, qpos, qvel, ctrl)
    engine.step(ctrl, None, 15)
    saved = engine.snapshot()
    engine.step(ctrl, None, 15)
    expected = engine.state().clone()
    engine.restore(saved)
    engine.step(ctrl, None, 15)
    assert torch.equal(engine.state().qpos, expected.qpos)
    assert torch.equal(engine.state().qvel, expected.qvel)
