"""Tests of wildrobot_torch/evaluation/policies.py."""

from __future__ import annotations

import torch

from wildrobot_torch.evaluation.policies import random_policy, zero_policy


def test_zero_is_zero() -> None:
    assert torch.equal(zero_policy(8)(torch.ones(5, 39)), torch.zeros(5, 8))


def test_random_fills_the_range_and_repeats_with_its_seed() -> None:
    observation = torch.zeros(500, 39)
    actions = random_policy(8, seed=1)(observation)
    assert actions.shape == (500, 8)
    assert -1.0 <= float(actions.min()) < -0.95
    assert 0.95 < float(actions.max()) <= 1.0
    assert torch.equal(random_policy(8, seed=1)(observation), actions)
    assert not torch.equal(random_policy(8, seed=2)(observation), actions)
    policy = random_policy(8, seed=1)
    assert not torch.equal(policy(observation), policy(observation))
