"""The 39 values, one by one, on a standing and on a moving robot."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.episode import Episode, StepContext
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.reality.randomization import Draw, RandomizationConfig
from envs.robot.spec import RobotSpec
from envs.task.observations import (
    FIELDS,
    ObservationConfig,
    critic_layout,
    observation_layout,
    observe,
)
from tests.tasks import SIMULATOR, ideal_task


@pytest.fixture(scope="module")
def standing() -> Measurements:
    env = LocomotionEnv(ideal_task(), 1)
    root = env.reset()
    for _ in range(200):
        _, root = env.step_and_maybe_reset(root.set("action", torch.zeros(1, 8)))
    return env.measure()


def step(m: Measurements, robot: RobotSpec, **changes: torch.Tensor) -> StepContext:
    """A step of one robot, with changes of its episode."""
    episode = replace(Episode.blank(1, 8, torch.device("cpu")), **changes)
    return StepContext(m, episode, torch.zeros(1, dtype=torch.bool), robot, ideal_task())


def unpacked(
    m: Measurements, robot: RobotSpec, config: ObservationConfig | None = None, **changes: Tensor
) -> dict[str, list[float]]:
    layout = critic_layout(robot, config or SIMULATOR)
    blocks = layout.unpack(observe(step(m, robot, **changes), [layout])[layout.name])
    return {name: block[0].tolist() for name, block in blocks.items()}


def test_slices_are_those_the_robot_expects(robot: RobotSpec) -> None:
    layout = observation_layout(robot, SIMULATOR)
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
        "heading_error": (38, 39),
    }


def test_fields_are_chosen_by_name_and_in_order(standing: Measurements, robot: RobotSpec) -> None:
    config = ObservationConfig(fields=("height", "gravity"), critic_fields=("torque",))
    layout = observation_layout(robot, config)
    vector = observe(step(standing, robot), [layout])["observation"]
    assert torch.equal(vector, torch.cat([standing.height[:, None], standing.gravity_b], dim=-1))
    assert [field.name for field in critic_layout(robot, config).fields] == [
        "height", "gravity", "torque",
    ]  # fmt: skip
    assert layout.digest != observation_layout(robot, SIMULATOR).digest


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"fields": ("gravty",)}, "'gravty' is unknown .did you mean 'gravity'"),
        ({"critic_fields": ("scent",)}, "'scent' is unknown; allowed: gravity, "),
        ({"fields": ()}, "at least one"),
        ({"fields": ("gravity", "gravity")}, "none twice"),
        ({"critic_fields": ("command",)}, "none twice"),
        ({"fields": ("velocity_command",), "history": 3}, "history is 3, but no field .*; observe"),
        ({"foot_switch_threshold": -1.0}, "foot_switch_threshold"),
    ],
)
def test_refuses_fields_that_cannot_be_observed(bad: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObservationConfig(**bad)


def test_a_history_is_that_of_the_profile_unless_given(robot: RobotSpec) -> None:
    def size(**settings: Any) -> int:
        return observation_layout(robot, ObservationConfig(**settings)).size

    # Six steps of IMU 3 + 3, joints 8 + 8 and action 8; now the commands 3 and the heading error 1.
    assert size() == size(profile="robot") == size(history=5) == 6 * 30 + 4
    assert size(history=0) == 34
    assert size(profile="simulator") == 39
    assert size(profile="simulator", history=2) == 39 + 2 * 8
    # Fields that no history keeps have none.
    assert size(fields=("gravity",), critic_fields=()) == 3


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
    heading = standing.yaw + 0.1
    got = unpacked(
        standing, robot, action=torch.full((1, 8), 0.25), command=torch.tensor([[0.4, -0.1, 0.2]]),
        heading=heading,
    )  # fmt: skip
    assert got["prev_action"] == [0.25] * 8
    assert got["velocity_command"] == pytest.approx([0.4])
    here = step(standing, robot, command=torch.tensor([[0.4, -0.1, 0.2]]))
    assert FIELDS["command"].function(here).tolist() == [pytest.approx([0.4, -0.1, 0.2])]
    assert got["heading_error"] == pytest.approx([-0.1])


def test_critic_sees_the_observation_and_the_loads(
    standing: Measurements, robot: RobotSpec
) -> None:
    config = SIMULATOR
    here = step(
        standing, robot, air_time=torch.tensor([[0.0, 0.3]]), stance_time=torch.tensor([0.1]),
        mean_velocity=torch.tensor([0.2]),
    )  # fmt: skip
    layout = critic_layout(robot, config)
    seen = observe(here, [observation_layout(robot, config), layout])
    vector = seen["critic_observation"]
    assert vector.shape == (1, layout.size)
    got = layout.unpack(vector)
    assert got["plate_load"].sum().item() == pytest.approx(1.0, abs=0.05)
    assert got["height"].item() == pytest.approx(0.468, abs=0.01)
    assert got["air_time"].tolist() == [[0.0, pytest.approx(0.3)]]
    assert got["stance_time"].item() == pytest.approx(0.1)
    assert got["mean_velocity"].item() == pytest.approx(0.2)
    assert torch.equal(vector[:, :39], seen["observation"])


def test_the_critic_sees_what_was_drawn_and_the_push(robot: RobotSpec) -> None:
    ranges = {
        "sole_friction": Draw(low=0.4, high=1.2), "zero_error": Draw(sd=0.03),
        "strength": Draw(low=0.8, high=0.9), "imu_tilt": Draw(sd=0.03),
        "action_delay": Draw(low=30.0, high=30.0),
    }  # fmt: skip
    task = LocomotionConfig(randomization=RandomizationConfig(**ranges))
    env = LocomotionEnv(task, 3, seed=1)
    layout = critic_layout(env.robot, task.observation)
    seen = layout.unpack(env.reset()["critic_observation"])
    drawn = env.reality.state.drawn
    for name in ("zero_error", "strength", "imu_tilt"):
        assert torch.equal(seen[f"drawn_{name}"], drawn[name]) and drawn[name].std() > 0.0
    assert torch.equal(seen["drawn_friction"], drawn["sole_friction"])
    assert seen["drawn_action_delay"].flatten().tolist() == [1.5] * 3
    assert (seen["drawn_gain"] == 1.0).all() and (seen["drawn_compliance"] == 0.0).all()


def test_a_push_is_seen_from_the_robot(standing: Measurements, robot: RobotSpec) -> None:
    # Facing along world y, a push along world x comes from the left: it drives to the right.
    turned = replace(standing, yaw=torch.tensor([math.pi / 2]))
    push = FIELDS["push"].function(step(turned, robot, push=torch.tensor([[16.2, 0.0]])))
    assert push[0].tolist() == pytest.approx([0.0, -16.2 / (robot.mass * 9.81)], abs=1e-4)
