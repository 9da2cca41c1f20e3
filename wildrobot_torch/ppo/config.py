"""Settings of PPO."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from envs.errors import UserError
from envs.settings import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ShareBelowOne,
    check,
)


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Settings of PPO (Schulman et al. 2017, arXiv:1707.06347); the KL sets the learning rate."""

    gamma: ClosedUnitInterval = 0.97
    """Discount per control step."""
    gae_lambda: ClosedUnitInterval = 0.95
    """Decay of the generalised advantage estimate."""
    clip: PositiveFloat = 0.2
    """Clip range epsilon: the surrogate is flat where the probability ratio has gone beyond
    1 - epsilon or 1 + epsilon to its gain."""
    value_coef: NonNegativeFloat = 0.5
    """Weight of the mean squared error of the values."""
    entropy_coef: float = 0.003
    """Weight of the policy's entropy."""
    low_noise_env_fraction: ClosedUnitInterval = 0.5
    """Share of the environments with less exploration noise. A policy trained with full noise alone
    can stall once the noise is removed."""
    low_noise_scale: PositiveFloat = 0.5
    """Factor on the actions' standard deviation in these environments."""
    num_epochs: PositiveInt = 4
    """Passes over a rollout."""
    num_minibatches: PositiveInt = 8
    """Optimiser steps per pass."""
    learning_rate: PositiveFloat = 3e-4
    """Adam's learning rate at the start."""
    learning_rate_min: PositiveFloat = 1e-5
    """Lowest learning rate."""
    learning_rate_max: PositiveFloat = 2e-3
    """Highest learning rate."""
    learning_rate_factor: PositiveFloat = 1.2
    """Factor, at least 1, by which one adaption raises or lowers the learning rate; 1 keeps it
    constant."""
    kl_low: PositiveFloat = 0.005
    """KL divergence [nat] of a minibatch, at full noise, below which the learning rate rises."""
    kl_high: PositiveFloat = 0.02
    """KL divergence [nat] of a minibatch, at full noise, above which the learning rate falls. Where
    the noise is halved the same change of the mean action counts four times."""
    kl_max: PositiveFloat = 0.1
    """KL divergence [nat] of a minibatch, at full noise, beyond which a step went wrong: the actor
    goes back to where it was at `kl_high` at most, and the learning rate to its lowest value."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients of actor and critic together are scaled down to this norm."""

    def __post_init__(self) -> None:
        check(self)
        if not self.learning_rate_min <= self.learning_rate <= self.learning_rate_max:
            raise UserError(
                f"ppo.learning_rate is {self.learning_rate}; allowed: learning_rate_min "
                f"{self.learning_rate_min} to learning_rate_max {self.learning_rate_max}"
            )
        if (factor := self.learning_rate_factor) < 1.0:
            raise UserError(f"ppo.learning_rate_factor is {factor}; allowed: 1 or more")
        if self.kl_low >= (high := self.kl_high):
            raise UserError(f"ppo.kl_low is {self.kl_low}; allowed: below ppo.kl_high, {high}")
        if self.kl_max <= high:
            raise UserError(f"ppo.kl_max is {self.kl_max}; allowed: above ppo.kl_high, {high}")

    def log_noise(self, num_envs: int, device: torch.device) -> Tensor:
        """(E, 1): logarithm of the factor on the actions' standard deviation, per environment."""
        low = torch.arange(num_envs, device=device) < round(self.low_noise_env_fraction * num_envs)
        return low[:, None] * math.log(self.low_noise_scale)

    def minibatches(self, num_samples: int, device: torch.device) -> tuple[Tensor, ...]:
        """Indices of each minibatch of a pass: a partition of the samples, drawn at random.

        A UserError where there are fewer samples than minibatches.
        """
        if num_samples < self.num_minibatches:
            raise UserError(
                f"a rollout of {num_samples} samples is too short for ppo.num_minibatches "
                f"{self.num_minibatches}; raise data.num_envs or data.num_steps"
            )
        return torch.randperm(num_samples, device=device).tensor_split(self.num_minibatches)

    def adapted(self, learning_rate: float, kl: float) -> float:
        """The learning rate after an update that found a KL divergence of `kl` [nat]."""
        if kl > self.kl_max:
            return self.learning_rate_min
        if kl > self.kl_high:
            return max(learning_rate / self.learning_rate_factor, self.learning_rate_min)
        if kl < self.kl_low:
            return min(learning_rate * self.learning_rate_factor, self.learning_rate_max)
        return learning_rate

    def resumed(self, learning_rate: float) -> float:
        """The learning rate with which a resumed training goes on: the saved one, within bounds."""
        if self.learning_rate_factor == 1.0:
            return self.learning_rate
        return min(max(learning_rate, self.learning_rate_min), self.learning_rate_max)

    @property
    def num_updates(self) -> int:
        """Optimiser steps per iteration."""
        return self.num_epochs * self.num_minibatches


@dataclass(frozen=True, kw_only=True)
class GammaRamp:
    """A discount that grows during the training.

    A short horizon finds the gait that the prior asks for; a long one, in which a fall costs more,
    then makes it safe. With the long one from the start the gait is safe first, and stays another.
    """

    start: ShareBelowOne = 0.97
    """Discount per control step until `begin`."""
    begin: NonNegativeInt
    """Environment steps at which it begins to grow."""
    end: PositiveInt
    """Environment steps from which it is `ppo.gamma`."""

    def __post_init__(self) -> None:
        check(self)
        if self.begin >= self.end:
            raise UserError(
                f"gamma_ramp.begin is {self.begin}; allowed: below gamma_ramp.end, {self.end}"
            )

    def require(self, ppo: PPOConfig) -> None:
        """Refuse a ramp that does not rise to the discount of `ppo`.

        Raises:
            UserError: that is not above the ramp's start, or 1, an endless horizon.
        """
        if not self.start < ppo.gamma < 1.0:
            raise UserError(
                f"ppo.gamma is {ppo.gamma}; with a gamma_ramp it must be above gamma_ramp.start "
                f"{self.start} and below 1"
            )

    def discount(self, gamma: float, env_steps: int) -> float:
        """The discount after so many environment steps, on the way to `gamma`.

        The horizon 1 / (1 - discount) grows by equal factors in equal times.
        """
        share = min(max((env_steps - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return 1.0 - (1.0 - self.start) ** (1.0 - share) * (1.0 - gamma) ** share
