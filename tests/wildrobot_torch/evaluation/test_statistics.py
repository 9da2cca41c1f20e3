"""Tests of wildrobot_torch/evaluation/statistics.py."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.statistics import auc


def test_auc_counts_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    # Rounded, so that there are ties within and between the sides.
    real = torch.randn(70, generator=generator).mul(3).round()
    fake = torch.randn(50, generator=generator).mul(3).round() - 1.0
    wins = sum((r > f) + 0.5 * (r == f) for r in real.tolist() for f in fake.tolist())
    assert float(auc(real, fake)) == pytest.approx(wins / (70 * 50))
    assert float(auc(real, real)) == pytest.approx(0.5)
    assert float(auc(real + 100.0, fake)) == 1.0
    assert float(auc(fake - 100.0, real)) == 0.0
    assert math.isnan(auc(torch.empty(0), fake)) and math.isnan(auc(real, torch.empty(0)))
