"""Tests of the distances between sets of samples."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.evaluation.style.distance import coverage, frechet, wasserstein


def test_frechet_of_two_known_gaussians() -> None:
    # Means 3 apart; variances 4, 1 against 1, 1: 9 + (2 - 1)^2 + 0.
    x = torch.randn(200_000, 2, dtype=torch.double)
    y = torch.randn(200_000, 2, dtype=torch.double)
    assert frechet(x * torch.tensor([2.0, 1.0]), y + torch.tensor([3.0, 0.0])) == pytest.approx(
        10.0, abs=0.1
    )


def test_frechet_does_not_depend_on_axes() -> None:
    # Correlated samples and their mirror image: C_x and C_y do not commute.
    x = torch.randn(100_000, 2, dtype=torch.double)
    x = x @ torch.tensor([[1.0, 0.8], [0.0, 0.6]], dtype=torch.double)
    y = x * torch.tensor([1.0, -1.0], dtype=torch.double)
    turn, _ = torch.linalg.qr(torch.randn(2, 2, dtype=torch.double))
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet(x, y) == pytest.approx(frechet(x @ turn, y @ turn), rel=1e-6)
    # For 2 x 2: tr (C_x C_y)^1/2 = sqrt(tr C_x C_y + 2 sqrt(det C_x C_y)), det and traces by hand:
    # C_x = [[1, .8], [.8, 1]], C_y = [[1, -.8], [-.8, 1]] -> tr C_x C_y = .72, det = .36^2.
    assert frechet(x, y) == pytest.approx(4.0 - 2.0 * (0.72 + 2 * 0.36) ** 0.5, abs=0.02)


def test_wasserstein_of_a_shifted_uniform_is_the_shift() -> None:
    x = torch.rand(5000, 2)
    shifted = torch.rand(3000, 2) + torch.tensor([0.25, 0.0])
    assert wasserstein(x, shifted).tolist() == pytest.approx([0.25, 0.0], abs=0.03)
    # Of half the width, same centre: the integral of |F - G| over both sides is 1/8.
    narrow = 0.5 * torch.rand(5000, 2) + 0.25
    assert wasserstein(x, narrow).tolist() == pytest.approx([0.125, 0.125], abs=0.02)


def test_without_samples_nothing_is_measured() -> None:
    nothing, some = torch.empty(0, 2), torch.rand(9, 2)
    for x, y in ((nothing, some), (some, nothing)):
        assert math.isnan(frechet(x, y))
        assert wasserstein(x, y).isnan().tolist() == [True, True]


def test_wasserstein_by_hand() -> None:
    # Three points against one: each third goes its own way to 1.
    x, y = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[1.0]])
    assert wasserstein(x, y).item() == pytest.approx(4 / 3)


def test_coverage_by_hand() -> None:
    # On a line at 0, 1, 10; the nearest neighbours are 1, 1 and 9 away.
    reference = torch.tensor([[0.0], [1.0], [10.0]])
    alone = torch.arange(3)
    # A sample at 0.5 lies in the balls of 0, 1 and not in that of 10, which begins at 1.
    assert coverage(reference, torch.tensor([[0.5]]), alone, 1) == pytest.approx(2 / 3)
    # Another at 15 lies in the ball of 10.
    assert coverage(reference, torch.tensor([[0.5], [15.0]]), alone, 1) == 1.0


def test_neighbours_of_the_own_family_do_not_count() -> None:
    reference = torch.tensor([[0.0], [0.001], [1.0], [1.001]])
    family = torch.tensor([0, 0, 1, 1])
    between = torch.tensor([[0.5]])
    assert coverage(reference, between, torch.arange(4), 1) == 0.0
    assert coverage(reference, between, family, 1) == 1.0
