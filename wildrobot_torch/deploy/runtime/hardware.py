"""What the runtime asks of a robot's hardware, and what hardware answers.

A robot is three methods: read everything, write every target, let go. An implementation reports
raw values in the frames and zeros of its sensors and servos; `calibration.py` makes them those of
the contract. Nothing else than `safety.py` holds a robot that can move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class HardwareError(RuntimeError):
    """The hardware does not answer, or answers what it cannot mean; the message is one line."""


@dataclass(frozen=True)
class Sample:
    """Everything that the hardware last reported; J servos in the hardware's order.

    All times are of one clock that never steps back [s], the one of `Hardware.clock`. What has
    never been read is NaN.
    """

    time: float
    """When the sample was put together."""
    quat: Array
    """(4,): orientation of the IMU in the world, wxyz."""
    gyro: Array
    """(3,) [rad/s]: angular velocity in the IMU's own axes."""
    imu_time: float
    """When the IMU measured both."""
    position: Array
    """(J,) [rad]: servo positions with their own zeros and signs."""
    position_time: Array
    """(J,): when each was read."""
    switches: Array
    """(plates,): 1 where a foot switch is closed; empty for a robot without switches."""
    switch_time: float
    """When they were read."""
    voltage: Array
    """(J,) [V]: supply of each servo, NaN where it is not reported."""
    temperature: Array
    """(J,) [deg C]: of each servo, NaN where it is not reported."""


class Hardware(Protocol):
    """A robot's sensors and servos."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the servos' joints, in the order of `Sample.position`."""
        ...

    def clock(self) -> float:
        """Now [s], of the clock that samples have; it never steps back."""
        ...

    def read(self) -> Sample:
        """The newest of everything; returns at once and does not wait for fresh values.

        Raises:
            HardwareError: there is no connection any more.
        """
        ...

    def write(self, targets: Array) -> None:
        """Send every servo its target position (J,) [rad], with the servos' zeros and signs.

        Raises:
            HardwareError: there is no connection any more.
        """
        ...

    def release(self) -> None:
        """Let go of every servo: no torque, or damping where the servo has it. Never raises."""
        ...

    def close(self) -> None:
        """Release and end the connection. Never raises; the robot does not move any more."""
        ...
