"""Tests of envs.task.starts."""

from __future__ import annotations

import pytest
import torch

from envs.config import LocomotionConfig
from envs.robot.spec import RobotSpec
from envs.task.commands import CommandConfig, as_command
from envs.task.starts import (
    AT_HOME,
    ResetConfig,
    Start,
    StartDraws,
    StartStates,
    sample_start,
    start_from,
)

NUM = 512


def start(
    robot: RobotSpec,
    config: ResetConfig,
    starts: StartStates | None = None,
    held_command: torch.Tensor | None = None,
) -> Start:
    """Starts of NUM robots that are commanded 0.3 m/s at home."""
    command = CommandConfig(velocity_min=0.3, velocity_max=0.3, standing_probability=0.0)
    draws = StartDraws.from_generator(NUM, robot, command, starts, torch.Generator().manual_seed(0))
    task = LocomotionConfig(reset=config, command=command)
    return sample_start(draws, held_command, robot=robot, config=task, starts=starts)


def test_noise_stays_in_its_bounds_and_in_range(robot: RobotSpec) -> None:
    config = ResetConfig(joint_noise=0.05, velocity_noise=0.1)
    got = start(robot, config)
    qpos, qvel = got.qpos, got.qvel
    offset = qpos[:, robot.joint_qpos_adr] - robot.joint_home
    assert offset.abs().max() <= 0.0501 and offset.std() > 0.01
    joints = qpos[:, robot.joint_qpos_adr]
    assert (joints >= robot.joint_range[:, 0] - 1e-6).all()  # the knee's stop is at home
    assert qvel.abs().max() <= 0.1 and qvel.std() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert torch.allclose(got.command, torch.tensor([0.3, 0.0, 0.0]))
    assert (got.rsi_index == AT_HOME).all()
    assert not got.air_time.any()


def test_given_states_are_drawn_with_their_command(robot: RobotSpec) -> None:
    given = robot.home_qpos.repeat(3, 1)
    given[:, 0] = torch.tensor([1.0, 2.0, 3.0])
    starts = StartStates.checked(
        given, torch.zeros(3, 14), torch.tensor([0.1, 0.2, 0.4]), 0.75, robot,
        torch.tensor([7, 0, 5]), torch.tensor([[0.1, 0.0], [0.0, 0.2], [0.0, 0.0]]),
    )  # fmt: skip
    quiet = ResetConfig(joint_noise=0.0, velocity_noise=0.0)
    got = start(robot, quiet, starts)
    drawn = got.qpos[:, 0] > 0.5
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.06)
    for x, velocity, called, air in (
        (1.0, 0.1, 7, (0.1, 0.0)), (2.0, 0.2, 0, (0.0, 0.2)), (3.0, 0.4, 5, (0.0, 0.0)),
    ):  # fmt: skip
        rows = got.qpos[:, 0] == x
        assert rows.sum() > 50
        assert (got.rsi_index[rows] == called).all()
        assert torch.allclose(got.command[rows], torch.tensor([velocity, 0.0, 0.0]))
        assert torch.allclose(got.air_time[rows], torch.tensor(air))
    assert torch.allclose(got.command[~drawn], torch.tensor([0.3, 0.0, 0.0]))
    assert (got.rsi_index[~drawn] == AT_HOME).all()
    assert not got.air_time[~drawn].any()


def test_held_commands_replace_all_others(robot: RobotSpec) -> None:
    home = robot.home_qpos[None]
    starts = StartStates.checked(home, torch.zeros(1, 14), torch.tensor([0.1]), 0.5, robot)
    got = start(robot, ResetConfig(), starts, torch.full((NUM, 3), 0.7))
    assert torch.allclose(got.command, torch.tensor(0.7))


def test_a_start_holds_the_pose_it_starts_in(robot: RobotSpec) -> None:
    qpos = robot.home_qpos.repeat(2, 1)
    qpos[:, robot.joint_qpos_adr] += 0.1 * robot.action_sign
    command = as_command(torch.tensor([0.1, 0.2]))
    got = start_from(qpos, torch.zeros(2, 14), command, robot, LocomotionConfig())
    assert torch.allclose(got.action, torch.full((2, 8), 0.1 / 1.4), atol=1e-5)
    assert torch.allclose(got.ctrl, qpos[:, robot.joint_qpos_adr], atol=1e-5)


@pytest.mark.parametrize(
    ("qpos", "qvel", "command", "probability"),
    [((0, 15), (0, 14), (0,), 0.5), ((2, 14), (2, 14), (2,), 0.5), ((2, 15), (2, 14), (3,), 0.5),
     ((2, 15), (2, 14), (2,), 1.5)],
)  # fmt: skip
def test_refuses_states_that_do_not_fit(
    robot: RobotSpec, qpos: tuple, qvel: tuple, command: tuple, probability: float
) -> None:
    with pytest.raises(ValueError, match="start state"):
        StartStates.checked(
            torch.zeros(qpos), torch.zeros(qvel), torch.zeros(command), probability, robot
        )


def test_refuses_negative_noise() -> None:
    with pytest.raises(ValueError, match="joint_noise"):
        ResetConfig(joint_noise=-0.1)
