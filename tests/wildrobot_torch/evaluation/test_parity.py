"""The laptop's engine and the GPU's simulate the same robot; the second runs on Warp's CPU device.

Tolerances and their reasons: `wildrobot_torch.evaluation.parity.TOLERANCES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsBackend
from envs.physics.engines import make_physics
from envs.recorder import record
from envs.robot.model import RobotModel, load_robot
from wildrobot_torch.evaluation.parity import (
    KINDS,
    TOLERANCES,
    Difference,
    Snapshot,
    boxes_touch,
    draw_states,
    environments,
    grazes,
    harnessed,
    open_loop,
    sensor_groups,
    single_step,
)
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy

NUM = 256
POLICY = Path(__file__).parents[2] / "data" / "walking_policy.onnx"
"""Trained by `make demo` on the native engine."""


@pytest.fixture(scope="module")
def policy() -> LoadedPolicy:
    return load_policy(POLICY)


@pytest.fixture(scope="module")
def task(policy: LoadedPolicy) -> LocomotionConfig:
    return replace(policy.task, push=replace(policy.task.push, force_max=0.0))


@pytest.fixture(scope="module")
def loaded(task: LocomotionConfig) -> RobotModel:
    return load_robot(sim_dt=task.sim_dt)


@pytest.fixture(scope="module")
def states(policy: LoadedPolicy, loaded: RobotModel, task: LocomotionConfig) -> dict[str, Snapshot]:
    return {kind: draw_states(kind, policy, loaded, task, NUM) for kind in KINDS}


@pytest.fixture(scope="module")
def engines(loaded: RobotModel) -> tuple[PhysicsBackend, PhysicsBackend]:
    return (
        make_physics("native", loaded, NUM, None),
        make_physics("warp-cpu", loaded, NUM, None),
    )


def require(differences: list[Difference]) -> None:
    failed = [difference for difference in differences if not difference.passed]
    assert not failed, "\n".join(map(str, failed))


def test_the_kinds_of_states_are_what_they_say(
    states: dict[str, Snapshot], loaded: RobotModel
) -> None:
    height = {kind: snapshot["qpos"][:, 2] for kind, snapshot in states.items()}
    speed = {kind: snapshot["qvel"][:, 0] for kind, snapshot in states.items()}
    assert height["standing"].min() > 0.4 and speed["standing"].abs().median() < 0.15
    assert height["walking"].min() > 0.4 and speed["walking"].median() > 0.15
    assert states["pushed"]["xfrc_applied"].any(-1).any(-1).double().mean() > 0.1
    assert height["fallen"].median() < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_one_substep(
    kind: str,
    engines: tuple[PhysicsBackend, PhysicsBackend],
    states: dict[str, Snapshot],
    loaded: RobotModel,
) -> None:
    """States, sensors, foot forces and the number of contacts."""
    differences = single_step(*engines, states[kind], kind, loaded)
    assert {d.quantity for d in differences} == {"qpos", "qvel", *sensor_groups(loaded)}
    require(differences)


@pytest.mark.parametrize("kind", KINDS)
def test_one_second(
    kind: str, engines: tuple[PhysicsBackend, PhysicsBackend], states: dict[str, Snapshot]
) -> None:
    require([open_loop(*engines, states[kind], kind)])


def test_every_sensor_has_a_tolerance(loaded: RobotModel) -> None:
    columns = sorted(itertools.chain(*sensor_groups(loaded).values()))
    assert columns == list(range(loaded.model.nsensordata))
    assert set(sensor_groups(loaded)) <= set(TOLERANCES)


def test_grazing_is_within_the_reach_alone(loaded: RobotModel) -> None:
    """A robot whose soles are exactly in the floor grazes; one 0.1 mm lower does not."""
    qpos = loaded.robot.home_qpos.repeat(2, 1)
    low = _height_of_lowest_corner(loaded, qpos[0])
    qpos[:, 2] -= low
    qpos[1, 2] -= 1e-4
    everywhere = torch.ones(2, dtype=torch.bool)
    assert grazes(loaded.model, {"qpos": qpos.double()}, everywhere).tolist() == [True, False]


def test_feet_on_each_other_are_recognised(loaded: RobotModel) -> None:
    """At home they are apart; with both hips rolled inwards they are not."""
    qpos = loaded.robot.home_qpos.repeat(2, 1)
    names = loaded.robot.joint_names
    for side, inwards in (("left", 0.17), ("right", -0.17)):
        column = loaded.robot.joint_qpos_adr[names.index(f"{side}_hip_roll")]
        qpos[1, column] = inwards
    everywhere = torch.ones(2, dtype=torch.bool)
    touching = boxes_touch(loaded.model, {"qpos": qpos.double()}, everywhere)
    assert touching.tolist() == [False, True]


def _height_of_lowest_corner(loaded: RobotModel, qpos: torch.Tensor) -> float:
    data = mujoco.MjData(loaded.model)
    data.qpos[:] = qpos.double().numpy()
    mujoco.mj_forward(loaded.model, data)
    heights = []
    for name in loaded.robot.plate_names:
        geom = loaded.model.geom(name)
        centre, axes = data.geom_xpos[geom.id], data.geom_xmat[geom.id].reshape(3, 3)
        heights.append(centre[2] - np.abs(axes[2]) @ loaded.model.geom_size[geom.id])
    return float(min(heights))


# Faults must be found


def test_a_little_less_friction_is_found(
    loaded: RobotModel, states: dict[str, Snapshot], engines: tuple[PhysicsBackend, PhysicsBackend]
) -> None:
    other = make_physics("native", loaded, NUM, None)
    other.expand("geom_friction")[..., 0] *= 0.5
    differences = single_step(engines[0], other, states["pushed"], "pushed", loaded)
    assert not all(difference.passed for difference in differences)


def test_a_wrench_in_other_order_is_found(
    loaded: RobotModel, states: dict[str, Snapshot], engines: tuple[PhysicsBackend, PhysicsBackend]
) -> None:
    class Swapped:
        """Takes force and torque the other way round."""

        def __init__(self, engine: PhysicsBackend) -> None:
            self.engine = engine

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def step(self, ctrl: Any, xfrc_applied: Any, decimation: int) -> None:
            self.engine.step(ctrl, xfrc_applied.roll(3, -1), decimation)

    other: Any = Swapped(make_physics("native", loaded, NUM, None))
    differences = single_step(engines[0], other, states["pushed"], "pushed", loaded)
    assert not {d.quantity: d for d in differences}["qvel"].passed


# Randomised models


def _masses(engine: PhysicsBackend, draw: torch.Tensor) -> None:
    _scale(engine.expand("body_mass"), 0.8 + 0.4 * draw[:, :1])
    engine.set_const()


def _friction(engine: PhysicsBackend, draw: torch.Tensor) -> None:
    _scale(engine.expand("geom_friction"), (0.5 + draw[:, :1])[..., None])


def _gains(engine: PhysicsBackend, draw: torch.Tensor) -> None:
    factor = (0.8 + 0.4 * draw)[..., None]
    _scale(engine.expand("actuator_gainprm"), factor)
    _scale(engine.expand("actuator_biasprm"), factor)


def _damping(engine: PhysicsBackend, draw: torch.Tensor) -> None:
    _scale(engine.expand("dof_damping"), 1.0 + draw[:, :1])


def _armature(engine: PhysicsBackend, draw: torch.Tensor) -> None:
    _scale(engine.expand("dof_armature"), 1.0 + draw[:, :1])
    engine.set_const()


def _scale(field: Any, factor: torch.Tensor) -> None:
    field *= factor.numpy() if isinstance(field, np.ndarray) else factor.to(field)


@pytest.mark.parametrize("randomise", [_masses, _friction, _gains, _damping, _armature])
def test_randomised_models(
    randomise: Callable[[PhysicsBackend, torch.Tensor], None],
    loaded: RobotModel,
    states: dict[str, Snapshot],
) -> None:
    """Each robot with a model of its own: the engines agree, and the change is no empty one."""
    draw = torch.rand(64, loaded.model.nu)
    some = {name: value[:64] for name, value in states["pushed"].items()}
    pair = [make_physics(name, loaded, 64, None) for name in ("native", "warp-cpu")]
    for engine in pair:
        randomise(engine, draw)
    require(single_step(pair[0], pair[1], some, "pushed", loaded))
    nominal = make_physics("native", loaded, 64, None)
    changed = {d.quantity: d for d in single_step(pair[1], nominal, some, "pushed", loaded)}
    assert changed["qvel"].median > 2 * TOLERANCES["qvel"].limit


# Through the environment


@pytest.mark.parametrize("harness", [False, True])
def test_one_control_step_through_the_environment(
    harness: bool, policy: LoadedPolicy, task: LocomotionConfig
) -> None:
    """Observations, rewards, terms, ends and features of style, resets in between included."""
    config = harnessed(task) if harness else replace(task, episode_length_s=0.5)
    pair = [LocomotionEnv(config, 64, physics=name) for name in ("native", "warp-cpu")]
    if harness:
        home = pair[0].robot.home_qpos.expand(64, -1)
        for env in pair:
            env.set_harness_targets(home[:, 2].clone(), home[:, 3:7].clone())
    differences = environments(pair[0], pair[1], policy, 60, "walking")
    assert {d.quantity for d in differences} == {
        "observation",
        "critic_observation",
        "amp",
        "reward",
        "terms",
        "ends",
    }
    require(differences)


def test_a_policy_walks_alike_on_the_other_engine(
    policy: LoadedPolicy, task: LocomotionConfig
) -> None:
    """Trained on native physics: on both engines none falls, and the speeds agree."""
    num, seconds, settle = 64, 5.0, 2.0
    config = replace(task, episode_length_s=seconds)
    command = torch.linspace(0.1, 0.5, num)
    errors = []
    for physics in ("native", "warp-cpu"):
        env = LocomotionEnv(config, num, physics=physics)
        recording = record(policy, env, command, round(seconds / config.ctrl_dt))
        assert not recording.terminated.any()
        late = recording.velocity[round(settle / config.ctrl_dt) :]
        errors.append((late.mean(0) - command).abs())
    difference = errors[0] - errors[1]
    interval = 1.96 * torch.sqrt((errors[0].var() + errors[1].var()) / num)
    assert difference.mean().abs() <= interval
