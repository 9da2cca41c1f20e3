"""Low-pass, smooth steps and runs, by signals and numbers whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wildrobot_torch.motion.series import low_pass, runs, smoothstep

FPS = 50.0


def test_low_pass_keeps_what_is_slow_and_does_not_delay_it() -> None:
    time = np.arange(400) / FPS
    slow, fast = np.sin(2 * np.pi * 1.0 * time), np.sin(2 * np.pi * 20.0 * time)
    middle = slice(100, 300)
    kept = low_pass(slow + fast, 5.0, FPS)[middle]
    assert np.abs(kept - slow[middle]).max() < 0.01
    # Second order, forward and backward: half the amplitude at the cut-off, (1 / sqrt 2) squared.
    at = low_pass(np.sin(2 * np.pi * 5.0 * time), 5.0, FPS)[middle]
    assert math.sqrt(2.0) * np.std(at) == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(low_pass(fast, 30.0, FPS), fast)


def test_smoothstep_is_level_at_both_ends() -> None:
    assert smoothstep(np.array([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0])).tolist() == [
        0.0, 0.0, 0.15625, 0.5, 1.0, 1.0,
    ]  # fmt: skip


def test_runs_are_found_at_the_ends_too() -> None:
    flags = np.array([1, 1, 0, 1, 0, 0, 1], dtype=bool)
    assert runs(flags) == [(0, 2), (3, 4), (6, 7)]
    assert runs(~flags) == [(2, 3), (4, 6)]
    assert runs(np.zeros(3, dtype=bool)) == []
