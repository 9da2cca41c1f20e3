"""What the policy sees on the robot, and what the critic sees besides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Field, Layout
from envs.measurements import Measurements
from envs.robot.spec import RobotSpec


@dataclass(frozen=True, kw_only=True)
class ObservationConfig:
    """What the observation holds."""

    foot_switch_threshold: float = 2.0
    """Support above which a plate's foot switch reads 1 [N]."""
    heading: bool = True
    """Whether the last value is the heading error [rad] against the heading at the episode's start
    (an IMU measures it); otherwise it is 0."""


def observation_layout(robot: RobotSpec, config: ObservationConfig) -> Layout:
    """Layout of the policy's observation."""
    joints, plates = robot.num_joints, len(robot.plate_names)
    last = (
        Field("heading_error", 1, "rad", "world", "heading minus the heading to hold, in [-pi, pi]")
        if config.heading
        else Field("padding", 1, "1", "none", "always 0")
    )
    return Layout(
        "observation",
        (
            Field("gravity", 3, "1", "body", "unit gravity direction"),
            Field("angvel", 3, "rad/s", "body", "root angular velocity"),
            Field("linvel", 3, "m/s", "heading", "root velocity"),
            Field("joint_pos", joints, "1", "joint", "position in its range, -1 to 1"),
            Field("joint_vel", joints, "1", "joint", "velocity / nominal limit, clipped to +-1"),
            Field("foot_switch", plates, "1", "plate", "1 where the plate carries load"),
            Field("prev_action", joints, "1", "policy", "filtered action of the last step"),
            Field("velocity_command", 1, "m/s", "heading", "forward velocity to hold"),
            last,
        ),
    )


def critic_layout(robot: RobotSpec, config: ObservationConfig) -> Layout:
    """Layout of the critic's observation: the policy's, then what only a simulator knows."""
    return Layout(
        "critic_observation",
        (
            *observation_layout(robot, config).fields,
            Field("height", 1, "m", "world", "root height"),
            Field("plate_load", len(robot.plate_names), "1", "world", "support / weight"),
            Field("torque", robot.num_joints, "1", "joint", "actuator torque / limit"),
            Field("sole_height", 2, "m", "world", "sole centres above the world origin"),
            Field("sole_linvel", 6, "m/s", "world", "sole centre velocities"),
            Field("sole_pos", 6, "m", "heading", "sole centres from the root"),
            Field("air_time", 2, "s", "foot", "how long it has been unloaded"),
            Field("stance_time", 1, "s", "robot", "how long both feet are loaded while walking"),
            Field("mean_velocity", 1, "m/s", "heading", "velocity averaged as the reward does"),
        ),
    )


def observe(
    m: Measurements,
    robot: RobotSpec,
    config: ObservationConfig,
    action: Tensor,
    velocity_command: Tensor,
    heading_error: Tensor,
) -> Tensor:
    """Policy observation (E, 39) in `observation_layout` order.

    Args:
        m: measurements of E simulations.
        robot: the robot.
        config: what is observed.
        action: (E, J) filtered action of the last step.
        velocity_command: (E,) [m/s].
        heading_error: (E,) [rad].
    """
    last = heading_error if config.heading else torch.zeros_like(heading_error)
    blocks = {
        "gravity": m.gravity_b,
        "angvel": m.angvel_b,
        "linvel": m.linvel_h,
        "joint_pos": (m.joint_pos - robot.joint_center) / robot.joint_half_span,
        "joint_vel": (m.joint_vel / robot.joint_max_velocity).clamp(-1.0, 1.0),
        "foot_switch": (m.plate_force > config.foot_switch_threshold).to(action.dtype),
        "prev_action": action,
        "velocity_command": velocity_command[:, None],
        ("heading_error" if config.heading else "padding"): last[:, None],
    }
    return observation_layout(robot, config).pack(**blocks)


def observe_privileged(
    m: Measurements,
    robot: RobotSpec,
    observation: Tensor,
    *,
    air_time: Tensor,
    stance_time: Tensor,
    mean_velocity: Tensor,
) -> Tensor:
    """Critic observation (E, C) in `critic_layout` order.

    Args:
        m: measurements of E simulations.
        robot: the robot.
        observation: (E, 39) of the policy.
        air_time: (E, 2) [s]; the reward depends on the past by these three, so the value does.
        stance_time: (E,) [s].
        mean_velocity: (E,) [m/s].
    """
    return torch.cat(
        [
            observation,
            m.height[:, None],
            m.plate_force / robot.weight,
            m.torque / robot.torque_limit,
            m.sole_pos_w[..., 2],
            m.sole_linvel_w.flatten(1),
            m.sole_pos_h.flatten(1),
            air_time,
            stance_time[:, None],
            mean_velocity[:, None],
        ],
        dim=-1,
    )
