"""Settings of PPO."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of PPO (Schulman et al. 2017, arXiv:1707.06347); the KL sets the learning rate."""

    gamma: float = 0.97
    """Discount per control step."""
    gae_lambda: float = 0.95
    """Decay of the generalised advantage estimate."""
    clip: float = 0.2
    """Probability ratios earn nothing beyond 1 - clip and 1 + clip."""
    value_clip: float | None = None
    """Values earn nothing beyond this distance from the old value; null for no bound."""
    value_coef: float = 0.5
    """Weight of the mean squared error of the values."""
    entropy_coef: float = 0.003
    """Weight of the policy's entropy."""
    quiet_share: float = 0.5
    """Share of the environments whose actions have less noise. A policy that is only ever shaken
    may come to a stop where noise would have moved it on; these see what it does by itself."""
    quiet_noise: float = 0.5
    """Factor on the standard deviation of their actions."""
    num_epochs: int = 4
    """Passes over a rollout."""
    num_minibatches: int = 8
    """Optimiser steps per pass."""
    learning_rate: float = 3e-4
    """Adam's learning rate at the start."""
    learning_rate_min: float = 1e-5
    """Lowest learning rate."""
    learning_rate_max: float = 2e-3
    """Highest learning rate."""
    learning_rate_factor: float = 1.2
    """One adaption multiplies or divides the learning rate by this; 1 keeps it constant."""
    kl_low: float = 0.005
    """KL divergence [nat] of a minibatch, at full noise, below which the learning rate grows."""
    kl_high: float = 0.02
    """KL divergence [nat] of a minibatch, at full noise, above which the learning rate shrinks."""
    max_grad_norm: float = 1.0
    """Gradients of actor and critic together are scaled down to this norm."""

    def __post_init__(self) -> None:
        for name in ("gamma", "gae_lambda", "quiet_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; allowed: 0 to 1")
        positive = (
            "clip", "quiet_noise", "num_epochs", "num_minibatches", "learning_rate_min",
            "max_grad_norm",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; it must be positive")
        if self.value_clip is not None and self.value_clip <= 0.0:
            raise ValueError(f"ppo.value_clip is {self.value_clip}; allowed: positive, or null")
        if not self.learning_rate_min <= self.learning_rate <= self.learning_rate_max:
            raise ValueError(
                f"ppo.learning_rate is {self.learning_rate}; allowed: learning_rate_min "
                f"{self.learning_rate_min} to learning_rate_max {self.learning_rate_max}"
            )
        if self.learning_rate_factor < 1.0:
            raise ValueError(
                f"ppo.learning_rate_factor is {self.learning_rate_factor}; allowed: 1 or more"
            )
        if not 0.0 < self.kl_low < self.kl_high:
            raise ValueError(
                f"ppo.kl_low {self.kl_low} and ppo.kl_high {self.kl_high}: 0 < kl_low < kl_high"
            )

    def log_noise(self, num_envs: int, device: torch.device) -> Tensor:
        """(E, 1): logarithm of the factor on the actions' standard deviation, per environment."""
        quiet = torch.arange(num_envs, device=device)[:, None] < round(self.quiet_share * num_envs)
        return quiet * math.log(self.quiet_noise)

    def minibatches(self, num_samples: int, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of each minibatch of a pass: a partition of the samples, drawn at random.

        Raises:
            ValueError: there are fewer samples than minibatches.
        """
        if num_samples < self.num_minibatches:
            raise ValueError(
                f"a rollout of {num_samples} samples is too short for ppo.num_minibatches "
                f"{self.num_minibatches}; raise data.num_envs or data.num_steps"
            )
        return torch.randperm(num_samples, device=device).tensor_split(self.num_minibatches)

    def adapted(self, learning_rate: float, kl: float) -> float:
        """Learning rate after one at which an update's minibatch was off by `kl` [nat].

        It shrinks by `learning_rate_factor` when `kl` is above `kl_high`, grows by it when `kl` is
        below `kl_low`, and stays within its bounds. `kl` is the divergence that the updates before
        have made, so that the first of an iteration is 0.
        """
        if kl > self.kl_high:
            return max(learning_rate / self.learning_rate_factor, self.learning_rate_min)
        if kl < self.kl_low:
            return min(learning_rate * self.learning_rate_factor, self.learning_rate_max)
        return learning_rate

    def resumed(self, learning_rate: float) -> float:
        """Learning rate a training goes on with that had come to another: within the bounds now."""
        if self.learning_rate_factor == 1.0:
            return self.learning_rate
        return min(max(learning_rate, self.learning_rate_min), self.learning_rate_max)

    @property
    def num_updates(self) -> int:
        """Optimiser steps per iteration."""
        return self.num_epochs * self.num_minibatches
