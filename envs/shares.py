"""How much of each range of a task is in use, for trainings that begin easier than they end."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shares:
    """Numbers in [0, 1] on the engine's device, scalars but for `terms`; 1 is the whole range."""

    velocity: Tensor
    """Of the range of forward velocities, about its middle."""
    lateral: Tensor
    """Of the largest lateral velocity."""
    yaw_rate: Tensor
    """Of the largest yaw rate."""
    lean: Tensor
    """Of lean and lean rate at the start."""
    push: Tensor
    """Of the impulse of pushes."""
    faults: Tensor
    """Of the probability with which passing faults begin."""
    episode_length: Tensor
    """Of the time after which an episode is truncated."""
    terms: Tensor
    """(K,): of each term's range, in the order of `RandomizationConfig.active`; at 0 the term has
    the value that changes nothing."""
