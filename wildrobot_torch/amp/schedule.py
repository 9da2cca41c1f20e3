"""How much the style reward counts as training goes on."""

from __future__ import annotations

from collections.abc import Sequence

from wildrobot_torch.amp.config import AMPConfig


def linear_ramp(env_steps: int, start: int, end: int) -> float:
    """Share of the weight after `env_steps` steps: 0 up to `start`, 1 from `end`, linear between.

    With both 0 it is 1 throughout.
    """
    if env_steps >= end:
        return 1.0
    return max(env_steps - start, 0) / (end - start)


def step_ramp(env_steps: int, levels: Sequence[float], start: int, end: int) -> float:
    """Share of the weight after `env_steps` steps: one of n levels.

    The first holds up to `start` and for the first of n-1 equal stretches from there to `end`, the
    last from `end` on.
    """
    if env_steps >= end:
        return levels[-1]
    stretch = (env_steps - start) * (len(levels) - 1) // (end - start)
    return levels[max(stretch, 0)]


def gated(clock: int, env_steps: int, auc: float, low: float, high: float) -> int:
    """A clock of environment steps after `env_steps` more; it runs while low <= `auc` <= high.

    An undefined AUC (NaN) stops it.
    """
    return clock + env_steps if low <= auc <= high else clock


def style_share(config: AMPConfig, env_steps: int, clock: int) -> float:
    """Share of `config.weight` after `env_steps` environment steps, `clock` of them gated."""
    start, end = config.ramp_start, config.ramp_end
    if config.schedule == "fixed":
        return 1.0
    if config.schedule == "steps":
        return step_ramp(env_steps, config.ramp_levels, start, end)
    return linear_ramp(clock if config.schedule == "auc" else env_steps, start, end)


class Schedule:
    """The weight of the style reward, and the clock of the gated ramp."""

    def __init__(self, config: AMPConfig) -> None:
        """At the beginning of a training."""
        self.config = config
        self.clock = 0
        """Environment steps during which the gate was open."""

    def weight(self, env_steps: int) -> float:
        """Weight of the style reward after `env_steps` environment steps."""
        return self.config.weight * style_share(self.config, env_steps, self.clock)

    def observe(self, env_steps: int, auc: float) -> None:
        """Take note of the held-out AUC of the last `env_steps` environment steps."""
        self.clock = gated(self.clock, env_steps, auc, self.config.gate_low, self.config.gate_high)


def require_start(config: AMPConfig, env_steps: int) -> None:
    """Refuse a schedule whose weight is 0 to the end of a training of `env_steps` steps.

    Raises:
        ValueError: it is, though the weight is not.
    """
    # At best the gate is open all the time.
    if config.weight > 0.0 and style_share(config, env_steps, env_steps) == 0.0:
        raise ValueError(
            f"the style reward never counts: amp.schedule {config.schedule} starts after "
            f"amp.ramp_start {config.ramp_start} environment steps, the training ends at "
            f"run.env_steps {env_steps}; lower amp.ramp_start or train for longer"
        )


def require_gate(config: AMPConfig, held_out: bool) -> None:
    """Refuse a gate without the motion it is opened by.

    Raises:
        ValueError: the schedule is gated, and there is no held-out reference.
    """
    if config.schedule == "auc" and not held_out:
        raise ValueError(
            "amp.schedule auc is gated by reference motion that is held out, and none is; set "
            "data.reference_held_out above 0, or take another amp.schedule"
        )
