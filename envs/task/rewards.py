"""The task reward: a registry of terms, each a function of a step.

Lengths and speeds in them are those of a robot of the WildRobot's size, and are scaled to another.

A new term is a function here with `reward_term`, and a line in a config: `weights: {NAME: -1.0}`.
Penalties have negative weights. Add it at the end, behind `termination`: see `total`.
docs/adding.md shows an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.episode import StepContext
from envs.robot.chain import Kind
from envs.task.commands import FORWARD, LATERAL, YAW
from envs.thresholds import JOINT_STOP, MOVING, SATURATED

if TYPE_CHECKING:
    from envs.config import RewardConfig

TermFunction = Callable[[StepContext], Tensor]


@dataclass(frozen=True)
class RewardTerm:
    """One term of the reward."""

    function: TermFunction
    """Its values (E,), numbers or flags, before weight and scale."""
    weight: float
    """Its weight unless a config sets one."""


TERMS: dict[str, RewardTerm] = {}
"""Name -> term, in the order of the columns of `StepResult.terms`."""


def reward_term(weight: float = 0.0) -> Callable[[TermFunction], TermFunction]:
    """Register a function as the reward term of its name.

    The function must not read a tensor's value on the host, nor make a tensor of Python numbers: it
    is recorded as a CUDA graph.

    Args:
        weight: of the term, unless a config sets one; a term of weight 0 is not computed.
    """

    def register(function: TermFunction) -> TermFunction:
        if function.__name__ in TERMS:
            raise ValueError(f"there is a reward term {function.__name__!r} already")
        TERMS[function.__name__] = RewardTerm(function, weight)
        return function

    return register


@reward_term(weight=4.0)
def track_lin_vel_x(step: StepContext, sharpness: float = 4.0) -> Tensor:
    """Tracking of the commanded forward velocity, exp(-k |error|) with k = 4 s/m, 0 to 1."""
    error = step.episode.mean_velocity - step.episode.command[:, FORWARD]
    return torch.exp(-sharpness / step.robot.speed_scale * error.abs())


@reward_term(weight=-0.3)
def lin_vel_y_l2(step: StepContext) -> Tensor:
    """Squared sideways velocity, less the commanded one [m^2/s^2]."""
    return (_lateral_error(step) / step.robot.speed_scale).square()


@reward_term(weight=0.4)
def healthy(step: StepContext, min_height: float = 0.40, max_height: float = 0.70) -> Tensor:
    """1 while the root is between two heights [m]."""
    low, high = map(step.robot.scaled_height, (min_height, max_height))
    return (step.m.height > low) & (step.m.height < high)


@reward_term(weight=-2.0)
def flat_orientation(step: StepContext) -> Tensor:
    """Squared roll and pitch [rad^2]."""
    return step.m.roll.square() + step.m.pitch.square()


@reward_term(weight=-0.2)
def ang_vel_z_l2(step: StepContext) -> Tensor:
    """Squared yaw rate, less the commanded one [rad^2/s^2]."""
    return _yaw_rate_error(step).square()


@reward_term(weight=-9.0)
def heading(step: StepContext) -> Tensor:
    """Squared heading error [rad^2], at most 1."""
    return step.heading_error.square().clamp(max=1.0)


@reward_term(weight=-0.001)
def torque(step: StepContext) -> Tensor:
    """Sum over the joints of (torque / torque limit) squared."""
    return (step.m.torque / step.robot.torque_limit).square().sum(-1)


@reward_term(weight=-0.08)
def saturation(step: StepContext) -> Tensor:
    """Number of joints at 95 % of their torque limit or more."""
    return ((step.m.torque / step.robot.torque_limit).abs() >= SATURATED).sum(-1)


@reward_term(weight=-0.15)
def action_rate(step: StepContext) -> Tensor:
    """Sum of the squared changes of the filtered action."""
    return (step.episode.action - step.episode.prev_action).square().sum(-1)


@reward_term(weight=-0.0003)
def joint_velocity(step: StepContext) -> Tensor:
    """Sum over the joints of (velocity / nominal limit) squared, each at most 1."""
    return (step.m.joint_vel / step.robot.joint_max_velocity).clamp(-1.0, 1.0).square().sum(-1)


@reward_term(weight=-0.3)
def slip(step: StepContext) -> Tensor:
    """Squared horizontal sole velocity of the loaded feet [m^2/s^2]."""
    speed = step.m.sole_linvel_w[..., :2] / step.robot.speed_scale
    return (speed.square().sum(-1) * step.loaded).sum(-1)


@reward_term(weight=0.5)
def clearance(step: StepContext, height: float = 0.04) -> Tensor:
    """Height of the swinging sole up to 4 cm, 0 to 1, in single support."""
    share = (step.m.sole_height / (height * step.robot.scale)).clamp(0.0, 1.0)
    return (share * ~step.loaded).sum(-1) * step.single_support


@reward_term(weight=0.2)
def single_support(step: StepContext) -> Tensor:
    """1 in single support while walking is commanded (gait periodicity)."""
    return step.single_support


@reward_term()
def hip_swing(step: StepContext, full: float = 0.4) -> Tensor:
    """Flexion of the swinging hip from home up to 0.4 rad, 0 to 0.5, in single support."""
    return _swing_flexion(step, "pitch", full) * step.single_support


@reward_term()
def knee_swing(step: StepContext, full: float = 0.6) -> Tensor:
    """Flexion of the swinging knee from home up to 0.6 rad, 0 to 0.5, in single support."""
    return _swing_flexion(step, "knee", full) * step.single_support


def _swing_flexion(step: StepContext, kind: Kind, full: float) -> Tensor:
    """(E,) mean over the feet of the swinging legs' flexion of a joint [rad] over `full`, 0 to 1.

    Flexion is measured from home, so a straight leg earns nothing; nor does one without the joint.
    """
    robot = step.robot
    flexion = robot.action_sign * (step.m.joint_pos - robot.joint_home)
    # The columns are there already: a list would be uploaded in every step.
    columns = robot.swinging_joints[kind]
    if not len(columns):
        return torch.zeros_like(step.m.height)
    flexion = flexion[:, columns]
    return ((flexion / full).clamp(0.0, 1.0) * ~step.loaded).mean(-1)


@reward_term(weight=-3.0)
def feet_air_time(step: StepContext) -> Tensor:
    """Touchdowns, each by the share its swing fell short of `swing_time`, while walking."""
    air_time = step.episode.air_time
    touchdown = step.loaded & (air_time > 0.0)
    shortness = (1.0 - air_time / step.config.reward.swing_time).clamp(min=0.0)
    return (shortness * touchdown).sum(-1) * step.walking


@reward_term(weight=-2.0)
def stall(step: StepContext, time: float = 0.2) -> Tensor:
    """1 while both feet have been loaded for longer than 0.2 s, while walking."""
    # Ten steps of 0.02 s, added up in float32, are a little less than 0.2 s.
    longer = step.episode.stance_time > time * step.robot.speed_scale - 1e-3
    return step.loaded.all(-1) & longer & step.walking


@reward_term(weight=-0.05)
def flight(step: StepContext) -> Tensor:
    """1 while no foot is loaded."""
    return ~step.loaded.any(-1)


@reward_term(weight=-4.0)
def stand_still_steps(step: StepContext) -> Tensor:
    """Number of unloaded feet while standing is commanded."""
    return (~step.loaded).sum(-1) * ~step.walking


@reward_term()
def height_target(step: StepContext, height: float = 0.46, sigma: float = 0.05) -> Tensor:
    """Closeness of the root to a height of 46 cm, a Gaussian of width 5 cm, 0 to 1."""
    robot = step.robot
    error = (step.m.height - robot.scaled_height(height)) / robot.scale
    return torch.exp(-(error / sigma).square())


@reward_term()
def stance_width(step: StepContext, target: float = 0.19, sigma: float = 0.05) -> Tensor:
    """Squared excess of the lateral sole distance over 0.19 m, in units of 5 cm."""
    width = (step.m.sole_pos_h[:, 0, 1] - step.m.sole_pos_h[:, 1, 1]).abs()
    return ((width / step.robot.scale - target).clamp(min=0.0) / sigma).square()


@reward_term(weight=-0.3)
def standing(step: StepContext, velocity: float = 0.1) -> Tensor:
    """Standing while walking forwards is commanded, from 1 at rest to 0 at 0.1 m/s."""
    speed = step.m.linvel_h[:, 0].abs() / step.robot.speed_scale
    slow = (velocity - speed).clamp(min=0.0) / velocity
    asked = step.episode.command[:, FORWARD].abs() >= MOVING * step.robot.speed_scale
    return slow * asked * healthy(step)


@reward_term(weight=-10.0)
def termination(step: StepContext) -> Tensor:
    """1 in the step in which the robot falls or its simulation fails."""
    return step.terminated


@reward_term(weight=1.0)
def track_lin_vel_y(step: StepContext, sharpness: float = 4.0) -> Tensor:
    """Tracking of a commanded sideways velocity, exp(-k |error|) with k = 4 s/m; 0 without one."""
    asked = step.episode.command[:, LATERAL] != 0.0
    return torch.exp(-sharpness / step.robot.speed_scale * _lateral_error(step).abs()) * asked


@reward_term(weight=1.0)
def track_yaw_rate(step: StepContext, sharpness: float = 2.0) -> Tensor:
    """Tracking of a commanded yaw rate, exp(-k |error|) with k = 2 s/rad; 0 without one."""
    asked = step.episode.command[:, YAW] != 0.0
    return torch.exp(-sharpness * _yaw_rate_error(step).abs()) * asked


@reward_term()
def joint_pos_limits(step: StepContext, margin: float = JOINT_STOP) -> Tensor:
    """Sum over the joints of how far each is beyond the last 0.02 rad before its stop [rad]."""
    free = step.robot.joint_half_span - margin
    return ((step.m.joint_pos - step.robot.joint_center).abs() - free).clamp(min=0.0).sum(-1)


@reward_term()
def feet_contact_forces(step: StepContext, limit: float = 1.5) -> Tensor:
    """Sum over the feet of the force beyond 1.5 times the weight [m g] (hard landings)."""
    return (step.m.foot_force / step.robot.weight - limit).clamp(min=0.0).sum(-1)


@reward_term()
def base_height_variance(step: StepContext, sigma: float = 0.01) -> Tensor:
    """Squared deviation of the root's height from its average over a second, in units of 1 cm."""
    return ((step.m.height - step.episode.mean_height) / (sigma * step.robot.scale)).square()


@reward_term()
def xy_drift(step: StepContext, most: float = 1.0) -> Tensor:
    """Distance to the side of the commanded path [m], at most 1 m."""
    return (step.episode.drift.abs() / step.robot.scale).clamp(max=most)


@reward_term()
def stand_upright(step: StepContext) -> Tensor:
    """Squared roll and pitch while standing is commanded [rad^2]."""
    return flat_orientation(step) * ~step.walking


def _lateral_error(step: StepContext) -> Tensor:
    """Sideways velocity minus the commanded one (E,) [m/s]."""
    return step.m.linvel_h[:, 1] - step.episode.command[:, LATERAL]


def _yaw_rate_error(step: StepContext) -> Tensor:
    """Yaw rate minus the commanded one (E,) [rad/s]."""
    return step.m.angvel_b[:, 2] - step.episode.command[:, YAW]


def term_factors(config: RewardConfig) -> Tensor:
    """(K,): factor of each term, its weight times the common scale."""
    return torch.tensor([config.scale * weight for weight in vars(config.weights).values()])


def weighted_terms(step: StepContext, factors: Tensor) -> Tensor:
    """(E, K): each term times its factor (K,), see `term_factors`."""
    zeros = torch.zeros_like(step.m.height)
    values = [
        TERMS[name].function(step).to(zeros.dtype) if weight else zeros
        for name, weight in vars(step.config.reward.weights).items()
    ]
    return torch.stack(values, dim=-1) * factors


def total(terms: Tensor) -> Tensor:
    """The reward (E,): sum of the weighted terms (E, K).

    Terms behind `termination` came later. They are summed apart, so that a task in which they are 0
    has the same reward to the last bit as before they came.
    """
    first = 1 + list(TERMS).index("termination")
    return terms[:, :first].sum(-1) + terms[:, first:].sum(-1)
