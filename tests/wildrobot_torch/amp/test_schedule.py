"""wildrobot_torch.amp.schedule: constant, or a ramp."""

from __future__ import annotations

import pytest

from wildrobot_torch.amp.schedule import style_weight


def test_constant_without_a_ramp():
    assert [style_weight(steps, 0.4, 0, 0) for steps in (0, 10**9)] == [0.4, 0.4]


def test_linear_between_start_and_end():
    weights = [style_weight(steps, 0.8, 100, 300) for steps in (0, 100, 150, 300, 1000)]
    assert weights == pytest.approx([0.0, 0.0, 0.2, 0.8, 0.8])
