"""Ground that is not level: its height against MuJoCo's rays, starts, and what is judged by it."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch
from tensordict import TensorDict

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.ground import Ground
from envs.locomotion import LocomotionEnv
from envs.measurements import measure
from envs.physics.base import PhysicsState
from envs.reality.randomization import Draw, RandomizationConfig
from envs.recorder import record, zero_policy
from envs.robot.model import RobotModel, load_robot
from envs.robot.terrain import MADE, ground_of, lay
from envs.task.observations import ObservationConfig
from envs.task.starts import ResetConfig

RADIUS = 0.002
"""Of a ball that is much smaller than a triangle [m]."""
QUIET = ResetConfig(joint_noise=0.0, velocity_noise=0.0)


def make(terrain: str, num: int = 1, physics: str = "native") -> LocomotionEnv:
    config = LocomotionConfig(terrain=terrain, reset=QUIET)
    return LocomotionEnv(config, num, physics=physics, num_threads=1)


def below(model: mujoco.MjModel, points: np.ndarray) -> np.ndarray:
    """Height of the floor under points (N, 2), by MuJoCo's rays, which hit the floor alone."""
    data, hit = mujoco.MjData(model), np.zeros(1, np.int32)
    data.qpos[:3] = 0.0, 0.0, 50.0  # out of the way
    mujoco.mj_forward(model, data)
    down = np.array([0.0, 0.0, -1.0])
    return np.array([
        5.0 - mujoco.mj_ray(model, data, np.array([x, y, 5.0]), down, None, 1, -1, hit)
        for x, y in points
    ])  # fmt: skip


@pytest.mark.parametrize("terrain", sorted(MADE))
def test_heights_are_those_that_rays_find(terrain: str) -> None:
    loaded = load_robot(scene=terrain)
    ground = ground_of(loaded.model, loaded.robot)
    assert ground is not None
    points = np.random.default_rng(0).uniform(-24.9, 24.9, (300, 2))
    found = ground.height(torch.as_tensor(points, dtype=torch.float32))
    # A coordinate in float32 is off by up to 1e-6 m, on a slope of at most 0.13.
    np.testing.assert_allclose(found.numpy(), below(loaded.model, points), atol=2e-6)
    assert found.std() > 1e-3
    level = ground.height(torch.tensor([[0.0, 0.0], [0.3, -0.3]]))
    assert level.abs().max() < 1e-6  # the patch in the middle
    edge = ground.height(torch.tensor([[25.0, 25.0], [99.0, 99.0]]))
    assert edge[0] == edge[1]


@pytest.mark.parametrize("terrain", sorted(MADE))
def test_a_ball_touches_the_ground_at_its_height(terrain: str) -> None:
    """Contacts are computed from prisms, not by rays; both have the same triangles."""
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    ball = spec.worldbody.add_body()
    ball.add_freejoint()
    ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[RADIUS, 0, 0])
    lay(spec, terrain)
    model, loaded = spec.compile(), load_robot(scene=terrain)
    ground = ground_of(loaded.model, loaded.robot)
    assert ground is not None
    data, across = mujoco.MjData(model), 0.003
    tested = 0
    for x, y in np.random.default_rng(1).uniform(-24.0, 24.0, (60, 2)):
        around = [(x, y), (x + across, y), (x - across, y), (x, y + across), (x, y - across)]
        here, *sides = ground.height(torch.tensor(around, dtype=torch.float32)).tolist()
        slope = np.array([sides[0] - sides[1], sides[2] - sides[3]]) / (2.0 * across)
        data.qpos[:3] = x, y, here + RADIUS / 2
        mujoco.mj_forward(model, data)
        if abs(sides[0] + sides[1] - 2.0 * here) + abs(sides[2] + sides[3] - 2.0 * here) > 4e-6:
            continue  # at the edge of a triangle
        deepest = min(contact.dist for contact in data.contact[: data.ncon])
        # The distance from a slope is less than the height above it.
        centre = RADIUS / 2 / np.sqrt(1.0 + slope @ slope)
        assert deepest == pytest.approx(centre - RADIUS, abs=1e-5)
        tested += 1
    assert tested > 30


def test_a_level_floor_has_no_field(robot_model: RobotModel) -> None:
    assert ground_of(robot_model.model, robot_model.robot) is None
    assert make("flat").ground is None


@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
@pytest.mark.parametrize("terrain", sorted(MADE))
def test_robots_start_apart_and_on_the_ground(terrain: str, physics: str) -> None:
    env = make(terrain, 32, physics)
    env.reset()
    state, model = env.backend.state().clone(), env.backend.model
    places = state.qpos[:, :2].double().numpy()
    assert np.ptp(places, axis=0).min() > 5.0
    floor = model.geom("floor").id
    for qpos in state.qpos.double().numpy():
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        contacts = data.contact[: data.ncon]
        depths = [c.dist for c in contacts if floor in (c.geom1, c.geom2)]
        # At home on a level floor the soles are 0.1 mm deep.
        assert min(depths) > -0.002
    above = state.qpos[:, 2].double().numpy() - below(model, places)
    np.testing.assert_allclose(env.measure().height.numpy(), above, atol=5e-6)
    moved = record(zero_policy(8), env, torch.zeros(32), 25)
    assert not moved.terminated.any()
    # MuJoCo finds one contact of a box with each triangle, so a corner may be a little deeper.
    assert moved.sole_height is not None and moved.sole_height.min() > -0.01


def test_everything_is_judged_by_the_ground_under_it(robot_model: RobotModel) -> None:
    """On a plateau of 1 m a robot stands as high as on the floor; without one it is far up."""
    robot = robot_model.robot
    size = max(where.stop for where in robot.sensors.values())
    sensors = torch.zeros(1, size)
    for foot in ("left_foot", "right_foot"):
        sensors[0, robot.sensors[f"{foot}_pos"]] = torch.tensor([0.0, 0.1, 1.03])
    qpos = robot.home_qpos[None].clone()
    qpos[:, 2] += 1.0
    state = PhysicsState(qpos, torch.zeros(1, 14), sensors)
    plateau = Ground(
        torch.ones(3, 3), torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]), torch.zeros(1, 3)
    )
    on_it = measure(state, robot, plateau)
    assert on_it.height.item() == pytest.approx(float(robot.home_qpos[2]))
    assert on_it.sole_height[0].tolist() == pytest.approx([0.03, 0.03], abs=1e-6)
    assert measure(state, robot).height.item() == pytest.approx(1.0 + float(robot.home_qpos[2]))


def test_a_field_that_rises_is_looked_up_by_hand() -> None:
    """2 x 1 cells of 1 m; the left one rises from 0 to 1 along x, the right one along y."""
    ground = Ground(
        torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 3.0]]), torch.tensor([2.0, 1.0]),
        torch.tensor([1.0, 0.5]), torch.zeros(1, 3),
    )  # fmt: skip
    points = [[-0.75, 0.1], [-0.25, -0.4], [0.5, 0.0], [0.75, -0.25], [0.25, 0.25]]
    # On the diagonal of the right cell 1 to 3, below it along the right side, above it level.
    expected = [0.25, 0.75, 2.0, 1.5, 1.5]
    assert ground.height(torch.tensor(points)).tolist() == pytest.approx(expected)


def test_an_episode_is_cut_short_at_the_edge() -> None:
    """It ends by time, not by a fall."""
    env = make("rough", 2)
    env.reset()
    qpos = env.robot.home_qpos.repeat(2, 1)
    qpos[1, 0] = -24.6
    env.set_state(torch.ones(2, dtype=torch.bool), qpos, torch.zeros(2, 14))
    after = env.step(TensorDict({"action": torch.zeros(2, 8)}, [2]))["next"]
    assert after["truncated"].flatten().tolist() == [False, True]
    assert not after["terminated"].any()
    assert after["metrics", "end_time"].flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("terrain", ["flat", "rough"])
def test_on_a_slope_an_imu_shows_where_down_is(terrain: str) -> None:
    """The same robot on a floor that is really tilted: its true orientation says it."""
    angle, steps = 0.05, 15
    randomization = RandomizationConfig(slope=Draw(low=angle, high=angle))
    observation = ObservationConfig(profile="robot")
    config = LocomotionConfig(
        terrain=terrain, reset=QUIET, randomization=randomization, observation=observation
    )
    env = LocomotionEnv(config, 1, num_threads=1)
    env.reset()
    start = env.backend.state().qpos[0].double().numpy().copy()
    home = env.joint_targets_to_action(env.robot.joint_home[None])
    for _ in range(steps):
        after = env.step(TensorDict({"action": home}, [1]))["next"]
        assert not after["terminated"].any()
    reported = env.layouts["observation"].unpack(after["observation"])["imu_gravity"][0]

    loaded = load_robot(scene=terrain, sim_dt=config.sim_dt)
    sine = np.sin(angle)
    up = np.array([-sine, -sine, np.sqrt(1.0 - 2.0 * sine**2)])  # as seen from the floor
    tilt, back = np.zeros(4), np.zeros(4)
    mujoco.mju_quatZ2Vec(back, up)
    mujoco.mju_negQuat(tilt, back)
    floor = loaded.spec.geom("floor")
    turned = np.zeros(3)
    mujoco.mju_rotVecQuat(turned, np.array(floor.pos), tilt)
    floor.pos, floor.quat = turned, tilt
    model = loaded.spec.compile()
    data = mujoco.MjData(model)
    mujoco.mju_rotVecQuat(data.qpos[:3], start[:3], tilt)
    mujoco.mju_mulQuat(data.qpos[3:7], tilt, start[3:7])
    data.qpos[7:] = start[7:]
    data.ctrl[:] = env.robot.joint_home.double().numpy()
    for _ in range(steps * config.decimation):
        mujoco.mj_step(model, data)
    down, imu = np.zeros(3), np.zeros(4)
    mujoco.mju_negQuat(imu, data.sensor("imu_quat").data)
    mujoco.mju_rotVecQuat(down, np.array([0.0, 0.0, -1.0]), imu)
    np.testing.assert_allclose(reported.numpy(), down, atol=1e-3)
    assert reported[:2].norm() > 0.05
    m = env.measure()
    assert m.height.item() == pytest.approx(float(env.robot.home_qpos[2]), abs=0.02)
    assert max(abs(m.roll.item()), abs(m.pitch.item())) < 0.1


def test_an_unknown_terrain_is_refused() -> None:
    with pytest.raises(UserError, match=r"terrain 'moon' is unknown; allowed: flat, rough, steps"):
        make("moon")
