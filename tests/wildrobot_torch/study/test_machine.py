"""Tests of wildrobot_torch/study/machine.py."""

from __future__ import annotations

import pytest

from wildrobot_torch.study.machine import Machine, idle_cores, look

BEFORE = """\
cpu  1000 0 500 8000 100 0 0 0 0 0
cpu0 500 0 250 4000 50 0 0 0 0 0
cpu1 500 0 250 4000 50 0 0 0 0 0
intr 77
"""


def test_idle_cores_are_the_share_of_idle_time_times_the_cores() -> None:
    # Of 200 ticks of two cores 140 + 10 were idle or waiting: three quarters of two cores.
    after = BEFORE.replace("cpu  1000 0 500 8000 100", "cpu  1040 0 510 8140 110")
    assert idle_cores(BEFORE, after) == pytest.approx(1.5)


def test_the_load_is_said_in_words() -> None:
    assert str(Machine(1.234, 4, 2.56, None)) == "load 1.23, 2.6 of 4 cores free"
    assert str(Machine(None, 4, None, "X1")) == "load average unknown, ? of 4 cores free, X1"


def test_this_machine_has_no_more_free_cores_than_cores() -> None:
    found = look(0.05)
    assert found.cores >= 1
    assert found.cores_free is None or 0.0 <= found.cores_free <= found.cores
