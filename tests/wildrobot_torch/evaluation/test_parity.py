"""The CPU's engine and the GPU's simulate the same robot; the second runs on Warp's CPU device.

Tolerances and their reasons: `envs.physics.parity.TOLERANCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsBackend
from envs.physics.engines import make_physics
from envs.physics.parity import (
    TOLERANCES,
    Difference,
    Snapshot,
    open_loop,
    sensor_groups,
    single_step,
)
from envs.reality.disturbances import PushConfig
from envs.recorder import record
from envs.robot.model import RobotModel, load_robot
from envs.task.support import SupportConfig
from wildrobot_torch.evaluation.parity import KINDS, draw_states, environments
from wildrobot_torch.ppo.policy_file import LoadedPolicy, load_policy

NUM = 64
POLICY = Path(__file__).parents[2] / "data" / "walking_policy.onnx"
"""Trained by `make demo` on the native engine."""


@pytest.fixture(scope="module")
def policy() -> LoadedPolicy:
    return load_policy(POLICY)


@pytest.fixture(scope="module")
def task(policy: LoadedPolicy) -> LocomotionConfig:
    return replace(policy.task, push=replace(policy.task.push, impulse_max=0.0))


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
    differences = single_step(*engines, states[kind], kind)
    assert {d.quantity for d in differences} == {"qpos", "qvel", *sensor_groups(loaded.model)}
    require(differences)


@pytest.mark.parametrize("kind", KINDS)
def test_one_second(
    kind: str, engines: tuple[PhysicsBackend, PhysicsBackend], states: dict[str, Snapshot]
) -> None:
    require([open_loop(*engines, states[kind], kind)])


# Faults must be found


def test_a_little_less_friction_is_found(
    loaded: RobotModel, states: dict[str, Snapshot], engines: tuple[PhysicsBackend, PhysicsBackend]
) -> None:
    other = make_physics("native", loaded, NUM, None)
    other.expand("geom_friction")[..., 0] *= 0.5
    differences = single_step(engines[0], other, states["pushed"], "pushed")
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
    differences = single_step(engines[0], other, states["pushed"], "pushed")
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
    require(single_step(pair[0], pair[1], some, "pushed"))
    nominal = make_physics("native", loaded, 64, None)
    changed = {d.quantity: d for d in single_step(pair[1], nominal, some, "pushed")}
    assert changed["qvel"].median > 2 * TOLERANCES["qvel"].limit


# Through the environment


@pytest.mark.parametrize("supported", [False, True])
def test_one_control_step_through_the_environment(
    supported: bool, policy: LoadedPolicy, task: LocomotionConfig
) -> None:
    """Observations, rewards, terms, ends and features of style, resets in between included."""
    config = replace(task, episode_length_s=0.5)
    if supported:
        config = replace(task, support=SupportConfig(), auto_reset=False, push=PushConfig())
    pair = [LocomotionEnv(config, 64, physics=name) for name in ("native", "warp-cpu")]
    if supported:
        home = pair[0].robot.home_qpos.expand(64, -1)
        for env in pair:
            env.set_support_targets(home[:, 2].clone(), home[:, 3:7].clone())
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
    num, seconds, settle = 32, 4.0, 2.0
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
