"""The policy averaged over iterations, which is deployed."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from wildrobot_torch.ppo.networks import Policy

WEIGHTS_PREFIX = "averaged.module."
"""Prefix of the averaged policy's weights in a checkpoint's state_dict."""


class AveragedPolicy(AveragedModel):
    """Exponential moving average of a policy's weights (Polyak and Juditsky 1992).

    Training occasionally passes through policies that fall at some speed, then recovers; the
    average smooths over these excursions. Normaliser and mirrors are the policy's present ones.
    """

    def __init__(self, policy: Policy, decay: float, asymmetry: float) -> None:
        """A copy of `policy`, with an `asymmetry` of its own; the first update still replaces it.

        `decay` is the share of the average that stays in an update, 0 to below 1; at 0 it is the
        policy itself. Update n + 1 uses (1 + n) / (40 + n) where that is less, so that the first
        weights are soon forgotten.
        """

        def average(before: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
            return before.lerp(now, 1.0 - min(decay, float((1 + count) / (40 + count))))

        super().__init__(policy, avg_fn=average)
        self.requires_grad_(False)
        self.policy.set_asymmetry(asymmetry)

    @property
    def policy(self) -> Policy:
        """The averaged policy."""
        return cast(Policy, self.module)
