"""Tests of wildrobot_torch/evaluation/statistics.py."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.statistics import (
    auc,
    episodes_needed,
    mean,
    rate,
    rate_difference,
)


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


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        # All or none: the other end is 0.025^(1/n), by hand.
        (20, 20, 0.025 ** (1 / 20), 1.0),
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),
        # Published exact intervals (Newcombe 1998, Statistics in Medicine 17, table I).
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_rates_have_the_exact_interval(
    successes: int, episodes: int, low: float, high: float
) -> None:
    found = rate(successes, episodes)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_the_ends_of_a_rate_leave_a_fortieth_in_either_tail() -> None:
    """Binomial tails summed by hand: the definition of Clopper and Pearson."""
    found = rate(7, 9)

    def chance(count: int, true: float) -> float:
        return math.comb(9, count) * true**count * (1 - true) ** (9 - count)

    assert sum(chance(k, found.low) for k in (7, 8, 9)) == pytest.approx(0.025, rel=1e-6)
    assert sum(chance(k, found.high) for k in range(8)) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("above", [0.5, 0.6, 0.8, 0.85, 0.9, 0.95, 0.99])
def test_as_few_episodes_as_can_pass(above: float) -> None:
    needed = episodes_needed(above)
    assert rate(needed, needed).low > above
    assert rate(needed - 1, needed - 1).low <= above


def test_72_episodes_are_needed_for_95_percent() -> None:
    assert episodes_needed(0.95) == 72  # ln 0.025 / ln 0.95 = 71.9
    assert episodes_needed(0.0) == 1


def test_a_mean_has_students_interval() -> None:
    """1, 2, 3, 4: mean 2.5, standard deviation 1.291, t of 3 degrees of freedom 3.182."""
    found = mean(torch.tensor([1.0, 2.0, torch.nan, 3.0, 4.0]))
    assert (found.value, found.episodes) == (2.5, 4)
    assert found.high - found.value == pytest.approx(3.1824 * 1.29099 / 2, rel=1e-4)
    assert mean(torch.tensor([1.0])).high == math.inf
    assert math.isnan(mean(torch.tensor([torch.nan])).value)


def test_a_difference_of_rates_is_that_of_the_episodes_that_differ() -> None:
    """8 of 40 gained, 2 lost; both won 20, both lost 10."""
    gained, lost = 8, 2
    mine = torch.tensor([True] * gained + [False] * lost + [True] * 20 + [False] * 10)
    theirs = torch.tensor([False] * gained + [True] * lost + [True] * 20 + [False] * 10)
    found = rate_difference(mine, theirs)
    assert found.value == pytest.approx(6 / 40)
    up, down = rate(gained, 40, 0.975), rate(lost, 40, 0.975)
    assert (found.low, found.high) == pytest.approx((up.low - down.high, up.high - down.low))
    same = rate_difference(mine, mine)
    assert same.value == 0.0 and same.low == -same.high < 0.0
