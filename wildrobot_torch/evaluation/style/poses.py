"""Poses compared: under the best alignment in time (DTW), and by phase of the stride."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.motion import gait

STRETCH_S = 2.0
"""Time that is aligned at once [s]."""
NEAR = 0.03
"""Reference segments whose speed is so close to an episode's [m/s] may match it."""
POINTS = 100
"""Points of a stride."""


def pose_distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean distance of the points of poses [m]: (..., n, m) of (..., n, P, 3) and (..., m, P, 3).

    1/P sum_p |x_p - y_p|, relative to the root: Peng et al. 2021 (AMP, arXiv:2104.02180), eq. 10.
    """
    total = x.new_zeros(*torch.broadcast_shapes(x.shape[:-3], y.shape[:-3]),
                        x.shape[-3], y.shape[-3])  # fmt: skip
    for p in range(x.shape[-2]):
        total += torch.cdist(
            x[..., p, :], y[..., p, :], compute_mode="donot_use_mm_for_euclid_dist"
        )
    return total / x.shape[-2]


def warped_distance(distance: Tensor) -> Tensor:
    """Least mean of the pose distances (..., n, m) along a warp of the n poses into the m (...).

    The warp may begin and end anywhere among the m, and from one of the n to the next it goes on
    by one or two of the m, or stays for one of the n: tempo is free between half and twice
    (Sakoe and Chiba 1978, slope 1, each of the n counted once). Without that bound a robot that
    stands still would be matched with one pose. Infinite where m is too short.
    """
    best = distance[..., 0, :]
    one, two = best, None
    for i in range(1, distance.shape[-2]):
        here = distance[..., i, :]
        steps = [_shifted(one, 1), _shifted(one, 2)]
        if two is not None:
            steps.append(_shifted(two, 1) + distance[..., i - 1, :])
        one, two = torch.stack(steps).amin(0) + here, one
    return one.amin(-1) / distance.shape[-2]


def _shifted(cost: Tensor, by: int) -> Tensor:
    """Costs of `by` reference poses earlier."""
    return torch.nn.functional.pad(cost[..., :-by], (by, 0), value=math.inf)


def pose_errors(policy: Motion, reference: Motion) -> Tensor:
    """Pose error of each of the policy's episodes (E,) [m] to its best-matching reference.

    An episode is cut into pieces of `STRETCH_S`, each warped into every reference segment of a
    speed within `NEAR` of its own (of the nearest family, if there is none). The reference segment
    with the least mean over the pieces counts. NaN for an episode shorter than a piece.
    """
    piece = round(STRETCH_S / policy.ctrl_dt)
    errors = torch.full((len(policy.family),), math.nan)
    lengths = reference.valid.sum(0)
    for i in range(len(errors)):
        mine = policy.points[policy.valid[:, i], i]
        pieces = len(mine) // piece
        if not pieces:
            continue
        apart = (reference.speed - policy.speed[i]).abs()
        apart = torch.where(lengths >= piece, apart, torch.inf)
        near = (apart <= max(NEAR, float(apart.min()))) & apart.isfinite()
        cut = mine[: pieces * piece].unflatten(0, (pieces, piece))
        found = []
        for k in near.nonzero()[:, 0].tolist():
            theirs = reference.points[reference.valid[:, k], k]
            found.append(warped_distance(pose_distance(cut, theirs[None])).mean())
        if found:
            errors[i] = torch.stack(found).min()
    return errors


def stride_curves(motion: Motion) -> Tensor:
    """Joint angles of each left stride at `POINTS` even shares of it (S, POINTS, J) [rad]."""
    strides = gait.find_strides(motion.touchdown).of_foot(0)
    share = torch.arange(POINTS) / POINTS
    place = strides.start[:, None] + share * strides.steps[:, None]
    low = place.long()
    weight = (place - low)[..., None]
    episode = strides.episode[:, None]
    return (1.0 - weight) * motion.joint_pos[low, episode] + weight * motion.joint_pos[
        low + 1, episode
    ]


def phase_error(policy: Motion, reference: Motion) -> Tensor:
    """RMS difference of the mean strides of two motions (J,) [rad].

    Strides run from a left touchdown to the next and are resampled to `POINTS` points, as in Winter
    2009 (Biomechanics and Motor Control of Human Movement, chapter 1); their means are compared.
    NaN where one of the motions has no stride.
    """
    mine, theirs = (stride_curves(motion).double().mean(0) for motion in (policy, reference))
    return (mine - theirs).square().mean(0).sqrt()
