"""wildrobot_torch.amp.prior: what the discriminator sees, and when."""

from __future__ import annotations

import torch
from torch import Tensor

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior

CONFIG = AMPConfig(
    hidden=(8,), num_updates=2, batch_size=10, replay_size=40, replay_insert=5, replay_share=0.5,
    normalizer_iterations=2,
)  # fmt: skip


def _reference(num: int, frames: int) -> Tensor:
    return torch.full((num, frames, 3), 100.0)


def test_normaliser_counts_both_sides_alike_and_freezes():
    prior = MotionPrior(3, CONFIG)
    norm = prior.discriminator.normalizer
    prior.begin(torch.zeros(4, 6, 2, 3), _reference, iteration=0)
    # as many frames of 0 as of 100
    torch.testing.assert_close(norm.mean, torch.full((3,), 50.0))
    prior.begin(torch.full((4, 6, 2, 3), 500.0), _reference, iteration=1)
    frozen = norm.mean.clone()
    assert not torch.equal(frozen, torch.full((3,), 50.0))
    prior.begin(torch.full((4, 6, 2, 3), 500.0), _reference, iteration=2)
    assert torch.equal(norm.mean, frozen)


def test_half_of_the_fakes_are_of_the_past():
    prior = MotionPrior(3, CONFIG)
    prior.begin(torch.full((4, 6, 2, 3), 1.0), _reference, iteration=0)
    assert len(prior.replay) == 5
    assert (prior._fake == 1.0).all()
    prior.begin(torch.full((4, 6, 2, 3), 2.0), _reference, iteration=1)
    for update in range(2):
        fake = prior._fake[update, :, 0, 0]
        assert (fake == 1.0).sum() == (fake == 2.0).sum() == 5
    loss, stats = prior.loss(1)
    loss.backward()
    assert all(p.grad is not None for p in prior.parameters())
    assert stats["disc_loss"] == loss


def test_style_reward_changes_nothing_and_is_between_0_and_1():
    prior = MotionPrior(3, CONFIG)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    reward = prior.style_reward(torch.randn(4, 6, 2, 3))
    assert reward.shape == (4, 6)
    assert reward.min() >= 0.0
    assert reward.max() <= 1.0
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
