"""What every simulator offers: a robot that is placed, driven by joint torques, and looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wildrobot_torch.contract import Array


@dataclass(frozen=True)
class Body:
    """A robot at one instant; J joints in the order of robot.yaml, 2 feet, 4 contact plates."""

    qpos: Array
    """(7 + J,): root position [m], orientation (wxyz), joints [rad]."""
    qvel: Array
    """(6 + J,): root velocity in the world [m/s], its rates in its own frame, joints [rad/s]."""
    sole_pos: Array
    """(2, 3) [m]: sole centres in the world."""
    sole_linvel: Array
    """(2, 3) [m/s]."""
    sole_height: Array
    """(2,) [m]: lowest point of each sole."""
    plate_force: Array
    """(4,) [N]: vertical support of each plate in the last physics step; 0 before the first."""
    com: Array
    """(3,) [m]: centre of mass in the world."""


class Simulator(Protocol):
    """One robot on a level floor."""

    name: str
    dt: float
    """Physics step [s]."""
    mass: float
    """[kg]."""

    def place(self, qpos: Array, qvel: Array) -> None:
        """Put the robot into a state, see `Body`."""
        ...

    def joints(self) -> tuple[Array, Array]:
        """Joint positions (J,) [rad] and velocities (J,) [rad/s]."""
        ...

    def step(self, torque: Array) -> None:
        """One physics step under servo torques (J,) [N m]."""
        ...

    def body(self) -> Body:
        """The robot now."""
        ...
