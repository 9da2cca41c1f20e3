"""The task reward: named terms, each a pure function of measured quantities.

A term's value is unsigned or a reward; penalties get their sign from a negative weight. All are of
the state after the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from envs.measurements import Measurements
from envs.robot.spec import RobotSpec
from envs.thresholds import LOADED, MOVING, SATURATED


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """Weight of each term; 0 switches it off. Penalties have negative weights."""

    forward: float = 4.0
    """Tracking of the commanded velocity, 0 to 1."""
    lateral: float = -0.3
    """Squared sideways velocity [m^2/s^2]."""
    healthy: float = 0.4
    """1 while the height is within `healthy_min` and `healthy_max`."""
    orientation: float = -2.0
    """Squared roll and pitch [rad^2]."""
    angular: float = -0.2
    """Squared yaw rate [rad^2/s^2]."""
    heading: float = -9.0
    """Squared error of the heading [rad^2], at most 1."""
    torque: float = -0.001
    """Sum of squared torques over their limits, all joints."""
    saturation: float = -0.08
    """Number of joints at 95 % of their torque limit or more."""
    action_rate: float = -0.15
    """Sum of squared changes of the filtered action."""
    joint_velocity: float = -0.0003
    """Sum of squared joint velocities over their nominal limits."""
    slip: float = -0.3
    """Squared horizontal sole velocity of loaded feet [m^2/s^2]."""
    clearance: float = 0.5
    """Height of the swinging sole up to `clearance_height`, 0 to 1, when walking."""
    gait_periodicity: float = 0.2
    """1 while exactly one foot is loaded, when walking."""
    hip_swing: float = 0.0
    """Flexion of a swinging hip up to `hip_swing_angle`, mean over feet, when walking."""
    knee_swing: float = 0.0
    """Flexion of a swinging knee up to `knee_swing_angle`, mean over feet, when walking."""
    short_swing: float = -3.0
    """Touchdowns, each by the share its swing fell short of `swing_time`, when walking."""
    stalled: float = -2.0
    """1 while both feet have been loaded for longer than `stall_time`, when walking."""
    flight: float = -0.05
    """1 while no foot is loaded."""
    treading: float = -4.0
    """Number of unloaded feet, when standing."""
    height_target: float = 0.0
    """Closeness of the root to `target_height`, 0 to 1."""
    stance_width: float = 0.0
    """Squared excess of the lateral sole distance over `stance_width_target`, in sigmas."""
    standing: float = -0.3
    """Standing still when walking, 0 to 1."""
    termination: float = -10.0
    """1 in the step in which the robot falls."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Weights and shapes of the reward terms."""

    weights: RewardWeights = field(default_factory=RewardWeights)
    """Weight of each term."""
    scale: float = 0.1
    """Factor on the sum of all weighted terms; a step of a good walk then earns 0.5."""
    tracking_sharpness: float = 4.0
    """k of exp(-k |v_x - command|) [s/m]."""
    tracking_time: float = 0.0
    """Time constant of the average of v_x that is held against the command [s]; 0 for none."""
    healthy_min: float = 0.40
    """Root height above which the robot is healthy [m]."""
    healthy_max: float = 0.70
    """Root height below which the robot is healthy [m]."""
    clearance_height: float = 0.04
    """Sole height at which the clearance reward is full [m]."""
    hip_swing_angle: float = 0.4
    """Hip flexion from home at which its reward is full [rad]."""
    swing_time: float = 0.25
    """Time in the air after which a touchdown costs nothing [s]."""
    stall_time: float = 0.2
    """Time on both feet after which a walk has stalled [s]."""
    knee_swing_angle: float = 0.6
    """Knee flexion from home at which its reward is full [rad]."""
    target_height: float = 0.46
    """Root height to hold [m]."""
    height_sigma: float = 0.05
    """Width of the height reward [m]."""
    stance_width_target: float = 0.19
    """Lateral distance of the soles up to which nothing is lost [m]."""
    stance_width_sigma: float = 0.05
    """Excess that costs 1 [m]."""
    standing_velocity: float = 0.1
    """Forward speed at which the standing penalty vanishes [m/s]."""

    def __post_init__(self) -> None:
        for name in (
            "scale",
            "tracking_sharpness",
            "clearance_height",
            "swing_time",
            "stall_time",
            "hip_swing_angle",
            "knee_swing_angle",
            "height_sigma",
            "stance_width_sigma",
            "standing_velocity",
        ):
            if getattr(self, name) <= 0.0:
                raise ValueError(f"reward.{name} is {getattr(self, name)}; it must be positive")
        if self.tracking_time < 0.0:
            raise ValueError(
                f"reward.tracking_time is {self.tracking_time}; it must not be negative"
            )


def swing_flexion(
    m: Measurements, robot: RobotSpec, joint: str, full: float, swing: Tensor
) -> Tensor:
    """(E,) mean over the feet of min(flexion / full, 1) of the swinging legs' `joint`.

    Flexion is measured from home, so a straight leg earns nothing.

    Args:
        m: measurements.
        robot: the robot.
        joint: joint name without its side: hip_pitch or knee_pitch.
        full: flexion at which the term is full [rad].
        swing: (E, 2) bool, feet in swing.
    """
    flexion = robot.action_sign * (m.joint_pos - robot.joint_home)
    # Not by a list of columns: that would upload it in every step.
    left, right = (robot.joint_names.index(f"{side}_{joint}") for side in ("left", "right"))
    flexion = torch.stack([flexion[:, left], flexion[:, right]], dim=-1)
    return ((flexion / full).clamp(0.0, 1.0) * swing).mean(-1)


def loaded_feet(m: Measurements, robot: RobotSpec) -> Tensor:
    """(E, 2) bool: feet that carry more than `LOADED` of the robot's weight."""
    return m.foot_force > LOADED * robot.weight


def walk_commanded(velocity_command: Tensor) -> Tensor:
    """(E,) bool: the command [m/s] is at least `MOVING`, forwards or backwards."""
    return velocity_command.abs() >= MOVING


def reward_terms(
    m: Measurements,
    robot: RobotSpec,
    config: RewardConfig,
    *,
    action: Tensor,
    prev_action: Tensor,
    velocity_command: Tensor,
    heading_error: Tensor,
    air_time: Tensor,
    stance_time: Tensor,
    mean_velocity: Tensor,
    terminated: Tensor,
) -> dict[str, Tensor]:
    """Unweighted terms (E,) by name, in the order of `RewardWeights`.

    Args:
        m: measurements after the step.
        robot: the robot.
        config: shapes of the terms.
        action: (E, J) filtered action of this step.
        prev_action: (E, J) filtered action of the step before.
        velocity_command: (E,) [m/s].
        heading_error: (E,) [rad].
        air_time: (E, 2) [s], how long each foot had been unloaded before this step.
        stance_time: (E,) [s], how long both feet had been loaded, when walking, before this
            step.
        mean_velocity: (E,) [m/s], average of the forward velocity, this step's included.
        terminated: (E,) bool, the robot fell in this step.
    """
    dtype = action.dtype
    v_x, v_y = m.linvel_h[:, 0], m.linvel_h[:, 1]
    loaded = loaded_feet(m, robot)
    touchdown = loaded & (air_time > 0.0)
    shortness = (1.0 - air_time / config.swing_time).clamp(min=0.0)
    swing = ~loaded
    walk = walk_commanded(velocity_command).to(dtype)
    # Ten steps of 0.02 s, added up in float32, are a little less than 0.2 s.
    stalled = loaded.all(-1) & (stance_time > config.stall_time - 1e-3)
    # Exactly one foot up: a hop or a fall earns nothing for lifted feet.
    stepping = (loaded.sum(-1) == 1).to(dtype) * walk
    torque = m.torque / robot.torque_limit
    healthy = (m.height > config.healthy_min) & (m.height < config.healthy_max)
    sole_height = m.sole_pos_w[..., 2]
    sole_speed_sq = m.sole_linvel_w[..., :2].square().sum(-1)
    width = (m.sole_pos_h[:, 0, 1] - m.sole_pos_h[:, 1, 1]).abs()
    excess = (width - config.stance_width_target).clamp(min=0.0)
    slow = (config.standing_velocity - v_x.abs()).clamp(min=0.0) / config.standing_velocity
    return {
        "forward": torch.exp(-config.tracking_sharpness * (mean_velocity - velocity_command).abs()),
        "lateral": v_y.square(),
        "healthy": healthy.to(dtype),
        "orientation": m.roll.square() + m.pitch.square(),
        "angular": m.angvel_b[:, 2].square(),
        "heading": heading_error.square().clamp(max=1.0),
        "torque": torque.square().sum(-1),
        "saturation": (torque.abs() >= SATURATED).sum(-1).to(dtype),
        "action_rate": (action - prev_action).square().sum(-1),
        "joint_velocity": (m.joint_vel / robot.joint_max_velocity)
        .clamp(-1.0, 1.0)
        .square()
        .sum(-1),
        "slip": (sole_speed_sq * loaded).sum(-1),
        "clearance": ((sole_height / config.clearance_height).clamp(0.0, 1.0) * swing).sum(-1)
        * stepping,
        "gait_periodicity": stepping,
        "hip_swing": swing_flexion(m, robot, "hip_pitch", config.hip_swing_angle, swing) * stepping,
        "knee_swing": swing_flexion(m, robot, "knee_pitch", config.knee_swing_angle, swing)
        * stepping,
        "short_swing": (shortness * touchdown).sum(-1) * walk,
        "stalled": stalled.to(dtype) * walk,
        "flight": swing.all(-1).to(dtype),
        "treading": swing.sum(-1).to(dtype) * (1.0 - walk),
        "height_target": torch.exp(
            -((m.height - config.target_height) / config.height_sigma).square()
        ),
        "stance_width": (excess / config.stance_width_sigma).square(),
        "standing": slow * walk * healthy,
        "termination": terminated.to(dtype),
    }


def term_weights(config: RewardConfig) -> Tensor:
    """(K,): factor of each term, its weight times the common scale, in `RewardWeights` order."""
    return torch.tensor([config.scale * weight for weight in vars(config.weights).values()])


def weighted_terms(terms: dict[str, Tensor], factors: Tensor) -> Tensor:
    """(E, K): each of the K terms (E,) times its factor (K,); the reward is the sum over a row."""
    return torch.stack([terms[name] for name in vars(RewardWeights())], dim=-1) * factors
