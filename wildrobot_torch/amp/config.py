"""Settings of the adversarial motion prior."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from envs.errors import UserError
from envs.settings import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    check,
)
from wildrobot_torch.amp.derived import DERIVED
from wildrobot_torch.motion.metrics import Limit

FEATURES = (
    *("gravity", "linvel", "angvel", "joint_pos", "joint_vel", "sole_pos"),
    *("contact", "height"),
)
"""Fields of a frame: how the body moves, then how the ground carries it."""


@dataclass(frozen=True, kw_only=True)
class FeatureStage:
    """More features for the discriminator, once the policy is good enough for them."""

    add: tuple[str, ...]
    """Fields that the discriminator sees from this stage on."""
    share: ClosedUnitInterval = 1.0
    """Factor on their normalised values; a later stage may raise it."""
    limits: Mapping[str, dict[str, float]] = field(default_factory=dict)
    """Limits that an evaluation must keep to: metric -> min, max or both."""
    after: NonNegativeInt = 0
    """Environment steps that the evaluation must come after."""

    def __post_init__(self) -> None:
        check(self)
        for metric, limit in self.limits.items():
            Limit.parse(limit, f"amp.stages: the limit of {metric}")
        if not self.add or not (self.limits or self.after):
            raise UserError(
                "amp.stages: a stage needs features to add, and limits of the evaluation or steps "
                "to come after, as in {add: [height], limits: {fall_rate: {max: 0.02}}}"
            )

    def require_metrics(self, names: Collection[str]) -> None:
        """Refuse limits of metrics that are not among these names."""
        if unknown := sorted(set(self.limits) - set(names)):
            raise UserError(
                f"amp.stages: the evaluation has no {', '.join(unknown)}; it has {', '.join(names)}"
            )

    def reached(self, metrics: Mapping[str, float], env_steps: int) -> bool:
        """Whether an evaluation after so many environment steps begins the stage.

        Its metrics must keep to all limits; an undefined one (NaN) never does.
        """
        kept = all(Limit(**limit).holds(metrics[name]) for name, limit in self.limits.items())
        return env_steps >= self.after and kept


@dataclass(frozen=True, kw_only=True)
class AMPConfig:
    """Settings of AMP (Peng et al. 2021, arXiv:2104.02180) on windows of consecutive frames."""

    weight: NonNegativeFloat = 1.0
    """Weight of the style reward, which is in [0, 1] per step; the task reward has weight 1."""
    weight_start: NonNegativeFloat = 0.0
    """Weight before the ramp; above `weight`, style is learned first and the task gets better after
    it."""
    ramp_start: NonNegativeInt = 0
    """Environment steps up to which the weight is `weight_start`."""
    ramp_end: NonNegativeInt = 0
    """Environment steps from which it is `weight`; it changes linearly from `ramp_start` on."""
    ramp_gate: tuple[ClosedUnitInterval, ClosedUnitInterval] | None = None
    """Range of the AUC on held-out reference, as in [0.6, 0.85]: the ramp counts only environment
    steps of iterations inside it; null counts all."""
    window: PositiveInt = 2
    """Frames in a window; they are `data.env.ctrl_dt` apart."""
    features: tuple[str, ...] = FEATURES
    """Fields that the discriminator sees: those of a frame (the default), and linvel_direction,
    linvel_clipped, foot_height, foot_vel_z, foot_speed_near_ground, which are computed from them.
    Without contact it lets steps pass that are too short on both feet."""
    stages: tuple[FeatureStage, ...] = ()
    """More features, left out of `features`, each stage once an evaluation during training keeps to
    its limits: a list of {add: [height], limits: {fall_rate: {max: 0.02}}}; with {share: 0.3} only
    a share of them, with {after: 50000} not before so many environment steps."""
    hidden: tuple[PositiveInt, ...] = (256, 128)
    """Widths of the discriminator's hidden layers."""
    activation: Literal["elu", "relu", "silu", "tanh"] = "relu"
    """Nonlinearity of the discriminator."""
    loss: Literal["lsgan", "lsgan01", "bce"] = "lsgan"
    """Loss of the logits: lsgan squared error to 1 for reference and -1 for the policy, lsgan01 the
    same to 1 and 0, bce binary cross-entropy."""
    reward: Literal["canonical", "clipped"] = "canonical"
    """Style reward of a logit D scaled to 1 for reference and -1 for the policy: canonical
    max(0, 1 - (D - 1)^2 / 4), clipped (D + 1) / 2 within [0, 1]."""
    learning_rate: PositiveFloat = 2e-4
    """Learning rate of the discriminator's own Adam."""
    num_updates: PositiveInt = 4
    """Discriminator updates per iteration, spread over PPO's optimiser steps."""
    batch_size: PositiveInt | None = None
    """Windows of reference, and as many of the policy, per update; null for half as many per
    iteration as the rollout has samples."""
    grad_penalty: NonNegativeFloat = 10.0
    """Weight lambda of the gradient penalty at reference windows (R1): loss = 1/2 [(D_real - 1)^2 +
    (D_fake + 1)^2 + lambda |grad D|^2]. The paper's w_gp of 10 is lambda 5."""
    logit_penalty: NonNegativeFloat = 0.01
    """Weight of the squared norm of the output layer's weights, which spectral norm holds at 1."""
    spectral_norm: bool = False
    """Whether every layer's weights are divided by their largest singular value."""
    input_noise: NonNegativeFloat = 0.0
    """Standard deviation of noise on the discriminator's normalised input while it learns, on
    reference and policy alike."""
    replay_size: PositiveInt = 60_000
    """Past policy windows kept; each rollout replaces the 500 oldest."""
    replay_share: ClosedUnitInterval = 0.5
    """Share of the policy windows of an update that come from the replay."""

    def __post_init__(self) -> None:
        check(self)
        if not self.features:
            raise UserError("amp.features is empty; name at least one field of a frame")
        seen = dict.fromkeys(self.features, 1.0)
        for stage in self.stages:
            if known := [name for name in stage.add if seen.get(name, 0.0) >= stage.share]:
                raise UserError(
                    f"amp.stages adds {', '.join(sorted(known))}, which the discriminator sees "
                    "already; leave it out of amp.features and of the stages before, or raise its "
                    "share"
                )
            seen |= dict.fromkeys(stage.add, stage.share)
        late = [name for name in seen if name in DERIVED and DERIVED[name].needs_past]
        if late and self.window < 2:
            raise UserError(
                f"amp.features or amp.stages names {', '.join(late)}, a change between frames; set "
                "amp.window to at least 2"
            )
        if self.ramp_end < self.ramp_start:
            raise UserError(
                f"amp.ramp_end is {self.ramp_end}; allowed: at least amp.ramp_start, "
                f"{self.ramp_start}"
            )
        if self.weight_start > 0.0 and self.ramp_end == 0:
            raise UserError(
                "amp.weight_start does nothing without a ramp; set amp.ramp_end above 0"
            )
        if self.ramp_gate is None:
            return
        if self.ramp_end == 0:
            raise UserError("amp.ramp_gate does nothing without a ramp; set amp.ramp_end above 0")
        if self.ramp_gate[0] >= self.ramp_gate[1]:
            raise UserError(
                f"amp.ramp_gate is {list(self.ramp_gate)}; its first value must be below its second"
            )

    @property
    def shares(self) -> list[dict[str, float]]:
        """Field -> its share in what the discriminator sees, at first and after each stage."""
        shares = [dict.fromkeys(self.features, 1.0)]
        for stage in self.stages:
            shares.append(shares[-1] | dict.fromkeys(stage.add, stage.share))
        return shares

    def weight_at(self, env_steps: int) -> float:
        """Weight of the style reward after `env_steps` environment steps of the ramp."""
        if env_steps >= self.ramp_end:
            return self.weight
        share = max(env_steps - self.ramp_start, 0) / max(self.ramp_end - self.ramp_start, 1)
        return self.weight_start + share * (self.weight - self.weight_start)

    def require_start(self, env_steps: int) -> None:
        """Refuse a ramp that has not left 0 at the end of a training of `env_steps` steps.

        Raises:
            UserError: the weight would be 0 all the time, though `weight` is not.
        """
        # At best the gate is open all the time.
        if self.weight > 0.0 and self.weight_at(env_steps) == 0.0:
            raise UserError(
                f"the style reward never counts: its ramp begins after amp.ramp_start "
                f"{self.ramp_start} environment steps, the training ends at run.env_steps "
                f"{env_steps}; lower amp.ramp_start or train for longer"
            )
