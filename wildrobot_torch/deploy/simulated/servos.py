"""Servos of a simulated robot, in numpy, each with its own state; computed every physics step.

    target in counts -> bus -> deadband -> travel -> kp (target - q) - kv qd -> torque limit

Servos speak of their own positions: `sign * joint + zero`. The torque limit is the line from stall
to the speed without load, both in proportion to the supply, and the stall torque falls as copper
warms. A servo outside its limits of voltage or temperature unloads itself, as the HTD-45H does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wildrobot_torch.deploy.runtime.hardware import Array

Mask = NDArray[np.bool_]

VOLTAGE = (9.6, 12.6)
"""Supply at which an HTD-45H works [V]; vendor's manual."""
HOTTEST, COOL = 85.0, 80.0
"""Temperature at which it unloads (vendor's default), and at which it works again [deg C]. The
second is a guess."""
COPPER = 0.00393
"""Growth of copper's resistance [1/K] at 20 C."""
STALL_CURRENT, IDLE_CURRENT = 3.0, 0.1
"""Current at stall torque and without load [A]; vendor's manual."""
KELVIN_PER_WATT, WARMING_S = 16.0, 300.0
"""Rise over the surroundings in the end [K/W], and its time constant [s]. Guesses: a third of the
stall torque, the most that the vendor advises, then ends near 85 C."""


@dataclass(frozen=True)
class ServoLaw:
    """What the servos of J joints are."""

    kp: Array
    """(J,) [N m/rad]."""
    kv: Array
    """(J,) [N m s/rad]."""
    most: Array
    """(J,) [N m]: limit of the electronics."""
    stall_torque: float
    """At `voltage` and 25 C [N m]."""
    no_load_speed: float
    """At `voltage` [rad/s]."""
    voltage: float
    """[V]."""
    ideal: bool
    """Whether the torque is limited by `most` alone."""
    count: float
    """[rad]; 0 for none."""
    deadband: float
    """A target nearer than this to the last one is not sent [rad]."""
    travel_time: float
    """Time in which the servo's own target travels to a new one [s]."""


class Servos:
    """J servos; positions, targets and torques are those of the joints."""

    def __init__(self, law: ServoLaw, sign: Array, zero: Array, ambient: float) -> None:
        """Without torque. `sign` (J,) is 1 or -1, `zero` (J,) [rad], `ambient` [deg C]."""
        self.law, self.sign, self.zero, self.ambient = law, sign, zero, ambient
        joints = len(sign)
        self.loaded = np.zeros(joints, dtype=bool)
        """(J,): whether they have been told to hold."""
        self.torque = np.zeros(joints)
        """(J,) [N m]: the last one."""
        self.temperature = np.full(joints, ambient)
        """(J,) [deg C]."""
        self.overheated = np.zeros(joints, dtype=bool)
        self._goal = np.full(joints, np.nan)  # as sent, in the joint's zero
        self._own = np.zeros(joints)
        self._rate = np.zeros(joints)

    def shown(self, joint_pos: Array) -> Array:
        """What servos say (J,) [rad] of joints (J,) [rad]."""
        value = self.sign * joint_pos + self.zero
        count = self.law.count
        return np.round(value / count) * count if count else value

    def send(self, joint: int, target: float, joint_pos: float) -> None:
        """A servo's new target [rad] arrives, in its own zero, while its joint is at [rad]."""
        law = self.law
        if law.count:
            target = float(np.clip(np.round(target / law.count), -500, 500)) * law.count
        target = self.sign[joint] * (target - self.zero[joint])
        if not self.loaded[joint]:
            self.loaded[joint] = True
            self._goal[joint], self._own[joint], self._rate[joint] = np.nan, joint_pos, 0.0
        last = self._goal[joint]
        # Exactly at the deadband a target is sent; counts and deadband are rounded differently.
        if abs(target - last) < law.deadband - 1e-5 or target == last:
            return
        self._goal[joint] = target
        if law.travel_time:
            self._rate[joint] = (target - self._own[joint]) / law.travel_time
        else:
            self._own[joint] = target

    def release(self) -> None:
        """No torque until the next target."""
        self.loaded[:] = False

    def drive(
        self, joint_pos: Array, joint_vel: Array, volts: float, limp: Mask, dt: float
    ) -> Array:
        """Torques (J,) [N m] for the next `dt` [s].

        Args:
            joint_pos: (J,) [rad].
            joint_vel: (J,) [rad/s].
            volts: supply at the servos [V].
            limp: (J,) bool, those that have no torque for another reason.
            dt: physics step [s].
        """
        law = self.law
        goal = np.where(np.isnan(self._goal), self._own, self._goal)
        ahead = goal - self._own
        moved = np.sign(ahead) * np.minimum(np.abs(self._rate * dt), np.abs(ahead))
        # The middle of the interval stands for it.
        error = self._own + 0.5 * moved - joint_pos
        self._own = self._own + moved
        torque = law.kp * error - law.kv * joint_vel
        if law.ideal:
            high = low = law.most
        else:
            stall = law.stall_torque / (1.0 + COPPER * (self.temperature - 25.0))
            share = volts / law.voltage
            high = np.clip(stall * (share - joint_vel / law.no_load_speed), 0.0, law.most)
            low = np.clip(stall * (share + joint_vel / law.no_load_speed), 0.0, law.most)
        torque = np.minimum(np.maximum(torque, -low), high)
        works = self.loaded & ~limp & ~self.overheated
        if not law.ideal:
            works &= VOLTAGE[0] <= volts <= VOLTAGE[1]
        self.torque = np.where(works, torque, 0.0)
        self._warm(dt)
        return self.torque

    @property
    def current(self) -> float:
        """Of all of them [A]."""
        share = np.abs(self.torque) / self.law.stall_torque
        return float((IDLE_CURRENT + (STALL_CURRENT - IDLE_CURRENT) * share).sum())

    def _warm(self, dt: float) -> None:
        # At stall all power is heat: current times voltage, in proportion to the torque squared.
        heat = STALL_CURRENT * self.law.voltage * (self.torque / self.law.stall_torque) ** 2
        end = self.ambient + KELVIN_PER_WATT * heat
        self.temperature += (end - self.temperature) * (dt / WARMING_S)
        self.overheated = np.where(
            self.overheated, self.temperature > COOL, self.temperature >= HOTTEST
        )
