"""How much the style reward counts as training goes on."""

from __future__ import annotations


def style_weight(env_steps: int, weight: float, ramp_start: int, ramp_end: int) -> float:
    """Weight of the style reward after `env_steps` environment steps.

    0 before `ramp_start`, `weight` from `ramp_end` on, linear in between; with both 0 constant.
    """
    if env_steps >= ramp_end:
        return weight
    if env_steps <= ramp_start:
        return 0.0
    return weight * (env_steps - ramp_start) / (ramp_end - ramp_start)
