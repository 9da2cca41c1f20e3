"""The 39 values, one by one, on a standing and on a moving robot."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.locomotion import LocomotionConfig, LocomotionEnv
from envs.measurements import Measurements
from envs.robot.spec import RobotSpec
from envs.task.observations import (
    ObservationConfig,
    critic_layout,
    observation_layout,
    observe,
    observe_privileged,
)


@pytest.fixture(scope="module")
def standing() -> Measurements:
    env = LocomotionEnv(LocomotionConfig(), 1)
    root = env.reset()
    for _ in range(200):
        _, root = env.step_and_maybe_reset(root.set("action", torch.zeros(1, 8)))
    return env.measure()


def unpacked(
    m: Measurements, robot: RobotSpec, config: ObservationConfig | None = None
) -> dict[str, list[float]]:
    config = config or ObservationConfig()
    vector = observe(
        m, robot, config, torch.full((1, 8), 0.25), torch.tensor([0.4]), torch.tensor([-0.1])
    )
    blocks = observation_layout(robot, config).unpack(vector)
    return {name: block[0].tolist() for name, block in blocks.items()}


def test_slices_are_those_the_robot_expects(robot: RobotSpec) -> None:
    layout = observation_layout(robot, ObservationConfig(heading=False))
    assert layout.size == 39
    assert {name: (s.start, s.stop) for name, s in layout.slices.items()} == {
        "gravity": (0, 3),
        "angvel": (3, 6),
        "linvel": (6, 9),
        "joint_pos": (9, 17),
        "joint_vel": (17, 25),
        "foot_switch": (25, 29),
        "prev_action": (29, 37),
        "velocity_command": (37, 38),
        "padding": (38, 39),
    }


def test_quiet_standing_closes_all_four_switches(standing: Measurements, robot: RobotSpec) -> None:
    got = unpacked(standing, robot)
    assert got["foot_switch"] == [1.0] * 4
    assert got["gravity"] == pytest.approx([0, 0, -1], abs=0.03)


def test_a_switch_opens_below_its_threshold(standing: Measurements, robot: RobotSpec) -> None:
    m = replace(standing, plate_force=torch.tensor([[1.9, 2.1, 0.0, 30.0]]))
    assert unpacked(m, robot)["foot_switch"] == [0.0, 1.0, 0.0, 1.0]


def test_joints_are_scaled_to_their_range(standing: Measurements, robot: RobotSpec) -> None:
    m = replace(
        standing,
        joint_pos=robot.joint_range[:, 1][None],
        joint_vel=torch.tensor([[5.0, -2.5, 30.0, -30.0, 0, 0, 0, 0]]),
    )
    got = unpacked(m, robot)
    assert got["joint_pos"] == pytest.approx([1.0] * 8, abs=1e-5)
    assert got["joint_vel"][:4] == pytest.approx([0.5, -0.25, 1.0, -1.0])


def test_command_action_and_heading_are_passed_on(standing: Measurements, robot: RobotSpec) -> None:
    got = unpacked(standing, robot)
    assert got["prev_action"] == [0.25] * 8
    assert got["velocity_command"] == pytest.approx([0.4])
    assert got["heading_error"] == pytest.approx([-0.1])
    assert unpacked(standing, robot, ObservationConfig(heading=False))["padding"] == [0.0]


def test_heading_changes_the_digest(robot: RobotSpec) -> None:
    with_heading, without = (
        observation_layout(robot, ObservationConfig(heading=heading)) for heading in (True, False)
    )
    assert with_heading.digest != without.digest


def test_critic_sees_the_observation_and_the_loads(
    standing: Measurements, robot: RobotSpec
) -> None:
    config = ObservationConfig()
    observation = observe(
        standing, robot, config, torch.zeros(1, 8), torch.zeros(1), torch.zeros(1)
    )
    vector = observe_privileged(
        standing,
        robot,
        observation,
        air_time=torch.tensor([[0.0, 0.3]]),
        stance_time=torch.tensor([0.1]),
        mean_velocity=torch.tensor([0.2]),
    )
    layout = critic_layout(robot, config)
    assert vector.shape == (1, layout.size)
    got = layout.unpack(vector)
    assert got["plate_load"].sum().item() == pytest.approx(1.0, abs=0.05)
    assert got["height"].item() == pytest.approx(0.468, abs=0.01)
    assert got["air_time"].tolist() == [[0.0, pytest.approx(0.3)]]
    assert got["stance_time"].item() == pytest.approx(0.1)
    assert got["mean_velocity"].item() == pytest.approx(0.2)
    assert torch.equal(vector[:, :39], observation)
