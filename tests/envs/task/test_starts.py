"""Tests of envs.task.starts."""

from __future__ import annotations

import pytest
import torch

from envs.robot.spec import RobotSpec
from envs.task.starts import AT_HOME, ResetConfig, StartDraws, StartStates, noisy_start

NUM = 512


def start(
    robot: RobotSpec, config: ResetConfig, starts: StartStates | None = None
) -> tuple[torch.Tensor, ...]:
    draws = StartDraws.from_generator(NUM, robot, starts, torch.Generator().manual_seed(0))
    return noisy_start(draws, robot, config, starts, torch.full((NUM,), 0.3))


def test_noise_stays_in_its_bounds_and_in_range(robot: RobotSpec) -> None:
    config = ResetConfig(joint_noise=0.05, velocity_noise=0.1)
    qpos, qvel, command, number, air_time = start(robot, config)
    offset = qpos[:, robot.joint_qpos_adr] - robot.joint_home
    assert offset.abs().max() <= 0.0501 and offset.std() > 0.01
    joints = qpos[:, robot.joint_qpos_adr]
    assert (joints >= robot.joint_range[:, 0] - 1e-6).all()  # the knee's stop is at home
    assert qvel.abs().max() <= 0.1 and qvel.std() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert (command == 0.3).all()
    assert (number == AT_HOME).all()
    assert not air_time.any()


def test_given_states_are_drawn_with_their_command(robot: RobotSpec) -> None:
    given = robot.home_qpos.repeat(3, 1)
    given[:, 0] = torch.tensor([1.0, 2.0, 3.0])
    starts = StartStates.checked(
        given, torch.zeros(3, 14), torch.tensor([0.1, 0.2, 0.4]), 0.75, robot,
        torch.tensor([7, 0, 5]), torch.tensor([[0.1, 0.0], [0.0, 0.2], [0.0, 0.0]]),
    )  # fmt: skip
    quiet = ResetConfig(joint_noise=0.0, velocity_noise=0.0)
    qpos, _, command, number, air_time = start(robot, quiet, starts)
    drawn = qpos[:, 0] > 0.5
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.06)
    for x, velocity, called, air in (
        (1.0, 0.1, 7, (0.1, 0.0)), (2.0, 0.2, 0, (0.0, 0.2)), (3.0, 0.4, 5, (0.0, 0.0)),
    ):  # fmt: skip
        rows = qpos[:, 0] == x
        assert rows.sum() > 50
        assert (number[rows] == called).all()
        assert torch.allclose(command[rows], torch.tensor(velocity))
        assert torch.allclose(air_time[rows], torch.tensor(air))
    assert (command[~drawn] == 0.3).all()
    assert (number[~drawn] == AT_HOME).all()
    assert not air_time[~drawn].any()


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
