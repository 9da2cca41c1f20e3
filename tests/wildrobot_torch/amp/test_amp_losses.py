"""wildrobot_torch.amp.losses: numbers by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator
from wildrobot_torch.amp.losses import (
    discriminator_loss,
    grad_penalty,
    lsgan_loss,
    style_reward,
)


def test_style_reward_of_known_logits():
    # 1 at the reference's target, 3/4 where undecided, 0 at the policy's target and beyond 3
    logits = torch.tensor([1.0, 0.0, -1.0, -5.0, 2.0, 3.0])
    assert style_reward(logits).tolist() == [1.0, 0.75, 0.0, 0.0, 0.75, 0.0]


def test_lsgan_of_known_logits():
    # 1/2 [mean((2-1)^2, (0-1)^2) + mean((0+1)^2, (-1+1)^2)] = 1/2 [1 + 1/2]
    loss = lsgan_loss(torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.0]))
    assert loss.item() == 0.75


def test_gradient_penalty_of_a_linear_discriminator_is_the_squared_norm_of_its_weights():
    linear = nn.Linear(3, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
    penalty, _ = grad_penalty(lambda x: linear(x).squeeze(-1), torch.randn(7, 3))
    assert penalty.item() == pytest.approx(1.0 + 4.0 + 0.25)
    penalty.backward()
    # d |w|^2 / dw = 2 w
    assert linear.weight.grad is not None
    assert linear.weight.grad[0].tolist() == pytest.approx([2.0, -4.0, 1.0])


def test_penalty_is_taken_at_the_normalised_input():
    disc = Discriminator(2, hidden=(4,), activation="tanh")
    real, fake = torch.randn(50, 2, 2), torch.randn(50, 2, 2)
    disc.update_normalizer(real, fake)
    _, plain = discriminator_loss(disc, real, fake, AMPConfig())
    # Ten times the units on both sides: the network sees the same numbers, so nothing changes.
    disc.normalizer = type(disc.normalizer)(2)
    disc.update_normalizer(10.0 * real, 10.0 * fake)
    _, scaled = discriminator_loss(disc, 10.0 * real, 10.0 * fake, AMPConfig())
    assert scaled["grad_penalty"].item() == pytest.approx(plain["grad_penalty"].item(), rel=1e-3)


def test_loss_is_the_weighted_sum_of_its_parts():
    disc = Discriminator(2, hidden=(4,))
    config = AMPConfig(grad_penalty=6.0, logit_penalty=0.5)
    loss, stats = discriminator_loss(disc, torch.randn(9, 2, 2), torch.randn(9, 2, 2), config)
    expected = stats["lsgan_loss"] + 3.0 * stats["grad_penalty"]
    expected = expected + 0.5 * disc.net[-1].weight.square().sum()
    torch.testing.assert_close(loss, expected)


def test_training_separates_two_kinds_of_motion():
    disc = Discriminator(1, hidden=(16,))
    config = AMPConfig(grad_penalty=1.0)
    optimizer = torch.optim.Adam(disc.parameters(), lr=1e-2)
    for _ in range(150):
        real = torch.randn(64, 2, 1) + 2.0
        fake = torch.randn(64, 2, 1) - 2.0
        loss, stats = discriminator_loss(disc, real, fake, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert stats["accuracy"].item() > 0.95
    assert stats["real_logit"].item() > 0.3 > -0.3 > stats["fake_logit"].item()
