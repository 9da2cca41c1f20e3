"""Start states: the home pose with noise, or states of a reference (RSI)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.frames import quat_from_euler, quat_multiply, quat_rotate, quat_rotate_inverse
from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, check
from envs.shares import Shares
from envs.task.actions import ctrl_to_policy_action, filtered_action_to_ctrl
from envs.task.commands import CommandConfig, as_command, sample_command

if TYPE_CHECKING:
    from envs.config import LocomotionConfig

AT_HOME, UNDER_WAY = -1, -2
"""Values of the key `rsi_index` besides the indices of reference states: the episode starts at
home; it started in an earlier step."""


@dataclass(frozen=True, kw_only=True)
class ResetConfig:
    """Noise on the state an episode starts in."""

    joint_noise: NonNegativeFloat = 0.05
    """Joint positions move by U(-joint_noise, joint_noise) [rad], within their ranges."""
    velocity_noise: NonNegativeFloat = 0.05
    """Root and joint velocities move by U(-velocity_noise, velocity_noise) [m/s, rad/s]."""
    lean: NonNegativeFloat = 0.0
    """The robot leans by this in a random direction about the middle of its feet [rad]."""
    lean_rate: NonNegativeFloat = 0.0
    """It falls on in that direction, or back, at up to this rate [rad/s]."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class StartStates:
    """Reference states an episode may start in, and the command after such a start."""

    qpos: Tensor
    """(N, nq)."""
    qvel: Tensor
    """(N, nv)."""
    velocity_command: Tensor
    """(N,) [m/s]."""
    probability: float
    """Share of the resets that start in one of them."""
    rsi_index: Tensor
    """(N,) long, >= 0: their values of the key `rsi_index`."""
    air_time: Tensor
    """(N, 2) [s]: how long each foot has been unloaded in them."""

    @classmethod
    def checked(
        cls,
        qpos: Tensor,
        qvel: Tensor,
        velocity_command: Tensor,
        probability: float,
        robot: RobotSpec,
        rsi_index: Tensor | None = None,
        air_time: Tensor | None = None,
    ) -> StartStates:
        """Start states whose shapes fit the robot.

        Without `rsi_index` they count from 0; without `air_time` both feet are on the floor.

        Raises:
            ValueError: they do not, or the probability is not in [0, 1].
        """
        nq, num = robot.home_qpos.shape[0], qpos.shape[0]
        rsi_index = torch.arange(num) if rsi_index is None else rsi_index
        air_time = torch.zeros(num, 2) if air_time is None else air_time
        given = (qpos, qvel, velocity_command, rsi_index, air_time)
        expected = ((num, nq), (num, nq - 1), (num,), (num,), (num, 2))
        shapes = tuple(tuple(tensor.shape) for tensor in given)
        if num == 0 or shapes != expected:
            raise ValueError(
                f"start states (qpos, qvel, command, rsi_index, air time) have shapes {shapes}; "
                f"expected {expected}, N > 0"
            )
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"start state probability is {probability}; allowed: 0 to 1")
        device = robot.home_qpos.device
        return cls(
            qpos.to(device, torch.float32),
            qvel.to(device, torch.float32),
            velocity_command.to(device, torch.float32),
            probability,
            rsi_index.to(device, torch.long),
            air_time.to(device, torch.float32),
        )


@dataclass(frozen=True)
class StartDraws:
    """Random numbers for one start of all E simulations, in [0, 1) unless said otherwise."""

    command: Tensor
    """(D, E): see `sample_command`."""
    pick: Tensor | None
    """(E,) long: which of the reference states; None without such states."""
    choice: Tensor | None
    """(E,): below `StartStates.probability` the start is a reference state."""
    joint_pos: Tensor
    """(E, J)."""
    velocity: Tensor
    """(E, nv)."""
    lean: Tensor | None = None
    """(E, 2): direction and rate; None without a lean."""

    @classmethod
    def from_generator(
        cls,
        num: int,
        robot: RobotSpec,
        config: CommandConfig,
        starts: StartStates | None,
        generator: torch.Generator,
        lean: bool = False,
    ) -> StartDraws:
        """Draws for `num` simulations, on the robot's device."""
        device = robot.home_qpos.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device)

        command = uniform(config.num_draws, num)
        pick = choice = None
        if starts is not None:
            pick = torch.randint(starts.qpos.shape[0], (num,), generator=generator, device=device)
            choice = uniform(num)
        joint_pos, velocity = (
            uniform(num, robot.num_joints),
            uniform(num, robot.home_qpos.shape[0] - 1),
        )
        return cls(command, pick, choice, joint_pos, velocity, uniform(num, 2) if lean else None)


@dataclass(frozen=True)
class Start:
    """Where E episodes begin."""

    qpos: Tensor
    """(E, nq)."""
    qvel: Tensor
    """(E, nv)."""
    command: Tensor
    """(E, 3): see `Episode.command`."""
    action: Tensor
    """(E, J): filtered action whose joint targets are nearest to the start's joint positions."""
    ctrl: Tensor
    """(E, nu) [rad]: targets of `action`."""
    rsi_index: Tensor
    """(E,) long: index of the reference state it starts in, or `AT_HOME`."""
    air_time: Tensor
    """(E, 2) [s]: how long each foot has been unloaded already."""


def start_from(
    qpos: Tensor,
    qvel: Tensor,
    command: Tensor,
    robot: RobotSpec,
    config: LocomotionConfig,
    rsi_index: Tensor | None = None,
    air_time: Tensor | None = None,
) -> Start:
    """Start in a given state: qpos (E, nq), qvel (E, nv), command (E, 3).

    `rsi_index` (E,) long is the index of the state, None for `AT_HOME`; `air_time` (E, 2) [s] how
    long each foot has been unloaded, None for feet on the floor.
    """
    action = ctrl_to_policy_action(qpos[:, robot.joint_qpos_adr], robot, config.action)
    ctrl = filtered_action_to_ctrl(action, robot, config.action)
    if rsi_index is None:
        rsi_index = torch.full_like(command[:, 0], AT_HOME, dtype=torch.long)
    if air_time is None:
        air_time = command.new_zeros(len(command), 2)
    return Start(qpos, qvel, command, action, ctrl, rsi_index, air_time)


def sample_start(
    draws: StartDraws,
    held_command: Tensor | None,
    shares: Shares | None = None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    starts: StartStates | None,
) -> Start:
    """Random start: the home pose or a reference state, with noise.

    Args:
        draws: random numbers for E simulations.
        held_command: (E, 3), commanded in any case; None for the reference state's command, at
            home a sampled one.
        shares: of the ranges of commands and leans; None for the whole of them.
        robot: the robot.
        config: the task.
        starts: reference states that may be drawn, or None.
    """
    qpos = robot.home_qpos.expand(len(draws.joint_pos), -1).clone()
    qvel = torch.zeros_like(draws.velocity)
    command = sample_command(draws.command, config.command, shares)
    rsi_index = torch.full_like(command[:, 0], AT_HOME, dtype=torch.long)
    air_time = command.new_zeros(len(command), 2)
    if starts is not None:
        assert draws.pick is not None and draws.choice is not None
        given = draws.choice < starts.probability
        qpos = torch.where(given[:, None], starts.qpos[draws.pick], qpos)
        qvel = torch.where(given[:, None], starts.qvel[draws.pick], qvel)
        picked = as_command(starts.velocity_command[draws.pick])
        command = torch.where(given[:, None], picked, command)
        rsi_index = torch.where(given, starts.rsi_index[draws.pick], rsi_index)
        air_time = torch.where(given[:, None], starts.air_time[draws.pick], air_time)

    def noise(draw: Tensor, size: float) -> Tensor:
        return size * (2.0 * draw - 1.0)

    joints = qpos[:, robot.joint_qpos_adr] + noise(draws.joint_pos, config.reset.joint_noise)
    qpos[:, robot.joint_qpos_adr] = torch.clamp(
        joints, robot.joint_range[:, 0], robot.joint_range[:, 1]
    )
    qvel = qvel + noise(draws.velocity, config.reset.velocity_noise)
    if draws.lean is not None:
        share = 1.0 if shares is None else shares.lean
        qpos, qvel = leaning(qpos, qvel, draws.lean, robot, config.reset, share)
    command = command if held_command is None else held_command
    return start_from(qpos, qvel, command, robot, config, rsi_index, air_time)


def leaning(
    qpos: Tensor,
    qvel: Tensor,
    draws: Tensor,
    robot: RobotSpec,
    config: ResetConfig,
    share: Tensor | float = 1.0,
) -> tuple[Tensor, Tensor]:
    """States (E, nq), (E, nv) turned about the middle of the feet, so that the robot leans.

    The robot is lifted by what would be under the floor then; heights are those of a level floor.

    Args:
        qpos: (E, nq).
        qvel: (E, nv).
        draws: (E, 2) random numbers in [0, 1): direction of the lean, rate.
        robot: the robot.
        config: size of lean and rate.
        share: of that size, in [0, 1].
    """
    direction = 2.0 * torch.pi * draws[:, 0]
    lean = share * config.lean
    pitch, roll = lean * torch.cos(direction), lean * torch.sin(direction)
    turned = quat_from_euler(roll, pitch, torch.zeros_like(roll))
    over_feet = torch.cat([torch.zeros_like(qpos[:, :2]), qpos[:, 2:3]], dim=-1)
    moved = quat_rotate(turned, over_feet)
    leg = robot.leg
    reach = torch.where(pitch > 0.0, leg.toe, -leg.heel)
    lift = reach * torch.sin(pitch.abs()) + (leg.leg_y + leg.sole_width / 2) * torch.sin(roll.abs())
    position = torch.cat([qpos[:, :2] + moved[:, :2], (moved[:, 2] + lift)[:, None]], dim=-1)
    quat = quat_multiply(turned, qpos[:, 3:7])
    rate = share * config.lean_rate * (2.0 * draws[:, 1] - 1.0)
    axis = torch.stack([torch.sin(direction), torch.cos(direction), torch.zeros_like(rate)], -1)
    spin_w = rate[:, None] * axis
    linear = torch.linalg.cross(spin_w, moved)
    return (
        torch.cat([position, quat, qpos[:, 7:]], dim=-1),
        torch.cat(
            [qvel[:, :3] + linear, qvel[:, 3:6] + quat_rotate_inverse(quat, spin_w), qvel[:, 6:]],
            dim=-1,
        ),
    )
