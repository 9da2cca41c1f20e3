"""wildrobot_torch.ppo.losses: every number here was worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from wildrobot_torch.ppo.losses import (
    clipped_surrogate,
    gae,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
)


def _gae(terminated: list[bool], done: list[bool]) -> tuple[list[float], list[float]]:
    # gamma 0.5, lambda 0.5: a step back counts a quarter.
    advantage, target = gae(
        reward=torch.tensor([[1.0, 2.0, 3.0]]),
        value=torch.tensor([[10.0, 20.0, 30.0]]),
        next_value=torch.tensor([[20.0, 8.0, 40.0]]),
        terminated=torch.tensor([terminated]),
        done=torch.tensor([done]),
        gamma=0.5,
        lam=0.5,
    )
    return advantage[0].tolist(), target[0].tolist()


def test_gae_of_an_episode_that_goes_on():
    # deltas: 1 + 10 - 10 = 1; 2 + 4 - 20 = -14; 3 + 20 - 30 = -7
    # advantages: -7; -14 - 7/4 = -15.75; 1 - 15.75/4 = -2.9375
    advantage, target = _gae([False] * 3, [False] * 3)
    assert advantage == [-2.9375, -15.75, -7.0]
    assert target == [7.0625, 4.25, 23.0]


def test_gae_cuts_the_future_of_a_fall():
    # second step falls: its delta is 2 - 20 = -18, and the third step's -7 stays out of it
    advantage, _ = _gae([False, True, False], [False, True, False])
    assert advantage == [1.0 - 18.0 / 4.0, -18.0, -7.0]


def test_gae_bootstraps_a_time_out_but_lets_nothing_through():
    # second step is a time-out: its delta keeps 0.5 * 8, and the third step's -7 stays out of it
    advantage, _ = _gae([False, False, False], [False, True, False])
    assert advantage == [1.0 - 14.0 / 4.0, -14.0, -7.0]


def test_clipped_surrogate_earns_nothing_beyond_the_clip():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1])
    advantage = torch.tensor([2.0, 2.0, -2.0, -2.0, 2.0])
    # min(ratio A, clipped A): 1.2 * 2, 0.5 * 2, 1.5 * -2, 0.8 * -2, 1.1 * 2 -> sum 1.0
    loss = clipped_surrogate(ratio, advantage, clip=0.2)
    assert loss.item() == pytest.approx(-1.0 / 5.0)


def test_no_gradient_where_the_ratio_is_beyond_the_clip_in_the_paid_direction():
    ratio = torch.tensor([1.5, 0.5], requires_grad=True)
    clipped_surrogate(ratio, torch.tensor([1.0, -1.0]), clip=0.2).backward()
    assert ratio.grad is not None
    assert ratio.grad.tolist() == [0.0, 0.0]


def test_gaussian_quantities():
    mean, log_std = torch.tensor([[0.0, 1.0]]), torch.tensor([0.0, math.log(2.0)])
    action = torch.tensor([[1.0, 3.0]])
    # both one sigma off: -1/2 - 1/2 - ln 2 - ln(2 pi)
    assert gaussian_log_prob(action, mean, log_std).item() == pytest.approx(
        -1.0 - math.log(2.0) - math.log(2.0 * math.pi)
    )
    # 1/2 ln(2 pi e) each, and ln 2 for the wider one
    assert gaussian_entropy(log_std).item() == pytest.approx(
        math.log(2.0 * math.pi * math.e) + math.log(2.0)
    )
    # KL(N(0,1) || N(1,2)) = ln 2 + (1 + 1)/8 - 1/2
    kl = gaussian_kl(
        torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([math.log(2.0)])
    )
    assert kl.item() == pytest.approx(math.log(2.0) - 0.25)
    assert gaussian_kl(mean, log_std, mean, log_std).item() == 0.0
