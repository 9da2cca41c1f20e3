"""Moves of joints from one pose to another: how position and velocity go with time.

The same moves as `envs.task.profiles`, for the robot: numpy, one instant at a time. It is written
another way, as a sum of phases of constant jerk, so each checks the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError

Array = NDArray[np.floating[Any]]
Profile = Literal["step", "linear", "trapezoidal", "s_curve"]
PROFILES: tuple[Profile, ...] = ("step", "linear", "trapezoidal", "s_curve")


@dataclass(frozen=True, kw_only=True)
class MotionLimits:
    """What a move keeps to; the defaults are moderate for a servo of 5.8 rad/s."""

    speed: float = 3.0
    """[rad/s]"""
    acceleration: float = 20.0
    """[rad/s^2]"""
    jerk: float = 400.0
    """[rad/s^3]"""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 < value < math.inf:
                raise UserError(f"{name} of a move is {value}; allowed: finite and above 0")


@dataclass(frozen=True)
class ControlCommand:
    """A pose to reach."""

    position: Array
    """(J,) [rad]: physical angles, with the joints' own signs."""
    velocity: Array | None = None
    """(J,) [rad/s]: what the servos are told of the velocity when the move ends; None for 0.
    The path does not depend on it."""
    duration: float = 0.0
    """Time for the move [s]; it takes longer where the limits ask for that."""


def phases(distance: float, profile: Profile, limits: MotionLimits) -> list[tuple[float, float]]:
    """Phases of the shortest move over a distance [rad], each its duration [s] and what it does.

    For `linear` that is one velocity [rad/s], for `trapezoidal` accelerations [rad/s^2], for
    `s_curve` jerks [rad/s^3], one after another.
    """
    speed, acceleration, jerk = limits.speed, limits.acceleration, limits.jerk
    if distance == 0.0 or profile == "step":
        return []
    if profile == "linear":
        return [(distance / speed, speed)]
    if profile == "trapezoidal":
        ramp = min(math.sqrt(distance / acceleration), speed / acceleration)
        cruise = max(distance / speed - ramp, 0.0)
        return [(ramp, acceleration), (cruise, 0.0), (ramp, -acceleration)]
    # The largest velocity that such a distance allows, first without a limit of the acceleration.
    top = jerk * (distance / (2.0 * jerk)) ** (2.0 / 3.0)
    if math.sqrt(jerk * top) > acceleration:
        lag = acceleration / jerk
        top = 0.5 * acceleration * (math.sqrt(lag**2 + 4.0 * distance / acceleration) - lag)
    top = min(top, speed)
    rise = min(math.sqrt(top / jerk), acceleration / jerk)
    hold = top / (jerk * rise) - rise
    cruise = max(distance / top - 2.0 * rise - hold, 0.0)
    up = [(rise, jerk), (hold, 0.0), (rise, -jerk)]
    return [*up, (cruise, 0.0), *((time, -what) for time, what in up)]


class Move:
    """A move from rest to rest that all joints begin and end together."""

    def __init__(
        self,
        start: Array,
        command: ControlCommand,
        profile: Profile = "s_curve",
        limits: MotionLimits | None = None,
    ) -> None:
        """From a pose (J,) [rad] to a command's.

        Raises:
            UserError: the command has another number of joints, a number that is not finite or a
                negative duration, or there is no such profile.
        """
        if profile not in PROFILES:
            raise UserError(f"velocity profile {profile!r}; allowed: {', '.join(PROFILES)}")
        if np.shape(command.position) != np.shape(start):
            raise UserError(
                f"a command for {np.shape(command.position)} joints cannot move "
                f"{np.shape(start)}; give one position for each joint"
            )
        if not (np.isfinite(command.position).all() and 0.0 <= command.duration < math.inf):
            raise UserError(
                f"a move to {np.asarray(command.position).tolist()} in {command.duration} s; "
                "allowed: finite positions, and a finite duration of 0 or more"
            )
        limits = MotionLimits() if limits is None else limits
        self._start, self._profile = np.array(start, dtype=float), profile
        self._end = np.array(command.position, dtype=float)
        final = command.velocity
        self._final = np.zeros_like(self._end) if final is None else np.array(final, dtype=float)
        self._phases = [phases(abs(x), profile, limits) for x in self._end - self._start]
        needed = [sum(time for time, _ in parts) for parts in self._phases]
        self.duration = max(command.duration, *needed)
        """Time of the whole move [s]."""
        self._pace = [time / self.duration if time else 0.0 for time in needed]

    def at(self, time: float) -> tuple[Array, Array]:
        """Position and velocity (J,) [rad, rad/s] at a time since the start [s]."""
        if time <= 0.0:
            return self._start.copy(), np.zeros_like(self._start)
        if time >= self.duration:
            return self._end.copy(), self._final.copy()
        position, velocity = self._start.copy(), np.zeros_like(self._start)
        for joint, pace in enumerate(self._pace):
            way, speed = self._along(self._phases[joint], time * pace)
            sign = math.copysign(1.0, self._end[joint] - self._start[joint])
            position[joint] += sign * way
            velocity[joint] = sign * speed * pace
        return position, velocity

    def _along(self, parts: list[tuple[float, float]], time: float) -> tuple[float, float]:
        """Way and velocity after a time of a joint's own move."""
        way = speed = acceleration = 0.0
        for duration, what in parts:
            passed = min(time, duration)
            if self._profile == "linear":
                way, speed = way + what * passed, what
            elif self._profile == "trapezoidal":
                way += speed * passed + what * passed**2 / 2.0
                speed += what * passed
            else:
                way += speed * passed + acceleration * passed**2 / 2.0 + what * passed**3 / 6.0
                speed += acceleration * passed + what * passed**2 / 2.0
                acceleration += what * passed
            time -= passed
        return way, speed
