"""Drawing windows of reference motion: by weight, and never from too few clips."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError

MIN_CLIPS = 3
"""Clips in every minibatch, where the reference has as many."""


def require_clips(names: Collection[str]) -> None:
    """Refuse to train a motion prior on fewer than 3 clips: it would learn those by heart.

    Raises:
        ValueError: there are fewer.
    """
    clips = dict.fromkeys(names)
    if len(clips) < MIN_CLIPS:
        raise UserError(
            f"the motion prior needs {MIN_CLIPS} clips of reference motion to train on, there are "
            f"{len(clips)} ({', '.join(clips)}); make the reference from more clips, or name more "
            "tiers in data.reference_tiers"
        )


@dataclass(frozen=True)
class WindowTable:
    """The windows of one length that S segments of C clips offer, ordered by clip.

    Every window has a mass, its segment's weight. Laid end to end, a clip's windows take an
    interval of the total mass: a number drawn uniformly from it is one of its windows.
    """

    segment_start: Tensor
    """(S,) long: first frame of each segment."""
    available: Tensor
    """(S,) long: windows in it."""
    mass_end: Tensor
    """(S,) float64: sum of masses up to and with each segment."""
    clip_mass: Tensor
    """(C,) float64."""
    clip_first: Tensor
    """(C,) long: first of its segments."""
    clip_last: Tensor
    """(C,) long: last of them."""

    @classmethod
    def of(
        cls, segment_start: Tensor, length: Tensor, weight: Tensor, clip: Tensor, frames: int
    ) -> WindowTable:
        """Windows of `frames` frames in segments (S,) of clips numbered (S,).

        Raises:
            ValueError: no segment is that long.
        """
        order = torch.argsort(clip, stable=True)
        order = order[length[order] >= frames] if frames > 0 else order[:0]
        if order.numel() == 0:
            raise UserError(
                f"cannot sample windows of {frames} frames: segments have "
                f"{int(length.min())} to {int(length.max())} frames"
            )
        available = length[order] - frames + 1
        mass_end = (weight[order].double() * available).cumsum(0)
        count = torch.unique_consecutive(clip[order], return_counts=True)[1]
        last = count.cumsum(0) - 1
        clip_mass = torch.diff(mass_end[last], prepend=mass_end.new_zeros(1))
        return cls(segment_start[order], available, mass_end, clip_mass, last - count + 1, last)

    @property
    def num_clips(self) -> int:
        """C."""
        return self.clip_mass.shape[0]

    def draw(self, batches: int, size: int, generator: torch.Generator | None = None) -> Tensor:
        """First frames (batches, size) of windows drawn for minibatches.

        The first 3 of a minibatch come from different clips (all of them, if there are fewer),
        drawn without replacement by mass; the others from all windows by mass. That adds less than
        one window per minibatch to any clip. Nothing waits for the device.
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=self.segment_start.device)

        apart = min(MIN_CLIPS, self.num_clips, size)
        # Exponential clocks: the first to ring are a draw without replacement by mass.
        clocks = -torch.log1p(-uniform(batches, self.num_clips)).double() / self.clip_mass
        clip = clocks.topk(apart, dim=1, largest=False).indices
        end = self.mass_end[self.clip_last[clip]]
        point = end - self.clip_mass[clip] * (1.0 - uniform(batches, apart).double())
        # Rounding may carry a point just over the edge of its clip.
        segment = torch.searchsorted(self.mass_end, point, right=True)
        segment = segment.clamp(self.clip_first[clip], self.clip_last[clip])

        point = self.mass_end[-1] * uniform(batches, size - apart).double()
        free = torch.searchsorted(self.mass_end, point, right=True)
        segment = torch.cat([segment, free.clamp(max=self.segment_start.shape[0] - 1)], dim=1)
        available = self.available[segment]
        offset = torch.minimum((uniform(batches, size) * available).long(), available - 1)
        return self.segment_start[segment] + offset
