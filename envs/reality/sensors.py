"""What the robot's sensors say: the IMU, the servos' encoders and the foot switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from envs.frames import wrap_angle
from envs.reality.randomization import standard_normal
from envs.reality.timing import value_at_age

WHITE_NOISE = ("gyro_noise", "gravity_noise", "joint_noise")
"""Terms whose noise a burst enlarges."""


@dataclass(frozen=True)
class SensorState:
    """What the sensors of E robots remember and say."""

    imu: Tensor
    """(E, H, 7): gravity, angular velocity and heading of the last H control steps, the newest
    first. Headings are not wrapped, so that they can be interpolated."""
    joints: Tensor
    """(E, H, J) [rad]: encoders, likewise."""
    imu_report: Tensor
    """(E, 7): the last report."""
    gyro_walk: Tensor
    """(E, 3) [rad/s]: what the gyro's error has grown to."""
    drift: Tensor
    """(E,) [rad]: what the heading's error has grown to."""
    joint_pos: Tensor
    """(E, J) [rad]: the last reading."""
    joint_vel: Tensor
    """(E, J) [rad/s]: from the last two readings."""
    since_poll: Tensor
    """(E, J) [s]: time since the last reading was due."""
    since_sample: Tensor
    """(E, J) [s]: time since the last reading that arrived was due."""
    stuck: Tensor
    """(E, plates) bool: foot switches that stay open in this episode."""
    switches: Tensor
    """(E, plates): 1 where a foot switch is closed."""

    @property
    def gravity(self) -> Tensor:
        """(E, 3): unit gravity direction in the IMU's frame, as the IMU believes."""
        return self.imu_report[:, :3]

    @property
    def angvel(self) -> Tensor:
        """(E, 3) [rad/s]: angular velocity in the IMU's frame."""
        return self.imu_report[:, 3:6]

    @property
    def heading(self) -> Tensor:
        """(E,) [rad]: yaw, which drifts."""
        return wrap_angle(self.imu_report[:, 6])

    @classmethod
    def at(
        cls, imu: Tensor, joints: Tensor, depth: int, phase: Tensor, stuck: Tensor
    ) -> SensorState:
        """Everything at rest at an IMU's (E, 7) and encoders' (E, J) values.

        `phase` (E, J) [s] is the time since each joint's last reading, `stuck` (E, plates) bool the
        foot switches that stay open.
        """
        zeros = torch.zeros_like(joints)
        return cls(
            imu=imu[:, None].repeat(1, depth, 1),
            joints=joints[:, None].repeat(1, depth, 1),
            imu_report=imu.clone(),
            gyro_walk=torch.zeros_like(imu[:, :3]),
            drift=torch.zeros_like(imu[:, 0]),
            joint_pos=joints.clone(),
            joint_vel=zeros,
            since_poll=phase.clone(),
            since_sample=phase.clone(),
            stuck=stuck,
            switches=torch.zeros_like(stuck, dtype=imu.dtype),
        )


def imu_values(gravity: Tensor, angvel: Tensor, heading: Tensor) -> Tensor:
    """The packed values (E, 7) of `SensorState.imu`."""
    return torch.cat([gravity, angvel, heading[:, None]], dim=-1)


@dataclass(frozen=True)
class SensorDraws:
    """Random numbers in [0, 1) for one control step."""

    imu_stale: Tensor
    """(E,)."""
    noise: Tensor
    """(E, 8): gyro, its walk, roll and pitch."""
    joint_loss: Tensor
    """(E, J)."""
    joint_noise: Tensor
    """(E, J)."""


def read_sensors(
    state: SensorState,
    imu: Tensor,
    encoder: Tensor,
    plate_force: Tensor,
    drawn: Mapping[str, Tensor],
    draws: SensorDraws,
    noise_factor: Tensor | None = None,
    *,
    count: float,
    switch_threshold: float,
    ctrl_dt: float,
) -> SensorState:
    """The sensors after a control step, with new readings.

    Args:
        state: after the last step.
        imu: (E, 7), `imu_values` of the true state.
        encoder: (E, J) [rad], encoders with the zeros they have.
        plate_force: (E, plates) [N].
        drawn: terms of this episode by name.
        draws: random numbers.
        noise_factor: (E,) factor on white noise; None for 1.
        count: smallest step of joint readings [rad]; 0 for none.
        switch_threshold: load at which a switch closes [N].
        ctrl_dt: control step [s].
    """
    state = _remember(state, imu, encoder)
    state = _read_imu(state, drawn, draws, noise_factor, ctrl_dt)
    state = _read_joints(state, drawn, draws, noise_factor, count, ctrl_dt)
    return replace(
        state, switches=closed_switches(plate_force, state.stuck, drawn, switch_threshold)
    )


def _remember(state: SensorState, imu: Tensor, encoder: Tensor) -> SensorState:
    """The state with this step's true values in its history."""
    heading = state.imu[:, 0, 6]
    unwrapped = heading + wrap_angle(imu[:, 6] - heading)
    imu = torch.cat([imu[:, :6], unwrapped[:, None]], dim=-1)
    return replace(
        state,
        imu=torch.cat([imu[:, None], state.imu[:, :-1]], dim=1),
        joints=torch.cat([encoder[:, None], state.joints[:, :-1]], dim=1),
    )


def _read_imu(
    state: SensorState,
    drawn: Mapping[str, Tensor],
    draws: SensorDraws,
    noise_factor: Tensor | None,
    ctrl_dt: float,
) -> SensorState:
    values = state.imu[:, 0]
    if "imu_age" in drawn:
        values = value_at_age(state.imu, drawn["imu_age"] / 1000.0, ctrl_dt)
    gravity, angvel, heading = values[:, :3], values[:, 3:6], values[:, 6]
    if "imu_tilt" in drawn:
        turn = drawn["imu_tilt"]
        gravity, angvel = in_turned_frame(gravity, turn), in_turned_frame(angvel, turn)
    normal = standard_normal(draws.noise)
    growth = normal[:, 3:6]
    if noise_factor is not None:
        normal = normal * noise_factor[:, None]
    if "gravity_noise" in drawn:
        tilt = drawn["gravity_noise"] * normal[:, 6:8]
        gravity = in_turned_frame(gravity, torch.cat([tilt, torch.zeros_like(tilt[:, :1])], dim=-1))
    walk, drift = state.gyro_walk, state.drift
    if "gyro_noise" in drawn:
        angvel = angvel + drawn["gyro_noise"] * normal[:, :3]
    if "gyro_walk" in drawn:
        walk = walk + drawn["gyro_walk"] * ctrl_dt**0.5 * growth
        angvel = angvel + walk
    if "gyro_bias" in drawn:
        angvel = angvel + drawn["gyro_bias"]
    if "heading_drift" in drawn:
        drift = drift + drawn["heading_drift"][:, 0] * ctrl_dt
        heading = heading + drift
    report = imu_values(gravity, angvel, heading)
    if "imu_stale" in drawn:
        stale = draws.imu_stale[:, None] < drawn["imu_stale"]
        report = torch.where(stale, state.imu_report, report)
    return replace(state, imu_report=report, gyro_walk=walk, drift=drift)


def _read_joints(
    state: SensorState,
    drawn: Mapping[str, Tensor],
    draws: SensorDraws,
    noise_factor: Tensor | None,
    count: float,
    ctrl_dt: float,
) -> SensorState:
    since_poll = state.since_poll + ctrl_dt
    since_sample = state.since_sample + ctrl_dt
    arrived = torch.ones_like(since_poll, dtype=torch.bool)
    age = torch.zeros_like(since_poll)
    if "joint_period" in drawn:
        # Readings are due at the times n * period; the last of them before now is what is known.
        period = (drawn["joint_period"] / 1000.0).clamp(min=1e-6)
        # A reading that is due just now has arrived, although float32 may say it is just not due.
        periods = torch.floor((since_poll + 1e-6) / period)
        arrived = periods >= 1.0
        age = (since_poll - periods * period).clamp(min=0.0)
    else:
        since_poll = torch.zeros_like(since_poll)
    due = age
    if "joint_age" in drawn:
        age = age + drawn["joint_age"] / 1000.0
    value = value_at_age(state.joints, age, ctrl_dt)
    if "joint_noise" in drawn:
        normal = standard_normal(draws.joint_noise)
        if noise_factor is not None:
            normal = normal * noise_factor[:, None]
        value = value + drawn["joint_noise"] * normal
    if "zero_error" in drawn:
        value = value - drawn["zero_error"]
    if count:
        value = torch.round(value / count) * count
    polled = arrived
    if "joint_loss" in drawn:
        arrived = arrived & (draws.joint_loss >= drawn["joint_loss"])
    between = (since_sample - due).clamp(min=1e-3)
    velocity = (value - state.joint_pos) / between
    return replace(
        state,
        joint_pos=torch.where(arrived, value, state.joint_pos),
        joint_vel=torch.where(arrived, velocity, state.joint_vel),
        since_poll=torch.where(polled, due, since_poll),
        since_sample=torch.where(arrived, due, since_sample),
    )


def closed_switches(
    plate_force: Tensor, stuck: Tensor, drawn: Mapping[str, Tensor], threshold: float
) -> Tensor:
    """(E, plates): 1 where a foot switch is closed; `stuck` (E, plates) bool are always open."""
    limit = threshold * drawn["switch_force"] if "switch_force" in drawn else threshold
    return ((plate_force > limit) & ~stuck).to(plate_force.dtype)


def in_turned_frame(vector: Tensor, turn: Tensor) -> Tensor:
    """Components (E, 3) of a vector in a frame turned by roll, pitch, yaw (E, 3) [rad].

    Rotations about x, then y, then z, exact for any angle.
    """
    x, y, z = vector.unbind(-1)
    cos, sin = torch.cos(turn), torch.sin(turn)
    y, z = cos[:, 0] * y + sin[:, 0] * z, cos[:, 0] * z - sin[:, 0] * y
    x, z = cos[:, 1] * x - sin[:, 1] * z, cos[:, 1] * z + sin[:, 1] * x
    x, y = cos[:, 2] * x + sin[:, 2] * y, cos[:, 2] * y - sin[:, 2] * x
    return torch.stack([x, y, z], dim=-1)
