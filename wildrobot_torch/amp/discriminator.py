"""The discriminator: is a short stretch of motion from the reference or from the policy?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wildrobot_torch.ppo.networks import mlp
from wildrobot_torch.ppo.normalizer import Reduce, RunningNorm

WINDOW = 2
"""Frames in a window: a state's features and those of the state after it."""


def windows(amp: Tensor, next_amp: Tensor) -> Tensor:
    """Windows (..., 2, F) of features before and after a step, each (..., F).

    `next_amp` is that before any reset, so a window never joins two episodes.
    """
    return torch.stack([amp, next_amp], dim=-2)


class Discriminator(nn.Module):
    """One logit per window: towards 1 for reference, towards -1 for the policy."""

    def __init__(
        self, num_features: int, hidden: Sequence[int] = (256, 128), activation: str = "relu"
    ) -> None:
        """An untrained discriminator of windows of `num_features` features F."""
        super().__init__()
        self.normalizer = RunningNorm(num_features)
        self.net = mlp([WINDOW * num_features, *hidden, 1], activation)

    def forward(self, normalized: Tensor) -> Tensor:
        """Logits (B,) of normalised windows (B, 2 F)."""
        return self.net(normalized).squeeze(-1)

    def normalize(self, raw: Tensor) -> Tensor:
        """Normalised, flat windows (B, 2 F) of raw ones (B, 2, F)."""
        return self.normalizer(raw).flatten(-2)

    def update_normalizer(self, real: Tensor, fake: Tensor, reduce: Reduce | None = None) -> None:
        """Merge equal numbers of reference and policy windows (B, 2, F) into the normaliser.

        Both count alike: normalised by the reference alone, early policies lie far outside and the
        discriminator saturates.
        """
        self.normalizer.update(torch.cat([real, fake]), reduce)

    @property
    def output_weight(self) -> Tensor:
        """Weights of the output layer."""
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        return last.weight
