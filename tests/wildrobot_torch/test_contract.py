"""Tests of wildrobot_torch/contract.py: it says what the environment says, without its code."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from envs.config import LocomotionConfig, policy_settings
from envs.locomotion import LocomotionEnv
from envs.reality.randomization import Draw, RandomizationConfig
from envs.task.actions import (
    ActionConfig,
    action_map,
    ctrl_to_policy_action,
    policy_action_to_ctrl,
)
from envs.task.commands import CommandConfig
from envs.task.observations import ObservationConfig
from wildrobot_torch.contract import Contract, ContractError, Controller, Readings, Truth, read
from wildrobot_torch.evaluation.simulators.loop import sense
from wildrobot_torch.evaluation.simulators.servos import ServoLaw
from wildrobot_torch.evaluation.simulators.simulator import Body
from wildrobot_torch.files import WALKING_POLICY

WALKING = Path(__file__).parents[1] / "data" / "walking_policy.onnx"
STILL = Readings(np.zeros(3), np.zeros(3), 0.0, np.zeros(8), np.zeros(8), np.zeros(4), 0.02)
"""Of sensors that all say 0."""


def spec_of(env: LocomotionEnv) -> dict[str, Any]:
    """What the metadata of a policy of this environment say."""
    offset, gain = action_map(env.robot, env.config.action)
    return {
        "robot": env.robot.name,
        "robot_digest": env.robot.digest,
        "ctrl_dt": env.config.ctrl_dt,
        "joint_names": list(env.robot.joint_names),
        "joint_range": env.robot.joint_range.tolist(),
        "joint_max_velocity": env.robot.joint_max_velocity.tolist(),
        "default_joint_pos": env.robot.joint_home.tolist(),
        "action": {
            "filter": env.config.action.filter,
            "offset": offset.tolist(),
            "gain": gain.tolist(),
        },
        "foot_switch_threshold": env.config.observation.foot_switch_threshold,
        "observation_layout": env.layouts["observation"].to_dict(),
        "env_config": policy_settings(env.config),
    }


def body_of(env: LocomotionEnv) -> Body:
    """The environment's robot, as a simulator would show it."""
    state, m, robot = env.backend.state(), env.measure(), env.robot

    def joined(values: torch.Tensor, root: int, joints: torch.Tensor) -> np.ndarray:
        return torch.cat([values[0, :root], values[0, joints]]).double().numpy()

    nothing = np.zeros((2, 3))
    return Body(
        qpos=joined(state.qpos, 7, robot.joint_qpos_adr),
        qvel=joined(state.qvel, 6, robot.joint_qvel_adr),
        sole_pos=nothing,
        sole_linvel=nothing,
        sole_height=nothing[0, :2],
        plate_force=m.plate_force[0].double().numpy(),
        com=nothing[0],
    )


@pytest.mark.parametrize("profile", ["robot", "switches", "simulator"])
@pytest.mark.parametrize("heading_hold", [True, False])
def test_observations_and_targets_are_those_of_the_environment(
    profile: Any, heading_hold: bool
) -> None:
    task = LocomotionConfig(
        observation=ObservationConfig(profile=profile),
        command=CommandConfig(heading_hold=heading_hold),
        auto_reset=False,
    )
    env = LocomotionEnv(task, 1, num_threads=1)
    contract, law = Contract.of(spec_of(env)), ServoLaw.of(env.robot)
    command = torch.tensor([[0.3, -0.1, 0.5]])
    env.set_commands(command)
    observation = env.reset()["observation"]
    actions = 2.4 * torch.rand(12, 1, 8) - 1.2  # some of them beyond what is allowed
    played = iter(actions[:, 0].double().numpy())
    controller = Controller(contract, lambda _: next(played))
    body = body_of(env)
    readings = sense(body, law, contract.foot_switch_threshold, 0.0, contract.ctrl_dt)
    controller.begin(np.clip(body.qpos[7:], *law.joint_range.T), readings.heading)
    for step, action in enumerate(actions):
        before = copy.deepcopy(controller)  # looking changes nothing
        observed = before.observe(readings, command[0].numpy())
        assert observed == pytest.approx(observation[0].numpy(), abs=2e-5)
        targets = controller.act(readings, command[0].numpy())
        observation = env.step(TensorDict({"action": action}, batch_size=[1]))["next"][
            "observation"
        ]
        offset, gain = action_map(env.robot, task.action)
        assert targets == pytest.approx(
            (offset + gain * torch.from_numpy(controller.action))
            .clamp(*env.robot.joint_range.T)
            .numpy(),
            abs=1e-6,
        )
        time = (step + 1) * contract.ctrl_dt
        readings = sense(body_of(env), law, contract.foot_switch_threshold, time, contract.ctrl_dt)


@pytest.mark.parametrize("mapping", ["home", "full_range"])
def test_actions_become_targets_as_in_training_however_large_they_are(mapping: Any) -> None:
    env = LocomotionEnv(LocomotionConfig(action=ActionConfig(mapping=mapping, filter=0.3)), 1)
    contract, task = Contract.of(spec_of(env)), env.config.action
    random = np.random.default_rng(0)
    actions = random.normal(size=(200, 8)) * 10.0 ** random.uniform(-8, 12, (200, 1))
    played = iter(actions)
    controller = Controller(contract, lambda _: next(played))
    controller.begin(env.robot.joint_home.numpy(), 0.0)
    filtered = torch.from_numpy(controller.action)
    for action in actions:
        targets = controller.act(STILL, np.zeros(3))
        filtered, ctrl = policy_action_to_ctrl(torch.from_numpy(action), filtered, env.robot, task)
        assert targets == pytest.approx(ctrl.numpy(), abs=1e-6)
        assert controller.action == pytest.approx(filtered.numpy(), abs=1e-6)
        assert ctrl_to_policy_action(ctrl, env.robot, task).abs().max() <= 1.0


def constant(value: float) -> Draw:
    """The same value for every robot."""
    return Draw(low=value, high=value)


def reported(env: LocomotionEnv, step: int, before: Readings | None) -> Readings:
    """What the environment's sensors say after a step, as a robot's driver would report it.

    A driver has one time stamp for a reading, the environment its age in float32: times that
    differ from those `before` by less than a microsecond are of the same reading.
    """
    sensors, dt = env.reality.state.sensors, env.config.ctrl_dt
    assert sensors is not None
    joint_time = step * dt - sensors.since_sample[0].double().numpy()
    if before is not None:
        same = np.abs(joint_time - before.joint_time) < 1e-6
        joint_time = np.where(same, before.joint_time, joint_time)
    return Readings(
        gravity=sensors.gravity[0].double().numpy(),
        angvel=sensors.angvel[0].double().numpy(),
        heading=float(sensors.heading[0]),
        joint_pos=sensors.joint_pos[0].double().numpy(),
        joint_time=joint_time,
        switches=sensors.switches[0].double().numpy(),
        age=dt,
    )


@pytest.mark.parametrize(
    "terms",
    [
        {"joint_age": constant(30.0), "imu_age": constant(12.0)},
        {
            "joint_age": Draw(low=10.0, high=40.0),
            "joint_period": Draw(low=24.0, high=130.0),
            "joint_loss": constant(0.1),
            "imu_age": Draw(low=5.0, high=25.0),
            "imu_stale": constant(0.1),
            "joint_noise": constant(0.002),
            "gyro_noise": constant(0.05),
            "heading_drift": constant(0.01),
        },
    ],
    ids=["old readings", "readings that come one by one and get lost"],
)
def test_an_episode_of_the_shipped_policy_is_observed_as_the_environment_does(
    terms: dict[str, Any],
) -> None:
    contract, network = read(WALKING_POLICY)
    task = LocomotionConfig(
        randomization=RandomizationConfig(**terms),
        auto_reset=False,
    )
    env = LocomotionEnv(task, 1, num_threads=1)
    fields = env.layouts["observation"].fields
    assert contract.fields == tuple((field.name, field.size) for field in fields)
    command = torch.tensor([[0.3, 0.0, 0.1]])
    env.set_commands(command)
    observation = env.reset()["observation"]
    raw: list[np.ndarray] = []

    def recorded(observed: np.ndarray) -> np.ndarray:
        raw[:] = [observed, network(observed)]
        return raw[1]

    controller = Controller(contract, recorded)
    start = env.backend.state().qpos[0, env.robot.joint_qpos_adr].double().numpy()
    controller.begin(np.clip(start, *contract.joint_range.T), float(env.measure().yaw[0]))
    moved, readings = 0.0, None
    for step in range(300):
        readings = reported(env, step, readings)
        controller.act(readings, command[0].double().numpy())
        assert np.abs(raw[0] - observation[0].numpy()).max() < 1e-6, step
        action = torch.from_numpy(raw[1]).float()[None]
        observation = env.step(TensorDict({"action": action}, batch_size=[1]))["next"][
            "observation"
        ]
        moved = float(env.backend.state().qpos[0, 0])
    assert moved > 0.5  # it walks


def test_a_velocity_is_of_an_encoders_own_two_readings() -> None:
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    contract = Contract.of(spec_of(env) | {"observation_layout": {"fields": [
        {"name": "encoder_vel", "size": 8}]}})  # fmt: skip
    controller = Controller(contract, lambda _: np.zeros(8))
    controller.begin(np.zeros(8), 0.0)

    def velocity(position: float, time: float) -> float:
        """Of the first joint [rad/s], whose nominal limit is 10 rad/s."""
        first = np.eye(8)[0]
        readings = replace(STILL, joint_pos=position * first, joint_time=time * first)
        return 10.0 * float(controller.observe(readings, np.zeros(3))[0])

    assert velocity(0.10, 0.990) == 0.0  # there is but one reading
    assert velocity(0.13, 1.020) == pytest.approx(1.0)
    assert velocity(0.13, 1.020) == pytest.approx(1.0)  # not read anew, so nothing has changed
    assert velocity(0.12, 1.060) == pytest.approx(-0.25)
    # Two answers within a millisecond: the count's rounding is not divided by less than that.
    assert velocity(0.121, 1.0601) == pytest.approx(1.0)


def test_the_filter_and_the_map_by_hand() -> None:
    env = LocomotionEnv(LocomotionConfig(action=ActionConfig(filter=0.75)), 1, num_threads=1)
    contract = Contract.of(spec_of(env) | {"observation_layout": {"fields": [
        {"name": "command", "size": 3}]}})  # fmt: skip
    controller = Controller(contract, lambda _: np.full(8, 2.0))
    controller.begin(contract.offset, 0.0)
    readings = STILL
    targets = controller.act(readings, np.zeros(3))
    # 2 is cut to 1, of which a quarter passes; 1.4 rad belong to 1.
    assert controller.action == pytest.approx(np.full(8, 0.25))
    knee = contract.joint_names.index("left_knee_pitch")
    assert targets[knee] == pytest.approx(contract.offset[knee] + 0.25 * 1.4)


def test_the_heading_error_is_the_short_way_round() -> None:
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    contract = Contract.of(spec_of(env) | {"observation_layout": {"fields": [
        {"name": "imu_heading_error", "size": 1}]}})  # fmt: skip
    controller = Controller(contract, lambda _: np.zeros(8))
    controller.begin(np.zeros(8), 3.0)
    readings = replace(STILL, heading=-3.0)
    error = controller.observe(readings, np.zeros(3))
    assert error == pytest.approx([2.0 * np.pi - 6.0], abs=1e-6)


def test_what_only_a_simulator_knows_is_refused_on_a_robot() -> None:
    contract, network = read(WALKING)
    controller = Controller(contract, network)
    controller.begin(np.zeros(8), 0.0)
    readings = STILL
    with pytest.raises(ContractError, match="no robot measures"):
        controller.act(readings, np.zeros(3))
    truth = Truth(np.zeros(8), np.zeros(8), np.zeros(3))
    assert controller.act(replace(readings, truth=truth), np.zeros(3)).shape == (8,)


def test_files_that_cannot_be_served_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_text("no model")
    with pytest.raises(ContractError, match=r"policy.onnx is no policy exported") as raised:
        read(path)
    assert "\n" not in str(raised.value)
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    fields = {"fields": [{"name": "plate_load", "size": 4}]}
    with pytest.raises(ContractError, match="plate_load"):
        Contract.of(spec_of(env) | {"observation_layout": fields})
    with pytest.raises(ContractError, match="lacks 'action'"):
        Contract.of({key: value for key, value in spec_of(env).items() if key != "action"})


def test_it_is_free_of_torch_and_of_engines() -> None:
    code = (
        "import sys; import wildrobot_torch.contract; "
        "print(sorted({'torch', 'mujoco', 'tensordict'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
