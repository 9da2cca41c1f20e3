"""Settings of the adversarial motion prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AMPConfig:
    """Settings of AMP (Peng et al. 2021, arXiv:2104.02180) on pairs of consecutive frames."""

    weight: float = 0.3
    """Weight of the style reward, which is in [0, 1] per step; the task reward has weight 1."""
    ramp_start: int = 0
    """Environment steps before which the weight is 0."""
    ramp_end: int = 0
    """Environment steps after which the weight is full; it grows linearly from `ramp_start`."""
    hidden: tuple[int, ...] = (256, 128)
    """Widths of the discriminator's hidden layers."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "relu"
    """Nonlinearity of the discriminator."""
    learning_rate: float = 5e-5
    """Learning rate of the discriminator's own Adam."""
    num_updates: int = 4
    """Discriminator updates per iteration, spread over PPO's optimiser steps."""
    batch_size: int = 1024
    """Pairs of reference, and as many of the policy, per update."""
    grad_penalty: float = 10.0
    """Weight lambda of the gradient penalty on reference pairs, relative to the sum of both squared
    errors: loss = 1/2 [(D_real - 1)^2 + (D_fake + 1)^2 + lambda |grad D_real|^2]. The paper's w_gp
    of 10 is lambda 5 here."""
    logit_penalty: float = 0.01
    """Weight of the squared norm of the output layer's weights."""
    replay_size: int = 50_000
    """Past policy pairs kept."""
    replay_insert: int = 500
    """Pairs of each rollout put into the replay."""
    replay_share: float = 0.5
    """Share of the policy pairs of an update that come from the replay."""
    normalizer_iterations: int = 200
    """Iterations after which the features' normaliser is frozen."""

    def __post_init__(self) -> None:
        for name in ("weight", "ramp_start", "grad_penalty", "logit_penalty"):
            if getattr(self, name) < 0:
                raise ValueError(f"amp.{name} is {getattr(self, name)}; it must not be negative")
        if self.ramp_end < self.ramp_start:
            raise ValueError(
                f"amp.ramp_end {self.ramp_end} is before amp.ramp_start {self.ramp_start}"
            )
        for name in (
            "learning_rate", "num_updates", "batch_size", "replay_size", "replay_insert",
            "normalizer_iterations",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"amp.{name} is {getattr(self, name)}; it must be positive")
        if self.replay_insert > self.replay_size:
            raise ValueError(
                f"amp.replay_insert {self.replay_insert} exceeds amp.replay_size {self.replay_size}"
            )
        if not 0.0 <= self.replay_share <= 1.0:
            raise ValueError(f"amp.replay_share is {self.replay_share}; allowed: 0 to 1")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"amp.hidden is {self.hidden}; it needs positive widths")
