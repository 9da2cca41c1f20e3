"""What walking costs and how rough it is: torque, power, actions, foot strikes.

T control steps, E episodes, J joints, 2 feet. `valid` (T, E) marks the steps that count. NaN where
none does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.thresholds import SATURATED

STRIKE_S = 0.1
"""Time from a touchdown in which the peak of the foot's force is its impact [s]."""
JERK_S = 1.0
"""Time over which the smoothness of the joints is judged [s]."""
JERK_SPEED = 0.5
"""Least peak speed of the joints in that time [rad/s]: what hardly moves has no smoothness."""
MIN_DISTANCE = 0.1
"""Least way of an episode [m] for a cost of transport."""


def torque_p95(torque: Tensor, limit: Tensor, valid: Tensor) -> float:
    """95th percentile of |torque| over its limit [1], over joints and steps.

    Args:
        torque: (T, E, J) [N m].
        limit: (J,) [N m].
        valid: (T, E) bool.
    """
    return percentile((torque.abs() / limit)[valid].flatten(), 95.0)


def saturation_share(torque: Tensor, limit: Tensor, valid: Tensor) -> float:
    """Share of joints and steps with |torque| >= `SATURATED` of its limit [1]."""
    return float((torque.abs() >= SATURATED * limit)[valid].double().mean())


def action_rate(action: Tensor, valid: Tensor) -> float:
    """Mean squared change of the action from step to step, ||a_t - a_{t-1}||^2 [1].

    Args:
        action: (T, E, J), policy output in [-1, 1].
        valid: (T, E) bool.
    """
    both = valid[1:] & valid[:-1]
    return float((action[1:] - action[:-1]).square().sum(-1)[both].double().mean())


def log_jerk(joint_vel: Tensor, valid: Tensor, ctrl_dt: float) -> float:
    """Mean logarithm of the dimensionless jerk of the joints [1]; the smoother, the smaller.

    ln (T^3 / v_peak^2 sum |d^2 v / dt^2|^2 dt) over stretches of T = `JERK_S`, v the vector of
    joint speeds: the measure of Balasubramanian et al. 2012 (IEEE Trans. Biomed. Eng.
    59(8), 2126-2136), eq. 4, with its sign turned so that more is rougher. Independent of tempo and
    size of the motion. NaN where no stretch moves faster than `JERK_SPEED`.

    Args:
        joint_vel: (T, E, J) [rad/s].
        valid: (T, E) bool.
        ctrl_dt: control step [s].
    """
    steps = round(JERK_S / ctrl_dt)
    if joint_vel.shape[0] < steps:
        return math.nan
    velocity = joint_vel.double().unfold(0, steps, steps)
    counts = valid.unfold(0, steps, steps).all(-1)
    peak = velocity.square().sum(-2).amax(-1)
    jerk = velocity.diff(n=2, dim=-1) / ctrl_dt**2
    total = jerk.square().sum((-2, -1)) * ctrl_dt
    moves = counts & (peak >= JERK_SPEED**2)
    return float((JERK_S**3 * total / peak)[moves].log().mean())


def transport_costs(
    torque: Tensor,
    joint_vel: Tensor,
    velocity: Tensor,
    valid: Tensor,
    ctrl_dt: float,
    weight: float,
) -> Tensor:
    """Mechanical cost of transport of each episode (E,) [1].

    CoT = sum_t sum_j max(0, tau_j qd_j) dt / (m g d): positive joint work over weight and way,
    braking work not given back; d is the way ahead, the sum of the heading-frame v_x dt. Collins et
    al. 2005 (Science 307, 1082-1085) give 0.05 for people. NaN for an episode that does not come
    `MIN_DISTANCE` ahead.

    Args:
        torque: (T, E, J) [N m].
        joint_vel: (T, E, J) [rad/s].
        velocity: (T, E) forward velocity of the root, heading frame [m/s].
        valid: (T, E) bool.
        ctrl_dt: control step [s].
        weight: m g [N].
    """
    power = (torque * joint_vel).clamp(min=0.0).sum(-1).double()
    zero = torch.zeros_like(power)
    work = torch.where(valid, power, zero).sum(0) * ctrl_dt
    distance = torch.where(valid, velocity.double(), zero).sum(0) * ctrl_dt
    far = distance >= MIN_DISTANCE
    cost = work / (weight * distance)
    return torch.where(far, cost, torch.full_like(cost, math.nan))


def froude_number(velocity: float, leg_length: float, gravity: float) -> float:
    """Froude number v^2 / (g L) [1]: walkers of different size walk alike at equal numbers.

    Alexander 1984, "The gaits of bipedal and quadrupedal animals", Int. J. Robotics Research 3(2).

    Args:
        velocity: [m/s].
        leg_length: hip to sole [m].
        gravity: [m/s^2].
    """
    return velocity * velocity / (gravity * leg_length)


def impact_p95(
    foot_force: Tensor, touchdown: Tensor, valid: Tensor, weight: float, ctrl_dt: float
) -> float:
    """95th percentile over touchdowns of the peak force of the foot, over the weight [1].

    The peak is that of the `STRIKE_S` from the touchdown on. Forces are those of the
    last physics step of each control step, so a shorter spike between them is not seen.

    Args:
        foot_force: (T, E, 2) vertical support [N].
        touchdown: (T, E, 2) bool.
        valid: (T, E) bool.
        weight: m g [N].
        ctrl_dt: control step [s].
    """
    steps = round(STRIKE_S / ctrl_dt)
    force = torch.where(valid[..., None], foot_force, torch.zeros_like(foot_force))
    padded = torch.cat([force, torch.zeros_like(force[: steps - 1])])
    peak = padded.unfold(0, steps, 1).amax(-1)
    return percentile((peak / weight)[touchdown], 95.0)


def percentile(values: Tensor, percent: float) -> float:
    """Percentile of the values (N,), by linear interpolation between ranks; NaN when N is 0.

    Sorted here because `torch.quantile` refuses more than 16 million values.
    """
    number = values.numel()
    if number == 0:
        return math.nan
    ordered = values.flatten().sort().values
    rank = percent / 100.0 * (number - 1)
    low = int(rank)
    high = min(low + 1, number - 1)
    share = rank - low
    return float(ordered[low]) * (1.0 - share) + float(ordered[high]) * share
