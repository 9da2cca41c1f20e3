"""The discriminator of reference and policy windows, and the style reward of its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from envs.errors import UserError
from envs.layout import Layout
from wildrobot_torch.amp.derived import DERIVED
from wildrobot_torch.ppo.networks import mlp
from wildrobot_torch.ppo.normalizer import RunningNorm


def feature_mask(layout: Layout, shares: Mapping[str, float]) -> Tensor:
    """The share (F,) of each feature: that of its field, 0 where the field has none.

    Raises:
        UserError: there is no such field.
    """
    if unknown := sorted(set(shares) - set(layout.slices)):
        names = dict.fromkeys([*layout.slices, *DERIVED])
        raise UserError(
            f"amp.features or amp.stages names {', '.join(unknown)}; a frame has {', '.join(names)}"
        )
    mask = torch.zeros(layout.size)
    for name, share in shares.items():
        mask[layout.slices[name]] = share
    return mask


class Discriminator(nn.Module):
    """One logit per window: greater for reference, smaller for the policy."""

    mask: Tensor
    """(F,): share of each feature in what it sees, 0 to 1."""

    def __init__(
        self,
        num_features: int,
        hidden: Sequence[int] = (256, 128),
        activation: str = "relu",
        *,
        window: int = 2,
        mask: Tensor | None = None,
        spectral_norm: bool = False,
        derive: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """An untrained discriminator of windows of K = `window` frames of F features.

        `mask` (F,) is the share of each feature in what it sees, 0 to 1; None for all of all. With
        `spectral_norm` each layer's weights are divided by their largest singular value (Miyato et
        al. 2018, arXiv:1802.05957). `derive` adds features to raw windows; None for none.
        """
        super().__init__()
        self.window, self.derive = window, derive
        self.normalizer = RunningNorm(num_features)
        self.register_buffer("mask", torch.ones(num_features) if mask is None else mask)
        self.net = mlp([window * num_features, *hidden, 1], activation)
        with torch.no_grad():
            # Features of later stages begin with weight 0, so adding them changes no logit.
            cast(nn.Linear, self.net[0]).weight.mul_((self.mask > 0.0).repeat(window))
        if spectral_norm:
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    parametrizations.spectral_norm(layer)

    def forward(self, normalized: Tensor) -> Tensor:
        """Logits (B,) of normalised windows (B, K F)."""
        # Masked here as well, so that noise and the gradient penalty leave out unseen features.
        return self.net(normalized * (self.mask > 0.0).repeat(self.window)).squeeze(-1)

    def extend(self, raw: Tensor) -> Tensor:
        """Raw windows (..., K, F) with the features that are derived from a frame's own."""
        return raw if self.derive is None else self.derive(raw)

    def normalize(self, raw: Tensor) -> Tensor:
        """Normalised, masked, flat windows (..., K F) of raw ones as a rollout has them."""
        return (self.normalizer(self.extend(raw)) * self.mask).flatten(-2)


# Style reward


def score(disc_logit: Tensor, loss: str = "lsgan") -> Tensor:
    """Logits (...) on the scale of the AMP paper: 1 stands for reference, -1 for the policy.

    Trained by `AMPConfig.loss`; for bce the score is 2 P(reference) - 1.
    """
    if loss == "lsgan01":
        return 2.0 * disc_logit - 1.0
    return torch.tanh(0.5 * disc_logit) if loss == "bce" else disc_logit


def style_reward(disc_logit: Tensor, loss: str = "lsgan", reward: str = "canonical") -> Tensor:
    """Reward (...) in [0, 1] of logits (...), by the names in `AMPConfig.loss` and `.reward`.

    Of scores s, canonical is max(0, 1 - (s - 1)^2 / 4) (Peng et al. 2021, AMP, arXiv:2104.02180,
    eq. 7), 0.75 at s = 0; clipped is (s + 1) / 2 within [0, 1], 0.5 at s = 0.
    """
    scored = score(disc_logit, loss)
    if reward == "clipped":
        return (0.5 * (scored + 1.0)).clamp(0.0, 1.0)
    return (1.0 - 0.25 * (scored - 1.0).square()).clamp(min=0.0)
