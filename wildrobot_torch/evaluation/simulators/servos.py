"""Position servos in numpy, computed at every physics step.

The law is that of `envs.reality.servo` with the models ideal and envelope, written anew:

    target, rounded to counts -> deadband -> travel -> kp (target - q) - kv qd -> limit

It differs in two things. The environment computes the limit and the travel 5 times in a control
step and holds them; here both follow every physics step. And the environment's torque is the
engine's own actuator; here it is an applied joint torque, so every engine gets the same one. Gap,
spring, heat and the hidden errors of single servos are not here: simulated robots are nominal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from wildrobot_torch.contract import Array


@dataclass(frozen=True)
class ServoLaw:
    """What servos of J joints do; all of them the same but for gains and limits."""

    kp: Array
    """(J,) [N m/rad]."""
    kv: Array
    """(J,) [N m s/rad]."""
    joint_range: Array
    """(J, 2) [rad]: targets are kept within."""
    most: Array
    """(J,) [N m]: limit of the electronics."""
    stall_torque: float
    """Torque at rest [N m]."""
    no_load_speed: float
    """Speed at which no torque is left [rad/s]; infinite for an ideal servo."""
    count: float
    """Smallest step of readings and targets [rad]; 0 for none."""
    deadband: float
    """A target nearer than this to the last one is not sent [rad]."""
    travel_time: float
    """Time in which the servo's own target travels to a new one [s]."""

    @classmethod
    def of(cls, robot: RobotSpec) -> ServoLaw:
        """The servos of robot.yaml.

        Raises:
            UserError: they follow a law that is not simulated here.
        """
        servo = robot.servo
        if servo.model == "bam":
            raise UserError(
                "the servos of robot.yaml follow the model bam, which other simulators here do not "
                "have; allowed: ideal, envelope"
            )
        ideal = servo.model == "ideal"
        return cls(
            kp=robot.kp.numpy().astype(float),
            kv=robot.kv.numpy().astype(float),
            joint_range=robot.joint_range.numpy().astype(float),
            most=robot.torque_limit.numpy().astype(float),
            stall_torque=np.inf if ideal else servo.stall_torque,
            no_load_speed=np.inf if ideal else servo.no_load_speed,
            count=0.0 if ideal else servo.count,
            deadband=0.0 if ideal else servo.deadband,
            travel_time=0.0 if ideal else servo.travel_time,
        )

    def limit(self, speed: Array) -> Array:
        """Largest torque (J,) [N m] in a direction in which joints move at `speed` (J,)."""
        if np.isinf(self.no_load_speed):
            return self.most
        line = self.stall_torque - (self.stall_torque / self.no_load_speed) * speed
        return np.minimum(np.maximum(line, 0.0), self.most)

    def read(self, joint_pos: Array) -> Array:
        """What encoders say of joints (J,) [rad]."""
        return np.round(joint_pos / self.count) * self.count if self.count else joint_pos.copy()


class Servos:
    """J servos under way."""

    def __init__(self, law: ServoLaw, targets: Array) -> None:
        """At rest at `targets` (J,) [rad]."""
        self.law = law
        self._goal, self._own = targets.copy(), targets.copy()
        self._rate = np.zeros_like(targets)
        self.torque = np.zeros_like(targets)
        """(J,) [N m]: the last one."""

    def send(self, targets: Array) -> None:
        """Send targets (J,) [rad] at the beginning of a control step."""
        law = self.law
        targets = law.read(np.clip(targets, *law.joint_range.T))
        if law.deadband:
            # Exactly at the deadband a target is sent; counts and deadband are rounded differently.
            targets = np.where(
                np.abs(targets - self._goal) < law.deadband - 1e-5, self._goal, targets
            )
        if law.travel_time:
            fresh = targets != self._goal
            self._rate = np.where(fresh, (targets - self._own) / law.travel_time, self._rate)
        else:
            self._own = targets.copy()
        self._goal = targets

    def drive(self, joint_pos: Array, joint_vel: Array, dt: float) -> Array:
        """Torques (J,) [N m] for the next `dt` [s] of joints at (J,) [rad] and (J,) [rad/s]."""
        law = self.law
        ahead = self._goal - self._own
        moved = np.sign(ahead) * np.minimum(np.abs(self._rate * dt), np.abs(ahead))
        # The middle of the interval stands for it.
        error = self._own + 0.5 * moved - joint_pos
        self._own = self._own + moved
        torque = law.kp * error - law.kv * joint_vel
        low, high = -law.limit(-joint_vel), law.limit(joint_vel)
        self.torque = np.minimum(np.maximum(torque, low), high)  # faster than np.clip
        return self.torque
