"""wildrobot_torch.amp.prior: what the discriminator sees, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from envs.layout import Field, Layout
from wildrobot_torch.amp.config import AMPConfig, FeatureStage
from wildrobot_torch.amp.prior import MotionPrior

LAYOUT = Layout("amp", (Field("pose", 2, "rad", "-", ""), Field("height", 1, "m", "-", "")))
CONFIG = AMPConfig(
    hidden=(8,), num_updates=2, batch_size=10, replay_size=40, replay_insert=5, replay_share=0.5,
    normalizer_iterations=2, features=("pose", "height"),
)  # fmt: skip


def _reference(num: int, frames: int) -> Tensor:
    return torch.full((num, frames, 3), 100.0)


def test_normaliser_counts_both_sides_alike_and_freezes():
    prior = MotionPrior(LAYOUT, CONFIG)
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
    prior = MotionPrior(LAYOUT, CONFIG)
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


@pytest.mark.parametrize(("window", "spectral_norm"), [(1, False), (2, True), (6, True)])
def test_style_reward_changes_nothing_and_is_between_0_and_1(window: int, spectral_norm: bool):
    prior = MotionPrior(LAYOUT, replace(CONFIG, window=window, spectral_norm=spectral_norm))
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    reward = prior.style_reward(torch.randn(4, 6, window, 3))
    assert reward.shape == (4, 6)
    assert reward.min() >= 0.0
    assert reward.max() <= 1.0
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


def test_an_iteration_sees_half_as_many_reference_windows_as_the_rollout_has_samples():
    prior = MotionPrior(LAYOUT, replace(CONFIG, batch_size=None, num_updates=4))
    # 1024 robots for 24 steps: 0.5 x 24576 = 4 x 3072
    assert prior.batch_size(1024 * 24) == 3072
    prior.begin(torch.zeros(10, 9, 2, 3), _reference, iteration=0)
    # 45 of 90, in 4 batches of at least 11.25
    assert prior._real.shape == prior._fake.shape == (4, 12, 2, 3)
    assert MotionPrior(LAYOUT, CONFIG).batch_size(1024 * 24) == 10


def test_stages_add_features_one_after_the_other_and_are_saved():
    stage = FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}})
    prior = MotionPrior(LAYOUT, replace(CONFIG, features=("pose",), stages=(stage,)))
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 0.0]
    assert not prior.advance({"fall_rate": 0.2})
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 0.0]
    assert prior.advance({"fall_rate": 0.1})
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 1.0]
    assert not prior.advance({"fall_rate": 0.0})
    restored = MotionPrior(LAYOUT, prior.config)
    restored.load_state_dict(prior.state_dict())
    assert restored.discriminator.mask.tolist() == [1.0, 1.0, 1.0]
    assert not restored.advance({"fall_rate": 0.0})


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="names elbow; a frame has pose, height"):
        MotionPrior(LAYOUT, replace(CONFIG, features=("elbow",)))
