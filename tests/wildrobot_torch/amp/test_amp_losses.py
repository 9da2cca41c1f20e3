"""wildrobot_torch.amp.losses: numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.discriminator import Discriminator
from wildrobot_torch.amp.losses import (
    adversarial_loss,
    bce_loss,
    discriminator_loss,
    gradient_penalty,
    interpolated_penalty,
    lsgan_loss,
    squared_gradient,
    style_reward,
    wgan_loss,
)


def test_canonical_reward_of_known_logits():
    # 1 at the reference's target, 3/4 where undecided, 0 at the policy's target and beyond 3
    logits = torch.tensor([1.0, 0.0, -1.0, -5.0, 2.0, 3.0])
    assert style_reward(logits).tolist() == [1.0, 0.75, 0.0, 0.0, 0.75, 0.0]


@pytest.mark.parametrize("reward", ["canonical", "clipped"])
def test_rewards_are_the_same_at_the_targets_whatever_the_loss(reward: str):
    far = math.inf
    targets = {"lsgan": (-1.0, 0.0, 1.0), "lsgan01": (0.0, 0.5, 1.0), "bce": (-far, 0.0, far),
               "wgan": (-far, 0.0, far)}  # fmt: skip
    undecided = {"canonical": 0.75, "clipped": 0.5}[reward]
    for loss, logits in targets.items():
        assert style_reward(torch.tensor(logits), loss, reward).tolist() == [0.0, undecided, 1.0]


def test_clipped_reward_is_linear_between_the_targets():
    logits = torch.tensor([-2.0, -0.5, 0.5, 4.0])
    assert style_reward(logits, "lsgan", "clipped").tolist() == [0.0, 0.25, 0.75, 1.0]
    # The chance of being reference: odds of 3 to 1.
    assert style_reward(torch.tensor(math.log(3.0)), "bce", "clipped").item() == pytest.approx(0.75)


def test_softplus_reward_has_no_flat_part_but_a_greatest_value():
    logits = torch.tensor([0.0, math.log(3.0), -2.0, -3.0, 50.0])
    rewards = style_reward(logits, "bce", "softplus").tolist()
    assert rewards[:2] == pytest.approx([math.log(2.0), math.log(4.0)])
    assert rewards[2] > rewards[3] > 0.0
    assert rewards[4] == pytest.approx(9.2)
    # On {0, 1} targets 1/2 is undecided.
    assert style_reward(torch.tensor(0.5), "lsgan01", "softplus").item() == pytest.approx(
        math.log(2)
    )


def test_losses_of_known_logits():
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.0])
    # 1/2 [mean((2-1)^2, (0-1)^2) + mean((0+1)^2, (-1+1)^2)] = 1/2 [1 + 1/2]
    assert lsgan_loss(real, fake).item() == 0.75
    # 1/2 [1 + mean(0^2, (-1)^2)]
    assert adversarial_loss("lsgan01", real, fake).item() == 0.75
    assert adversarial_loss("lsgan01", real, fake + 1.0).item() == 0.5 * (1.0 + 0.5)
    # Chances of 3/4 for the reference and of 1/3 for the policy.
    three, half = torch.tensor([math.log(3.0)]), torch.tensor([-math.log(2.0)])
    chances = -0.5 * (math.log(3 / 4) + math.log(2 / 3))
    assert bce_loss(three, half).item() == pytest.approx(chances)
    # tanh(0.3 x) is 1/2 at x = log(3) / 0.6.
    x = math.log(3.0) / 0.6
    assert wgan_loss(torch.tensor([x]), torch.tensor([-x, 0.0])).item() == pytest.approx(
        0.5 * (-0.25 - 0.5)
    )


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
    squared = squared_gradient(linear, torch.randn(7, 3))
    assert squared.tolist() == pytest.approx([1.0 + 4.0 + 0.25] * 7)
    squared.mean().backward()
    # d |w|^2 / dw = 2 w
    assert linear.layer.weight.grad is not None
    assert linear.layer.weight.grad[0].tolist() == pytest.approx([2.0, -4.0, 1.0])


def test_the_interpolated_penalty_wants_a_norm_of_1():
    real, fake, mix = torch.randn(5, 2), torch.randn(5, 2), torch.rand(5)
    # |(3, 4)| = 5, (5 - 1)^2
    assert interpolated_penalty(Linear(3.0, 4.0), real, fake, mix).item() == pytest.approx(16.0)
    assert interpolated_penalty(Linear(0.6, 0.8), real, fake, mix).item() == pytest.approx(
        0, abs=1e-6
    )
    # D = x^2 / 2 has the gradient x: at 0.25 * 8 + 0.75 * 4 = 5.
    value = interpolated_penalty(
        lambda x: 0.5 * x.square().sum(-1), torch.full((1, 1), 8.0), torch.full((1, 1), 4.0),
        torch.tensor([0.25]),
    )  # fmt: skip
    assert value.item() == pytest.approx(16.0)


@pytest.mark.parametrize(("penalty", "expected"), [("real", 4.0), ("both", 0.5 * (4.0 + 36.0))])
def test_penalties_are_taken_where_they_say(penalty: str, expected: float):
    # D = x^2 / 2 has the gradient x: 2 at the reference, 6 at the policy.
    real, fake = torch.full((4, 1), 2.0), torch.full((4, 1), 6.0)
    assert gradient_penalty(half_square, real, fake, penalty).item() == pytest.approx(expected)


def test_interpolated_penalty_lies_between_the_two_sides():
    real, fake = torch.full((400, 1), 2.0), torch.full((400, 1), 6.0)
    value = gradient_penalty(half_square, real, fake, "interpolated")
    # Mean of (x - 1)^2 for x uniform in [2, 6]: (5^3 - 1^3) / 12
    assert value.item() == pytest.approx(124.0 / 12.0, rel=0.15)


def test_of_many_windows_some_stand_for_all():
    # The gradients are 0, 1, ..., 2999: of 3000 windows every third is looked at, 1000 of them.
    real = torch.arange(3000.0)[:, None]
    value = gradient_penalty(half_square, real, real, "real")
    assert value.item() == pytest.approx(torch.arange(0.0, 3000.0, 3.0).square().mean().item())


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
    quiet = discriminator_loss(disc, real, fake, AMPConfig())[1]["adversarial"]
    noisy = discriminator_loss(disc, real, fake, AMPConfig(input_noise=0.2))[1]["adversarial"]
    assert quiet.item() == pytest.approx(0.0, abs=1e-9)
    assert noisy.item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"loss": "lsgan01"}, {"loss": "bce"}, {"loss": "wgan", "penalty": "interpolated"},
     {"penalty": "both"}, {"input_noise": 0.1}],
    ids=str,
)  # fmt: skip
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
