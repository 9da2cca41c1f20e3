"""What real robots have besides the physics, from the start of an episode on; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from envs.frames import projected_gravity, quat_rotate_inverse, yaw
from envs.ground import PATTERN, on_patch
from envs.physics.base import PhysicsState
from envs.reality.faults import FaultState
from envs.reality.randomization import TERMS, Draw, downhill, friction_underfoot, sample
from envs.reality.sensors import SensorDraws, SensorState, imu_values, read_sensors
from envs.reality.servo import torque_limit
from envs.reality.timing import CommandState
from envs.robot.spec import FEET, RobotSpec
from envs.trees import select

if TYPE_CHECKING:
    from envs.config import LocomotionConfig


@dataclass(frozen=True)
class RealityState:
    """What E real robots have and remember besides the physics."""

    drawn: dict[str, Tensor]
    """Terms of this episode (E, columns), by name."""
    commands: CommandState | None
    """Targets on their way; None where they arrive at once."""
    motor: Tensor
    """(E, J) [rad]: see `Drive.motor`."""
    encoder_offset: Tensor
    """(E, J) [rad]: see `Drive.encoder_offset`."""
    sensors: SensorState | None
    """None where nothing reads sensors."""
    faults: FaultState | None
    """None without passing faults."""
    patches_at: Tensor | None
    """(E, 2) [m]: where in the world the pattern of patches begins; None without patches."""


def longest_age(ranges: Mapping[str, Draw]) -> float:
    """Age [ms] of the oldest value that terms with these ranges look back to."""

    def together(*names: str) -> float:
        return sum(ranges[n].bounds(TERMS[n].neutral)[1] for n in names if n in ranges)

    return max(
        together("action_delay", "bus_delay"),
        together("imu_age"),
        together("joint_age", "joint_period"),
    )


def draw(
    state: RealityState,
    mask: Tensor,
    uniform: Tensor,
    widths: Tensor,
    edge: Tensor | None = None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    sizes: dict[str, int],
    ranges: dict[str, Any],
) -> tuple[dict[str, Tensor], Tensor]:
    """Terms of all robots, new where `mask` (E,) is set, and torque limits at rest (E, J, 2) [N m].

    Args:
        state: of all robots.
        mask: (E,) bool.
        uniform: (E, sum of `sizes`) random numbers.
        widths: see `sample`.
        edge: likewise.
        robot: the robot.
        config: the task, with a servo that leaves nothing to robot.yaml.
        sizes: columns of each term.
        ranges: distribution of each term.
    """
    new = sample(uniform, widths, sizes, ranges, edge) if ranges else {}
    drawn = select(mask, new, state.drawn)
    high = torque_limit(torch.zeros_like(state.motor), drawn, robot, config.servo.model)
    return drawn, torch.stack([-high, high], dim=-1)


def begin(
    state: RealityState,
    mask: Tensor,
    physics: PhysicsState,
    ctrl: Tensor,
    starts: Tensor,
    places: Tensor | None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
    schedules: bool,
    senses: bool,
    depth: int,
) -> RealityState:
    """The state in which episodes begin where `mask` (E,) is set.

    Args:
        state: of all robots, with the terms that `draw` gave them.
        mask: (E,) bool.
        physics: at the start of the new episodes.
        ctrl: (E, J) [rad], the targets at the start.
        starts: (E, J + plates) random numbers: phase of joint readings, stuck switches.
        places: (E, 2) random numbers: where the patches are; None without patches.
        robot: the robot.
        config: the task, with a servo that leaves nothing to robot.yaml.
        schedules: whether targets take time.
        senses: whether sensors are read.
        depth: control steps that are remembered.
    """
    drawn = state.drawn
    joints = physics.qpos[:, robot.joint_qpos_adr]
    commands = CommandState.at(ctrl, depth) if schedules else None
    patches_at = None if places is None else PATTERN * places
    new = RealityState(
        drawn, commands, joints, torch.zeros_like(joints), None, state.faults, patches_at
    )
    if state.faults is not None:
        new = replace(new, faults=FaultState.none(len(mask), mask.device))
    if senses:
        phase = torch.zeros_like(joints)
        if "joint_period" in drawn:
            phase = starts[:, : robot.num_joints] * drawn["joint_period"] / 1000.0
        stuck = torch.zeros_like(starts[:, robot.num_joints :], dtype=torch.bool)
        if "switch_open" in drawn:
            stuck = starts[:, robot.num_joints :] < drawn["switch_open"]
        imu = true_imu(physics, drawn, robot)
        sensors = SensorState.at(imu, joints, depth, phase, stuck)
        # The first readings: everything was at rest before.
        calm = torch.full_like(starts[:, :1], 0.5).expand(-1, 9 + 2 * robot.num_joints)
        new = replace(new, sensors=sensors)
        new = replace(new, sensors=sense(new, physics, calm, None, robot=robot, config=config))
        first = new.sensors
        assert first is not None
        value = joints - drawn["zero_error"] if "zero_error" in drawn else joints
        if config.servo.count:
            value = torch.round(value / config.servo.count) * config.servo.count
        first = replace(first, joint_pos=value, joint_vel=torch.zeros_like(value))
        new = replace(new, sensors=replace(first, since_poll=phase, since_sample=phase.clone()))
    return select(mask, new, state)


def underfoot(
    default: Tensor,
    state: RealityState,
    physics: PhysicsState,
    *,
    patches: Tensor,
    robot: RobotSpec,
) -> tuple[Tensor, Tensor]:
    """`friction_underfoot` of robots that stand where they are in `physics`."""
    soles = physics.sensordata[:, robot.sensor_columns["sole_pos"]].unflatten(1, (len(FEET), 3))
    assert state.patches_at is not None
    slippery = on_patch(soles[..., :2] - state.patches_at[:, None], patches)
    return friction_underfoot(default, state.drawn, slippery, robot)


def sense(
    state: RealityState,
    physics: PhysicsState,
    uniform: Tensor,
    noise_factor: Tensor | None,
    *,
    robot: RobotSpec,
    config: LocomotionConfig,
) -> SensorState:
    """The sensors after a control step; `uniform` is (E, 9 + 2 J) random numbers in [0, 1)."""
    assert state.sensors is not None
    joints = robot.num_joints
    stale, noise, loss, joint_noise = uniform.split([1, 8, joints, joints], dim=-1)
    return read_sensors(
        state.sensors,
        true_imu(physics, state.drawn, robot),
        physics.qpos[:, robot.joint_qpos_adr] + state.encoder_offset,
        physics.sensordata[:, robot.sensor_columns["plate_support"]].abs(),
        state.drawn,
        SensorDraws(stale[:, 0], noise, loss, joint_noise),
        noise_factor,
        count=config.servo.count or 0.0,
        switch_threshold=config.observation.foot_switch_threshold,
        ctrl_dt=config.ctrl_dt,
    )


def true_imu(physics: PhysicsState, drawn: dict[str, Tensor], robot: RobotSpec) -> Tensor:
    """What a perfect IMU measures (E, 7), in the axes of its site; see `imu_values`."""
    quat, angvel = physics.qpos[:, 3:7], physics.qvel[:, 3:6]
    if not robot.imu_at_root:
        quat = physics.sensordata[:, robot.sensors["imu_quat"]]
        angvel = physics.sensordata[:, robot.sensors["imu_gyro"]]
    gravity = projected_gravity(quat)
    if "slope" in drawn:
        gravity = quat_rotate_inverse(quat, downhill(drawn["slope"]))
    return imu_values(gravity, angvel, yaw(quat))
