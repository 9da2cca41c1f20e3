"""Joint angles over the stride, aligned by touchdowns."""

from __future__ import annotations

import torch
from torch import Tensor

from wildrobot_torch.evaluation.style.motion import Motion
from wildrobot_torch.motion import gait

POINTS = 100
"""Points of a stride."""


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

    Strides run from a left touchdown to the next and are resampled to `POINTS` points, as usual in
    biomechanics (Winter 2009, Biomechanics and Motor Control of Human Movement, chapter 1); the
    mean over strides is compared. NaN where one of the motions has no stride.
    """
    mine, theirs = (stride_curves(motion).double().mean(0) for motion in (policy, reference))
    return (mine - theirs).square().mean(0).sqrt()
