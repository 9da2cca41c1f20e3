"""Tests of tools/runtime_walks.py."""

from __future__ import annotations

import torch

from tools import runtime_walks as tool
from wildrobot_torch.files import WALKING_POLICY


def test_falls_count_and_have_no_speed() -> None:
    walks = tool.Walks(
        torch.tensor([False, False, True, False]),
        torch.tensor([0.28, 0.33, torch.nan, 0.3]),
        torch.full((4,), 0.3),
    )
    falls, error = walks.estimates()
    assert (falls.value, falls.episodes) == (0.25, 4)
    assert error.episodes == 3 and abs(error.value - 0.05 / 3) < 1e-6


def test_the_shipped_policy_walks_through_the_runtime() -> None:
    done = tool.walk(WALKING_POLICY, 0.3, seed=0, seconds=5.0)
    assert done is not None
    fell, speed = done
    assert not fell and abs(speed - 0.3) < 0.06
