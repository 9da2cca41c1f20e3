"""Settings of the adversarial motion prior."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

FEATURES = (
    *("gravity", "linvel", "angvel", "joint_pos", "joint_vel", "sole_pos"),
    *("contact", "height"),
)
"""Fields of a frame: how the body moves, then how the ground carries it."""
MAX_WINDOW = 10
"""Longest window [frames]."""


@dataclass(frozen=True, kw_only=True)
class FeatureStage:
    """More features, once the policy is good enough for them."""

    add: tuple[str, ...]
    """Fields of a frame that the discriminator sees from then on."""
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What an evaluation must keep to: its metric -> min, max or both."""

    def __post_init__(self) -> None:
        for metric, limit in self.limits.items():
            if not limit or set(limit) - {"min", "max"}:
                raise ValueError(
                    f"amp.stages: the limit of {metric} is {dict(limit)}; give min, max or both"
                )
        if not self.add or not self.limits:
            raise ValueError(
                "amp.stages: a stage needs features to add and limits of the evaluation, as in "
                "{add: [height], limits: {fall_rate: {max: 0.02}}}"
            )

    def require_metrics(self, names: Collection[str]) -> None:
        """Refuse limits of metrics that are not among these.

        Raises:
            ValueError: there is one.
        """
        if unknown := sorted(set(self.limits) - set(names)):
            raise ValueError(
                f"amp.stages: the evaluation has no {', '.join(unknown)}; it has {', '.join(names)}"
            )

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether an evaluation's metrics keep to all limits; an undefined one (NaN) never does.

        Raises:
            ValueError: the evaluation has no such metric.
        """
        self.require_metrics(metrics)
        return all(
            limit.get("min", -float("inf")) <= metrics[name] <= limit.get("max", float("inf"))
            for name, limit in self.limits.items()
        )


@dataclass(frozen=True, kw_only=True)
class AMPConfig:
    """Settings of AMP (Peng et al. 2021, arXiv:2104.02180) on windows of consecutive frames."""

    weight: float = 1.0
    """Weight of the style reward, which is in [0, 1] per step (`reward` softplus: 0 to 9.2); the
    task reward has weight 1. With two critics, weight of the advantages of style."""
    critics: Literal["one", "two"] = "one"
    """one: the rewards are added. two: style has a critic of its own; advantages are normalised
    apart, then added by weight."""
    schedule: Literal["fixed", "linear", "steps", "auc"] = "fixed"
    """How the weight grows. fixed: it is full at once. linear: from 0 at `ramp_start` to full at
    `ramp_end`. steps: by `ramp_levels`. auc: as linear, but only those environment steps count
    during which the AUC on held-out reference is between `gate_low` and `gate_high`."""
    ramp_start: int = 0
    """Environment steps before which the weight does not grow."""
    ramp_end: int = 0
    """Environment steps after which the weight is full."""
    ramp_levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0)
    """Shares of the weight one after the other, the last from `ramp_end` on, the others for equal
    stretches before; read by schedule steps."""
    gate_low: float = 0.6
    """Least AUC that lets the weight grow; read by schedule auc."""
    gate_high: float = 0.85
    """Greatest AUC that lets the weight grow; read by schedule auc."""
    window: int = 2
    """Frames in a window, 1 to 10; they are `data.env.ctrl_dt` apart."""
    features: tuple[str, ...] = FEATURES
    """Fields of a frame that the discriminator sees."""
    stages: tuple[FeatureStage, ...] = ()
    """More features, left out of `features`, each stage once an evaluation during training keeps to
    its limits: a list of {add: [height], limits: {fall_rate: {max: 0.02}}}."""
    hidden: tuple[int, ...] = (256, 128)
    """Widths of the discriminator's hidden layers."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "relu"
    """Nonlinearity of the discriminator."""
    loss: Literal["lsgan", "lsgan01", "bce", "wgan"] = "lsgan"
    """What its logits D are pulled to: lsgan 1 for reference and -1 for the policy by squared
    error, lsgan01 1 and 0, bce a log-likelihood ratio, wgan apart as far as tanh(0.3 D) goes."""
    reward: Literal["canonical", "clipped", "softplus"] = "canonical"
    """Style reward of a logit that is scaled to 1 for reference and -1 for the policy: canonical
    max(0, 1 - (D - 1)^2 / 4), clipped (D + 1) / 2 within [0, 1], softplus log(1 + exp D)."""
    learning_rate: float = 2e-4
    """Learning rate of the discriminator's own Adam."""
    weight_decay: float = 0.0
    """Share of the learning rate by which each step shrinks the discriminator's weights (AdamW)."""
    num_updates: int = 4
    """Discriminator updates per iteration, spread over PPO's optimiser steps."""
    batch_size: int | None = None
    """Windows of reference, and as many of the policy, per update; null for `data_budget`."""
    data_budget: float = 0.5
    """Reference windows per iteration for each sample of the rollout; read where `batch_size` is
    null."""
    penalty: Literal["real", "both", "interpolated"] = "real"
    """Where the gradient penalty is taken, always on normalised input: at reference windows, at
    those and the policy's alike, or between them, where the gradient is to have norm 1, not 0."""
    grad_penalty: float = 10.0
    """Weight lambda of the gradient penalty relative to the sum of both sides' losses: loss = 1/2
    [(D_real - 1)^2 + (D_fake + 1)^2 + lambda |grad D|^2]. The paper's w_gp of 10 is lambda 5."""
    logit_penalty: float = 0.01
    """Weight of the squared norm of the output layer's weights, which spectral norm holds at 1."""
    spectral_norm: bool = False
    """Whether every layer's weights are divided by their largest singular value."""
    input_noise: float = 0.0
    """Standard deviation of noise on the discriminator's normalised input while it learns, on
    reference and policy alike."""
    replay_size: int = 60_000
    """Past policy windows kept; over `replay_insert` the iterations they span."""
    replay_insert: int = 500
    """Windows of each rollout put into the replay, drawn at random."""
    replay_share: float = 0.5
    """Share of the policy windows of an update that come from the replay."""
    normalizer_iterations: int = 200
    """Iterations after which the features' normaliser is frozen."""

    def __post_init__(self) -> None:
        for name in ("weight", "ramp_start", "ramp_end", "weight_decay", "grad_penalty",
                     "logit_penalty", "input_noise"):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"amp.{name} is {getattr(self, name)}; it must not be negative")
        for name in (
            "learning_rate", "num_updates", "data_budget", "replay_size", "replay_insert",
            "normalizer_iterations",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"amp.{name} is {getattr(self, name)}; it must be positive")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"amp.batch_size is {self.batch_size}; it must be positive, or null")
        if self.replay_insert > self.replay_size:
            raise ValueError(
                f"amp.replay_insert {self.replay_insert} exceeds amp.replay_size {self.replay_size}"
            )
        if not 0.0 <= self.replay_share <= 1.0:
            raise ValueError(f"amp.replay_share is {self.replay_share}; allowed: 0 to 1")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"amp.hidden is {self.hidden}; it needs positive widths")
        if not 1 <= self.window <= MAX_WINDOW:
            raise ValueError(f"amp.window is {self.window}; allowed: 1 to {MAX_WINDOW} frames")
        if not self.features:
            raise ValueError("amp.features is empty; name at least one field of a frame")
        seen = set(self.features)
        for stage in self.stages:
            if known := seen.intersection(stage.add):
                raise ValueError(
                    f"amp.stages adds {', '.join(sorted(known))}, which the discriminator sees "
                    "already; leave it out of amp.features and of the stages before"
                )
            seen.update(stage.add)
        self._check_schedule()

    def _check_schedule(self) -> None:
        if self.schedule == "fixed":
            if self.ramp_start or self.ramp_end:
                raise ValueError(
                    f"amp.ramp_start {self.ramp_start} and amp.ramp_end {self.ramp_end} do nothing "
                    "with amp.schedule fixed; set amp.schedule linear, steps or auc"
                )
        elif self.ramp_end <= self.ramp_start:
            raise ValueError(
                f"amp.ramp_end {self.ramp_end} is not after amp.ramp_start {self.ramp_start}, "
                f"which amp.schedule {self.schedule} needs"
            )
        levels = self.ramp_levels
        if len(levels) < 2 or min(levels) < 0.0 or levels[-1] == 0.0:
            raise ValueError(
                f"amp.ramp_levels is {levels}; it needs two or more, none "
                "negative, the last above 0"
            )
        if not 0.0 <= self.gate_low < self.gate_high <= 1.0:
            raise ValueError(
                f"amp.gate_low is {self.gate_low} and amp.gate_high {self.gate_high}; allowed: 0 "
                "to 1, the first below the second"
            )
