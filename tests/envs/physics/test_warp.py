"""What is particular to MuJoCo Warp; the rest is in test_contract.py and the parity suite."""

from __future__ import annotations

import mujoco
import pytest
import torch

from envs.physics.base import HEALTH_BITS, PhysicsBackend, PhysicsError, require_capacities
from envs.physics.capacities import Capacities
from envs.physics.native import NativePhysics
from envs.physics.warp import WarpPhysics
from envs.robot.model import RobotModel

ROOM = Capacities(256, 64, 32)


def standing(engine: PhysicsBackend, robot_model: RobotModel) -> torch.Tensor:
    """Puts all robots at home; returns the targets that hold them there."""
    num = engine.num_envs
    ctrl = robot_model.robot.joint_home.repeat(num, 1)
    qpos = robot_model.robot.home_qpos.repeat(num, 1)
    everywhere = torch.ones(num, dtype=torch.bool)
    engine.reset(everywhere, qpos, torch.zeros(num, robot_model.model.nv), ctrl)
    return ctrl


def test_states_are_views_of_one_memory(robot_model: RobotModel) -> None:
    engine = WarpPhysics(robot_model.model, 2, ROOM, "cpu")
    before = engine.state()
    engine.step(standing(engine, robot_model), None, 5)
    after = engine.state()
    assert before.qpos.data_ptr() == after.qpos.data_ptr()
    assert before.sensordata.data_ptr() == after.sensordata.data_ptr()


@pytest.mark.parametrize(
    ("room", "bit"),
    [
        (Capacities(32, 64, 32), "NEFC"),
        (Capacities(256, 4, 32), "NARROWPHASE"),
        (Capacities(256, 64, 1), "CONTACT_MATCH"),
    ],
)
def test_too_little_room_is_seen_and_stays_seen(
    room: Capacities, bit: str, robot_model: RobotModel
) -> None:
    """Two feet on the floor have 16 contacts in 64 rows."""
    engine = WarpPhysics(robot_model.model, 2, room, "cpu")
    ctrl = standing(engine, robot_model)
    engine.step(ctrl, None, 1)
    assert bit in engine.capacity_overflow()
    assert (engine.health() & HEALTH_BITS["overflow"]).all()
    lifted = robot_model.robot.home_qpos.repeat(2, 1)
    lifted[:, 2] += 1.0
    engine.reset(torch.ones(2, dtype=torch.bool), lifted, torch.zeros(2, 14), ctrl)
    engine.step(ctrl, None, 1)
    assert not engine.health().any()
    assert bit in engine.capacity_overflow()
    with pytest.raises(PhysicsError, match=rf"{bit}.*measure_capacities"):
        require_capacities(engine)


def test_enough_room_is_no_overflow(robot_model: RobotModel) -> None:
    engine = WarpPhysics(robot_model.model, 2, ROOM, "cpu")
    engine.step(standing(engine, robot_model), None, 10)
    assert engine.capacity_overflow() == ()
    require_capacities(engine)


def test_a_field_expanded_late_is_read_from_then_on(robot_model: RobotModel) -> None:
    """The recorded steps must not go on with the values all simulations shared."""
    engine = WarpPhysics(robot_model.model, 2, ROOM, "cpu")
    ctrl = standing(engine, robot_model)
    engine.step(ctrl, None, 10)
    gravity = engine.expand("opt.gravity")
    gravity[1] = 0.0
    lifted = robot_model.robot.home_qpos.repeat(2, 1)
    lifted[:, 2] += 1.0
    engine.reset(torch.ones(2, dtype=torch.bool), lifted, torch.zeros(2, 14), ctrl)
    engine.step(ctrl, None, 50)
    fallen = lifted[:, 2] - engine.state().qpos[:, 2]
    # g t^2 / 2 over 0.1 s
    assert fallen.tolist() == pytest.approx([0.049, 0.0], abs=2e-3)


def test_expanding_twice_gives_the_same_memory(robot_model: RobotModel) -> None:
    engine = WarpPhysics(robot_model.model, 2, ROOM, "cpu")
    mass = engine.expand("body_mass")
    mass[0] *= 2.0
    engine.expand("geom_friction")
    assert torch.equal(engine.expand("body_mass")[0], 2.0 * engine.expand("body_mass")[1])


def test_decimation_beyond_one_recording_is_that_many_steps(robot_model: RobotModel) -> None:
    engine = WarpPhysics(robot_model.model, 1, ROOM, "cpu")
    ctrl = standing(engine, robot_model)
    engine.step(ctrl, None, 33)
    assert engine.snapshot()["time"].item() == pytest.approx(33 * robot_model.model.opt.timestep)


def test_a_snapshot_goes_into_the_other_engine(robot_model: RobotModel) -> None:
    native, warp = (
        NativePhysics(robot_model.model, 3),
        WarpPhysics(robot_model.model, 3, ROOM, "cpu"),
    )
    ctrl = standing(native, robot_model)
    native.step(ctrl, None, 20)
    warp.restore(native.snapshot())
    assert torch.allclose(warp.state().qpos, native.state().qpos, atol=1e-6)
    native.restore(warp.snapshot())


def test_a_model_with_what_the_engine_has_not_is_refused(robot_model: RobotModel) -> None:
    spec = mujoco.MjSpec.from_file(str(robot_model.directory / "scene_flat.xml"))
    spec.option.solver = mujoco.mjtSolver.mjSOL_PGS
    with pytest.raises(ValueError, match="cannot simulate"):
        WarpPhysics(spec.compile(), 1, ROOM, "cpu")


def test_no_simulations_are_refused(robot_model: RobotModel) -> None:
    with pytest.raises(ValueError, match="num_envs is 0"):
        WarpPhysics(robot_model.model, 0, ROOM, "cpu")
