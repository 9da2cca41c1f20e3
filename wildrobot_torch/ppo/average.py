"""The policy averaged over iterations, which is the one to deploy."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from wildrobot_torch.ppo.networks import Policy

WEIGHTS_PREFIX = "averaged.module."
"""Beginning of the averaged policy's names in a checkpoint's state_dict."""


class AveragedPolicy(AveragedModel):
    """Exponential moving average of a policy's weights (Polyak and Juditsky 1992).

    One iteration may take a policy over an edge, for instance to a speed at which it falls, and the
    next one back. The average of the last iterations lies between them. Normaliser and mirrors are
    the policy's own, not averaged: statistics of all it has seen so far. Left from right it may
    tell less than the policy does, which had to choose a foot to begin with.
    """

    def __init__(self, policy: Policy, keep: float, asymmetry: float) -> None:
        """A copy of `policy`; the first update still replaces it.

        Args:
            policy: whose weights are averaged.
            keep: share of the average that an update leaves of it; at 0 it is the policy itself.
                Update n + 1 leaves (1 + n) / (40 + n) where that is less: a policy that has learned
                for a short time only should not be held back by what it was at first.
            asymmetry: how far the average may tell left from right (`Policy.set_asymmetry`).
        """

        def average(before: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
            return before.lerp(now, 1.0 - min(keep, float((1 + count) / (40 + count))))

        super().__init__(policy, avg_fn=average)
        self.requires_grad_(False)
        self.policy.set_asymmetry(asymmetry)

    @property
    def policy(self) -> Policy:
        """The averaged policy."""
        return cast(Policy, self.module)
