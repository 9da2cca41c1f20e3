"""How well the commanded velocity and the heading are kept, from recorded steps.

T control steps, E episodes. `valid` (T, E) marks the steps that count. NaN where none does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.frames import wrap_angle


def velocity_error(velocity: Tensor, command: Tensor, valid: Tensor) -> float:
    """Mean of |v_x(t) - command| over all steps that count [m/s].

    Args:
        velocity: (T, E) forward velocity of the root, heading frame [m/s].
        command: (E,) [m/s].
        valid: (T, E) bool.
    """
    return float((velocity - command).abs()[valid].double().mean())


def velocity_rmse(velocity: Tensor, command: Tensor, valid: Tensor) -> float:
    """Root of the mean of (v_x(t) - command)^2 over all steps that count [m/s]."""
    return float((velocity - command)[valid].double().square().mean().sqrt())


def smoothed_velocity_error(velocity: Tensor, command: Tensor, valid: Tensor, window: int) -> float:
    """Mean of |mean of v_x over `window` steps - command| [m/s].

    Averaging over a second takes out the swing of the trunk within a step, which is no tracking
    error. Only windows whose steps all count are used.

    Args:
        velocity: (T, E) [m/s].
        command: (E,) [m/s].
        valid: (T, E) bool.
        window: control steps.
    """
    if velocity.shape[0] < window:
        return float("nan")
    kept = torch.where(valid, velocity, torch.zeros_like(velocity)).double()
    mean = kept.unfold(0, window, 1).mean(-1)
    whole = valid.unfold(0, window, 1).all(-1)
    return float((mean - command).abs()[whole].mean())


def running_mean(values: Tensor, width: int) -> Tensor:
    """Mean (N, ...) over the `width` steps around each of N steps, float64.

    Near the ends the window stays whole and is off centre, or half a stride would count as a speed.

    Args:
        values: (N, ...).
        width: steps; all N where there are fewer.
    """
    num = len(values)
    width = min(width, num)
    total = torch.cat([torch.zeros_like(values[:1]).double(), values.double().cumsum(0)])
    low = (torch.arange(num) - width // 2).clamp(0, num - width)
    return (total[low + width] - total[low]) / width


def mean_velocities(velocity: Tensor, valid: Tensor) -> Tensor:
    """Mean velocity of each episode (E,) [m/s]; NaN where no step counts."""
    total = torch.where(valid, velocity, torch.zeros_like(velocity)).double().sum(0)
    return total / valid.sum(0)


def heading_drifts(yaw: Tensor, valid: Tensor) -> Tensor:
    """Turn of each episode from its first to its last step that counts (E,) [deg], left positive.

    Turns are added up step by step, so that a whole circle is 360 and not 0.

    Args:
        yaw: (T, E) [rad].
        valid: (T, E) bool, one unbroken stretch per episode.
    """
    turn = wrap_angle(yaw[1:] - yaw[:-1]).double()
    both = valid[1:] & valid[:-1]
    total = torch.where(both, turn, torch.zeros_like(turn)).sum(0)
    return torch.rad2deg(torch.where(valid.any(0), total, torch.full_like(total, torch.nan)))


def lateral_drifts(root_pos_w: Tensor, yaw: Tensor, valid: Tensor) -> Tensor:
    """Way to the left of the first heading at the last step that counts (E,) [m].

    Args:
        root_pos_w: (T, E, 3) [m].
        yaw: (T, E) [rad].
        valid: (T, E) bool, one unbroken stretch per episode.
    """
    way = _displacement(root_pos_w, valid)
    first = valid.long().argmax(0, keepdim=True)
    angle = yaw.gather(0, first)[0].double()
    left = -torch.sin(angle) * way[:, 0] + torch.cos(angle) * way[:, 1]
    return torch.where(valid.any(0), left, torch.full_like(left, torch.nan))


def travel_ratios(root_pos_w: Tensor, velocity: Tensor, valid: Tensor, ctrl_dt: float) -> Tensor:
    """Distance walked ahead over net displacement (E,) [1]: 1 straight ahead, -1 backwards.

    The distance ahead is the integral of the heading-frame v_x, so that a robot that faces one way
    and is dragged another does not reach 1. NaN for an episode that ends where it began.

    Args:
        root_pos_w: (T, E, 3) [m].
        velocity: (T, E) [m/s].
        valid: (T, E) bool, one unbroken stretch per episode.
        ctrl_dt: control step [s].
    """
    both = valid[1:] & valid[:-1]
    middle = (velocity[1:] + velocity[:-1]).double() / 2
    ahead = torch.where(both, middle, torch.zeros_like(middle)).sum(0) * ctrl_dt
    net = _displacement(root_pos_w, valid)[:, :2].norm(dim=-1)
    return torch.where(net > 0.0, ahead / net, torch.full_like(net, torch.nan))


def _displacement(root_pos_w: Tensor, valid: Tensor) -> Tensor:
    """Way of the root from the first to the last step that counts (E, 3) [m]."""
    first = valid.long().argmax(0)
    last = valid.shape[0] - 1 - valid.flip(0).long().argmax(0)
    episode = torch.arange(valid.shape[1], device=valid.device)
    return (root_pos_w[last, episode] - root_pos_w[first, episode]).double()
