"""Running normalisation of observations, kept inside the network that reads them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Reduce = Callable[[Tensor], Tensor]
"""Sums a tensor over all training processes."""


class RunningNorm(nn.Module):
    """Values minus their running mean over their running standard deviation, clipped.

    The statistics change in `update` alone, never in `forward`, so a rollout and the update on it
    see the same normalisation. Before the first update values pass unchanged, but for the clip.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, size: int, clip: float = 10.0, epsilon: float = 1e-6) -> None:
        """Statistics of no data yet, for `size` values F, bounded by `clip` once normalised.

        `epsilon` is added to the variance, so that a constant value is not blown up when it first
        moves.
        """
        super().__init__()
        self.clip, self.epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        """Normalised values (..., F)."""
        scaled = (values - self.mean) * torch.rsqrt(self.var + self.epsilon)
        return scaled.clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, values: Tensor, reduce: Reduce | None = None) -> None:
        """Merge values (..., F), of all processes, into mean, population variance and count.

        Chan, Golub, LeVeque 1983, "Algorithms for Computing the Sample Variance", pairwise update.
        """
        flat = values.reshape(-1, values.shape[-1])
        var, mean = torch.var_mean(flat, dim=0, correction=0)
        # Sums about the old mean: they add up over processes and stay small, so nothing cancels.
        offset = mean.double() - self.mean.double()
        rows = torch.full_like(offset[:1], flat.shape[0])
        sums = torch.cat([rows, rows * offset, rows * (var.double() + offset.square())])
        if reduce is not None:
            sums = reduce(sums)
        new, first, second = sums.split([1, self.mean.numel(), self.mean.numel()])
        total = self.count + new
        shift = first / total
        old_square = self.var.double() * self.count
        self.mean.copy_(self.mean.double() + shift)
        self.var.copy_((old_square + second) / total - shift.square())
        self.count.copy_(total[0])
