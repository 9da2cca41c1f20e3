"""wildrobot_torch.amp.schedule: fixed, ramps, and a gate."""

from __future__ import annotations

import math

import pytest

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.schedule import (
    Schedule,
    gated,
    linear_ramp,
    require_gate,
    require_start,
    step_ramp,
)


def test_fixed_is_full_at_once():
    schedule = Schedule(AMPConfig(weight=0.4))
    assert [schedule.weight(steps) for steps in (0, 10**9)] == [0.4, 0.4]


def test_linear_between_start_and_end():
    assert [linear_ramp(s, 100, 300) for s in (0, 100, 150, 300, 1000)] == [
        0.0,
        0.0,
        0.25,
        1.0,
        1.0,
    ]
    schedule = Schedule(AMPConfig(weight=0.8, schedule="linear", ramp_start=100, ramp_end=300))
    assert schedule.weight(150) == pytest.approx(0.2)


def test_levels_hold_for_equal_stretches():
    # Three levels: two stretches of 100 steps between 100 and 300, then the last.
    steps = (0, 99, 100, 199, 200, 299, 300, 1000)
    levels = [step_ramp(s, (0.05, 0.5, 1.0), 100, 300) for s in steps]
    assert levels == [0.05, 0.05, 0.05, 0.05, 0.5, 0.5, 1.0, 1.0]
    # Two levels: a single step.
    assert [step_ramp(s, (0.05, 1.0), 0, 50) for s in (0, 49, 50)] == [0.05, 0.05, 1.0]


def test_the_gate_lets_the_ramp_go_on_only_while_the_auc_is_inside():
    assert gated(10, 5, 0.7, 0.6, 0.85) == 15
    assert gated(10, 5, 0.6, 0.6, 0.85) == gated(10, 5, 0.85, 0.6, 0.85) == 15
    assert gated(10, 5, 0.59, 0.6, 0.85) == gated(10, 5, 0.99, 0.6, 0.85) == 10
    assert gated(10, 5, math.nan, 0.6, 0.85) == 10
    schedule = Schedule(AMPConfig(weight=1.0, schedule="auc", ramp_end=40))
    weights = []
    for auc in (0.5, 0.7, 0.99, 0.8, 0.9, 0.7, 0.7):
        schedule.observe(10, auc)
        # The steps of the training do not count, those of the open gate do.
        weights.append(schedule.weight(10**6))
    assert weights == [0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("schedule", ["linear", "auc"])
def test_a_schedule_that_never_starts_is_refused(schedule: str):
    config = AMPConfig(schedule=schedule, ramp_start=500, ramp_end=900)
    with pytest.raises(
        ValueError, match=r"amp\.ramp_start 500.*run\.env_steps 400; lower"
    ) as error:
        require_start(config, 400)
    assert "\n" not in str(error.value)
    require_start(config, 501)


def test_a_weight_of_zero_is_meant():
    require_start(AMPConfig(weight=0.0), 10)
    require_start(AMPConfig(), 10)


def test_a_gate_without_held_out_motion_is_refused():
    config = AMPConfig(schedule="auc", ramp_end=9)
    with pytest.raises(ValueError, match=r"data\.reference_held_out"):
        require_gate(config, held_out=False)
    require_gate(config, held_out=True)
    require_gate(AMPConfig(), held_out=False)
