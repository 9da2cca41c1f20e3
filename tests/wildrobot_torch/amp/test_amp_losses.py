"""wildrobot_torch.amp.losses: numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator, style_reward
from wildrobot_torch.amp.losses import (
    adversarial_loss,
    discriminator_loss,
    gradient_penalty,
)


def test_losses_of_known_logits():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.0])
    # 1/2 [mean((2-1)^2, (0-1)^2) + mean((0+1)^2, (-1+1)^2)] = 1/2 [1 + 1/2]
    assert adversarial_loss("lsgan", real, fake).item() == 0.75
    # 1/2 [1 + mean(0^2, (-1)^2)]
    assert adversarial_loss("lsgan01", real, fake).item() == 0.75
    assert adversarial_loss("lsgan01", real, fake + 1.0).item() == 0.5 * (1.0 + 0.5)
    # Chances of 3/4 for the reference and of 1/3 for the policy.
    three, half = torch.tensor([math.log(3.0)]), torch.tensor([-math.log(2.0)])
    chances = -0.5 * (math.log(3 / 4) + math.log(2 / 3))
    assert adversarial_loss("bce", three, half).item() == pytest.approx(chances)


class Linear:
    """D(x) = w x + b; its gradient is w everywhere."""

    def __init__(self, *weight: float) -> None:
        self.layer = nn.Linear(len(weight), 1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([weight]))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).squeeze(-1)


def test_gradient_penalty_of_a_linear_discriminator_is_the_squared_norm_of_its_weights():
    linear = Linear(1.0, -2.0, 0.5)
    penalty = gradient_penalty(linear, torch.randn(7, 3))
    assert penalty.item() == pytest.approx(1.0 + 4.0 + 0.25)
    penalty.backward()
    # d |w|^2 / dw = 2 w
    assert linear.layer.weight.grad is not None
    assert linear.layer.weight.grad[0].tolist() == pytest.approx([2.0, -4.0, 1.0])


def test_of_many_windows_some_stand_for_all():
    # The gradients are 0, 1, ..., 2999: of 3000 windows every third is looked at, 1000 of them.
    real = torch.arange(3000.0)[:, None]
    value = gradient_penalty(half_square, real)
    assert value.item() == pytest.approx(torch.arange(0.0, 3000.0, 3.0).square().mean().item())


def test_penalty_is_taken_at_the_normalised_input():
    disc = Discriminator(2, hidden=(4,), activation="tanh")
    real, fake = torch.randn(50, 2, 2), torch.randn(50, 2, 2)
    disc.normalizer.update(torch.cat([real, fake]))
    _, plain = discriminator_loss(disc, real, fake, AMPConfig())
    # Ten times the units on both sides: the network sees the same numbers, so nothing changes.
    disc.normalizer = type(disc.normalizer)(2)
    disc.normalizer.update(torch.cat([10.0 * real, 10.0 * fake]))
    _, scaled = discriminator_loss(disc, 10.0 * real, 10.0 * fake, AMPConfig())
    assert scaled["grad_penalty"].item() == pytest.approx(plain["grad_penalty"].item(), rel=1e-3)


def test_loss_is_the_weighted_sum_of_its_parts():
    disc = Discriminator(2, hidden=(4,))
    config = AMPConfig(grad_penalty=6.0, logit_penalty=0.5)
    loss, stats = discriminator_loss(disc, torch.randn(9, 2, 2), torch.randn(9, 2, 2), config)
    torch.testing.assert_close(stats["penalty"], 3.0 * stats["grad_penalty"])
    expected = stats["adversarial"] + stats["penalty"]
    expected = expected + 0.5 * disc.net[-1].weight.square().sum()
    torch.testing.assert_close(loss, expected)


def test_noise_on_the_input_blurs_both_sides():
    torch.manual_seed(0)
    disc = Discriminator(1, hidden=(4,))
    real, fake = torch.ones(2000, 2, 1), -torch.ones(2000, 2, 1)
    disc.net = nn.Sequential(nn.Linear(2, 1))
    with torch.no_grad():
        disc.net[0].weight.fill_(0.5)
        disc.net[0].bias.zero_()
    # D is the mean of the two values, on target at +-1; noise 0.2 on each gives it variance 0.02.
    sharp = discriminator_loss(disc, real, fake, AMPConfig())[1]["adversarial"]
    noisy = discriminator_loss(disc, real, fake, AMPConfig(input_noise=0.2))[1]["adversarial"]
    assert sharp.item() == pytest.approx(0.0, abs=1e-9)
    assert noisy.item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": "lsgan01"}, {"loss": "bce"}, {"input_noise": 0.1}],
    ids=str,
)
def test_training_separates_two_kinds_of_motion(settings: dict[str, Any]):
    torch.manual_seed(0)
    disc = Discriminator(1, hidden=(16,))
    config = AMPConfig(grad_penalty=1.0, **settings)
    optimizer = torch.optim.Adam(disc.parameters(), lr=1e-2)
    for _ in range(120):
        real, fake = torch.randn(64, 2, 1) + 2.0, torch.randn(64, 2, 1) - 2.0
        loss, _ = discriminator_loss(disc, real, fake, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = [disc(disc.normalize(x)) for x in (real, fake)]
    rewards = [style_reward(x, config.loss) for x in logits]
    assert (logits[0][:, None] > logits[1]).float().mean() > 0.98
    assert rewards[0].mean() > rewards[1].mean() + 0.1


def half_square(x: torch.Tensor) -> torch.Tensor:
    """A discriminator whose gradient is its input."""
    return 0.5 * x.square().sum(-1)
