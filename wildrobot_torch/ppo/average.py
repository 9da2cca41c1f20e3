"""The policy averaged over iterations, which is the one to deploy."""

from __future__ import annotations

from typing import cast

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wildrobot_torch.ppo.networks import Policy

WEIGHTS_PREFIX = "averaged.module."
"""Beginning of the averaged policy's names in a checkpoint's state_dict."""
NO_AVERAGE = "no averaged policy: an earlier version wrote it; train again"
"""What a checkpoint without such names lacks."""


class AveragedPolicy(AveragedModel):
    """Exponential moving average of a policy's weights (Polyak and Juditsky 1992).

    One iteration may take a policy over an edge, for instance to a speed at which it falls, and the
    next one back. The average of the last iterations lies between them. Normaliser and mirrors are
    the policy's own, not averaged: statistics of all it has seen so far.
    """

    def __init__(self, policy: Policy, keep: float) -> None:
        """A copy of `policy`; the first update still replaces it.

        Args:
            policy: whose weights are averaged.
            keep: share of the average that an update leaves of it; at 0 it is the policy itself.

        Raises:
            ValueError: `keep` is below 0, or not below 1.
        """
        if not 0.0 <= keep < 1.0:
            raise ValueError(f"model.average is {keep}; allowed: 0 up to, but not, 1")
        super().__init__(policy, multi_avg_fn=get_ema_multi_avg_fn(keep))
        self.requires_grad_(False)

    @property
    def policy(self) -> Policy:
        """The averaged policy."""
        return cast(Policy, self.module)
