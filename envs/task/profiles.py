"""Moves of joints from one pose to another: how position and velocity go with time.

A `ControlCommand` says where to go, how fast to be there, and in which time; a `VelocityProfile`
says how. Every joint moves in the same time, that of the slowest, so a pose is reached at once.
`wildrobot_torch.deploy.runtime.profiles` is the same for the robot, in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from envs.errors import UserError
from envs.settings import PositiveFloat, check


class VelocityProfile(StrEnum):
    """How the velocity of a move goes with time."""

    STEP = "step"
    """The target is the end from the first instant on: the servo does the rest."""
    LINEAR = "linear"
    """One velocity all the way."""
    TRAPEZOIDAL = "trapezoidal"
    """One acceleration, one velocity, one deceleration."""
    S_CURVE = "s_curve"
    """The same with a limited jerk, so the acceleration has no jumps."""


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """What a move keeps to; the defaults are moderate for a servo of 5.8 rad/s."""

    speed: PositiveFloat = 3.0
    """[rad/s]"""
    acceleration: PositiveFloat = 20.0
    """[rad/s^2]"""
    jerk: PositiveFloat = 400.0
    """[rad/s^3]"""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ControlCommand:
    """A pose to reach."""

    position: Tensor
    """(..., J) [rad]: physical angles, with the joints' own signs."""
    velocity: Tensor | None = None
    """(..., J) [rad/s]: what the servos are told of the velocity when the move ends; None for 0.
    The path does not depend on it."""
    duration: float = 0.0
    """Time for the move [s]; it takes longer where the limits ask for that."""


def move_time(
    distance: Tensor, profile: VelocityProfile, limits: MotionLimits
) -> tuple[Tensor, Tensor, Tensor]:
    """Shortest time of a move, and what it is made of, by joint.

    Args:
        distance: (..., J) [rad], not negative.
        profile: of the velocity.
        limits: of the move.

    Returns:
        Time of the move, time of its acceleration, time in which the acceleration grows
        (..., J) [s].
    """
    zero = torch.zeros_like(distance)
    speed, acceleration, jerk = limits.speed, limits.acceleration, limits.jerk
    if profile is VelocityProfile.STEP:
        return zero, zero, zero
    if profile is VelocityProfile.LINEAR:
        return distance / speed, zero, zero
    if profile is VelocityProfile.TRAPEZOIDAL:
        ramp = torch.minimum(torch.sqrt(distance / acceleration), zero + speed / acceleration)
        return _with_cruise(distance, ramp, speed), ramp, zero
    # With a limited jerk: the largest acceleration of a move that is too short for all of it is
    # reached for an instant; one that is shorter still does not reach it.
    short = torch.pow(distance / (2.0 * jerk), 1.0 / 3.0)
    grow = acceleration / jerk
    peak = 0.5 * acceleration * (torch.sqrt(grow**2 + 4.0 * distance / acceleration) - grow)
    peak = torch.where(short < grow, jerk * short.square(), peak).clamp(max=speed)
    rise = torch.minimum(torch.sqrt(peak / jerk), zero + grow)
    # 0 / 0 of a joint that does not move.
    ramp = rise + torch.where(rise > 0.0, peak / (jerk * rise).clamp(min=1e-12), zero)
    return _with_cruise(distance, ramp, speed), ramp, rise


def _with_cruise(distance: Tensor, ramp: Tensor, speed: float) -> Tensor:
    """Time (..., J) [s] of two ramps and what is left of the distance at full speed."""
    return 2.0 * ramp + (distance / speed - ramp).clamp(min=0.0)


def move(
    start: Tensor,
    command: ControlCommand,
    time: Tensor,
    profile: VelocityProfile,
    limits: MotionLimits,
) -> tuple[Tensor, Tensor]:
    """Position and velocity (..., T, J) [rad, rad/s] at times (T,) [s] of a move from rest to rest.

    Before 0 they are those of `start` (..., J); after the end those of the command.

    Raises:
        UserError: the command has another shape than `start`, a number that is not finite or a
            negative duration.
    """
    if command.position.shape != start.shape:
        raise UserError(
            f"a command for {tuple(command.position.shape)} joints cannot move "
            f"{tuple(start.shape)}; give one position for each joint"
        )
    if not (bool(torch.isfinite(command.position).all()) and 0.0 <= command.duration < torch.inf):
        raise UserError(
            f"a move to {command.position.tolist()} in {command.duration} s; allowed: finite "
            "positions, and a finite duration of 0 or more"
        )
    apart = command.position - start
    needed, ramp, rise = (x[..., None, :] for x in move_time(apart.abs(), profile, limits))
    whole = needed.amax(-1, keepdim=True).clamp(min=command.duration)
    # Joints with less to do go slower, by stretching their time; so all limits hold.
    pace = needed / whole.clamp(min=_TINY)
    own = torch.minimum(time[:, None].clamp(min=0.0) * pace, needed)
    late = own > 0.5 * needed
    full = apart[..., None, :] / (needed - ramp).clamp(min=_TINY)
    way, velocity = _speeding_up(torch.where(late, needed - own, own), full, ramp, rise)
    way = torch.where(late, apart[..., None, :] - way, way)
    end = torch.zeros_like(start) if command.velocity is None else command.velocity
    moving, done = time[:, None] > 0.0, (time[:, None] > 0.0) & (time[:, None] >= whole)
    position = torch.where(done, command.position[..., None, :], start[..., None, :] + way)
    return position, torch.where(done, end[..., None, :], velocity * pace * moving)


_TINY = 1e-12
"""Keeps quotients of a joint that does not move, or of a phase that a profile lacks, at 0."""


def _speeding_up(time: Tensor, full: Tensor, ramp: Tensor, rise: Tensor) -> tuple[Tensor, Tensor]:
    """Way and velocity of the first half of a move, which the second half mirrors.

    The second half of the acceleration mirrors the first: what is missing to full speed is what
    there was as long before.

    Args:
        time: since the start [s].
        full: velocity after the acceleration [rad/s].
        ramp: duration of the acceleration [s].
        rise: time in which the acceleration grows, and again in which it shrinks [s].
    """
    near = torch.minimum(time, ramp - time).clamp(min=0.0)
    growing = torch.minimum(near, rise)
    constant = near - growing
    acceleration = full / (ramp - rise).clamp(min=_TINY)
    grown = acceleration * growing.square() / (2.0 * rise.clamp(min=_TINY))
    way = growing * grown / 3.0 + grown * constant + acceleration * constant.square() / 2.0
    velocity = grown + acceleration * constant
    velocity = torch.where(time < 0.5 * ramp, velocity, full - velocity)
    return way + full * (time - 0.5 * ramp).clamp(min=0.0), velocity
