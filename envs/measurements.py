"""What is measured of a robot at one instant: named quantities with units and frames.

Rewards, observations, terminations and gait metrics judge these quantities and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.frames import projected_gravity, roll_pitch, turn, yaw
from envs.ground import Ground, above, sole_points
from envs.physics.base import PhysicsState
from envs.robot.spec import FEET, RobotSpec


@dataclass(frozen=True)
class Measurements:
    """Quantities of all simulations at one instant; E simulations, J joints, 2 feet, 4 plates."""

    height: Tensor
    """(E,) [m]: root origin above the ground under it."""
    roll: Tensor
    """(E,) [rad]."""
    pitch: Tensor
    """(E,) [rad]: positive leans forward."""
    yaw: Tensor
    """(E,) [rad]: heading in the world."""
    gravity_b: Tensor
    """(E, 3): unit gravity direction in the body frame."""
    linvel_h: Tensor
    """(E, 3) [m/s]: root velocity in the heading frame."""
    angvel_b: Tensor
    """(E, 3) [rad/s]: root angular velocity in the body frame."""
    joint_pos: Tensor
    """(E, J) [rad]."""
    joint_vel: Tensor
    """(E, J) [rad/s]."""
    torque: Tensor
    """(E, J) [N m]: actuator torque in the last substep."""
    plate_force: Tensor
    """(E, 4) [N]: vertical support of each contact plate in the last substep, never negative."""
    foot_force: Tensor
    """(E, 2) [N]: vertical support of each foot, the sum of its plates."""
    sole_pos_w: Tensor
    """(E, 2, 3) [m]: sole centre under the ankle axis."""
    sole_height: Tensor
    """(E, 2) [m]: sole centre above the ground under it."""
    sole_linvel_w: Tensor
    """(E, 2, 3) [m/s]."""
    sole_pos_h: Tensor
    """(E, 2, 3) [m]: sole centre relative to the root origin, heading frame."""


def measure(state: PhysicsState, robot: RobotSpec, ground: Ground | None = None) -> Measurements:
    """Named quantities of the physics state; fresh tensors that outlive it.

    `ground` is the one under the robots, None for the plane z = 0.
    """
    root_pos, quat = state.qpos[:, :3], state.qpos[:, 3:7]
    roll, pitch = roll_pitch(quat)
    heading = yaw(quat)

    def sensed(quantity: str) -> Tensor:
        return state.sensordata[:, robot.sensor_columns[quantity]]

    # The sign of a contact sensor's force depends on the order of its geoms; a floor only pushes.
    plate_force = sensed("plate_support").abs()
    foot_force = torch.zeros_like(plate_force[:, : len(FEET)]).index_add(
        1, robot.plate_foot, plate_force
    )
    sole_pos_w = sensed("sole_pos").unflatten(1, (len(FEET), 3))
    relative = sole_pos_w - root_pos[:, None]
    return Measurements(
        height=above(ground, root_pos),
        roll=roll,
        pitch=pitch,
        yaw=heading,
        gravity_b=projected_gravity(quat),
        linvel_h=turn(state.qvel[:, :3], -heading),
        angvel_b=state.qvel[:, 3:6].clone(),
        joint_pos=state.qpos[:, robot.joint_qpos_adr],
        joint_vel=state.qvel[:, robot.joint_qvel_adr],
        torque=sensed("torque"),
        plate_force=plate_force,
        foot_force=foot_force,
        sole_pos_w=sole_pos_w,
        sole_height=above(ground, sole_pos_w),
        sole_linvel_w=sensed("sole_linvel").unflatten(1, (len(FEET), 3)),
        sole_pos_h=turn(relative, -heading[:, None]),
    )


def lowest_sole_points(
    state: PhysicsState, robot: RobotSpec, ground: Ground | None = None
) -> Tensor:
    """Height of each sole's lowest corner above the ground under it (E, 2) [m]."""
    leg, half = robot.leg, robot.leg.sole_width / 2
    corners = torch.tensor(
        [[x, y, 0.0] for x in (leg.heel, leg.toe) for y in (-half, half)], device=state.qpos.device
    )
    return above(ground, sole_points(state, corners, robot)).amin(-1)
