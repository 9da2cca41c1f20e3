"""Tests of the fresh classifier."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.style.classifier import folds_by_speed, fresh_auc


def test_separable_sets_are_told_apart_and_equal_ones_are_not() -> None:
    fold = torch.arange(600) % 3
    x, y = torch.randn(600, 8), torch.randn(600, 8)
    assert fresh_auc(x, y + 3.0, fold, fold) > 0.99
    assert fresh_auc(x, y, fold, fold) == pytest.approx(0.5, abs=0.1)


def test_what_is_not_linear_is_told_apart() -> None:
    # Equal means and variances: only the sign of the product differs.
    fold = torch.arange(1200) % 2
    x = torch.randn(1200, 2)
    y = torch.randn(1200, 2)
    x[:, 1] = x[:, 1].abs() * x[:, 0].sign()
    y[:, 1] = -y[:, 1].abs() * y[:, 0].sign()
    assert fresh_auc(x, y, fold, fold) > 0.95


def test_a_clip_learnt_by_heart_is_no_difference() -> None:
    # Each of 12 stretches has a place of its own, on both sides alike: nothing but memory could
    # tell sides apart, and the places of a fold are not shown.
    place = 10.0 * torch.randn(12, 4)
    x = place[torch.arange(6).repeat_interleave(50)] + 0.1 * torch.randn(300, 4)
    y = place[torch.arange(6, 12).repeat_interleave(50)] + 0.1 * torch.randn(300, 4)
    by_clip = torch.arange(6).repeat_interleave(50) % 3
    at_random = torch.arange(300) % 3
    assert fresh_auc(x, y, at_random, at_random) > 0.95
    assert fresh_auc(x, y, by_clip, by_clip) < 0.9


def test_families_stay_whole_and_episodes_go_with_the_nearest_speed() -> None:
    speed = torch.tensor([0.1, 0.1, 0.3, 0.2, 0.4])
    family = torch.tensor([7, 7, 1, 2, 3])
    mine, theirs = folds_by_speed(speed, family, torch.tensor([0.11, 0.29, 0.38]), largest=2)
    assert mine.tolist() == [0, 0, 0, 1, 1]
    assert theirs.tolist() == [0, 0, 1]


def test_one_fold_is_no_test() -> None:
    nothing = torch.zeros(4, dtype=torch.long)
    assert math.isnan(fresh_auc(torch.randn(4, 2), torch.randn(4, 2), nothing, nothing))
