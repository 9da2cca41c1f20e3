"""wildrobot_torch.amp.prior: what the discriminator sees, and when."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from envs.layout import Field, Layout
from envs.task.starts import AT_HOME, UNDER_WAY
from wildrobot_torch.amp.config import AMPConfig, FeatureStage
from wildrobot_torch.amp.prior import MotionPrior

LAYOUT = Layout("amp", (Field("pose", 2, "rad", "-", ""), Field("height", 1, "m", "-", "")))
CONFIG = AMPConfig(
    hidden=(8,), num_updates=2, batch_size=10, replay_size=5, replay_share=0.5,
    features=("pose", "height"),
)  # fmt: skip


def _reference(num: int, frames: int) -> Tensor:
    return torch.full((num, frames, 3), 100.0)


def test_normaliser_counts_both_sides_alike_and_freezes():
    prior = MotionPrior(LAYOUT, CONFIG)
    norm = prior.discriminator.normalizer
    prior.sample_batches(torch.zeros(4, 6, 2, 3), _reference, iteration=0)
    # as many frames of 0 as of 100
    torch.testing.assert_close(norm.mean, torch.full((3,), 50.0))
    prior.sample_batches(torch.full((4, 6, 2, 3), 500.0), _reference, iteration=199)
    frozen = norm.mean.clone()
    assert not torch.equal(frozen, torch.full((3,), 50.0))
    prior.sample_batches(torch.full((4, 6, 2, 3), 500.0), _reference, iteration=200)
    assert torch.equal(norm.mean, frozen)


def test_half_of_the_fakes_are_of_the_past():
    prior = MotionPrior(LAYOUT, CONFIG)
    prior.sample_batches(torch.full((4, 6, 2, 3), 1.0), _reference, iteration=0)
    assert len(prior.replay) == 5
    assert (prior._fake == 1.0).all()
    prior.sample_batches(torch.full((4, 6, 2, 3), 2.0), _reference, iteration=1)
    for update in range(2):
        fake = prior._fake[update, :, 0, 0]
        assert (fake == 1.0).sum() == (fake == 2.0).sum() == 5
    loss, stats = prior.loss(1)
    loss.backward()
    assert all(p.grad is not None for p in prior.parameters())
    assert stats["AMP/disc_loss"] == loss


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
    prior.sample_batches(torch.zeros(10, 9, 2, 3), _reference, iteration=0)
    # 45 of 90, in 4 batches of at least 11.25
    assert prior._real.shape == prior._fake.shape == (4, 12, 2, 3)


def test_stages_add_features_one_after_the_other_and_are_saved():
    stage = FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}})
    prior = MotionPrior(LAYOUT, replace(CONFIG, features=("pose",), stages=(stage,)))
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 0.0]
    assert not prior.advance({"fall_rate": 0.2}, 10)
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 0.0]
    assert prior.advance({"fall_rate": 0.1}, 20)
    assert prior.discriminator.mask.tolist() == [1.0, 1.0, 1.0]
    assert not prior.advance({"fall_rate": 0.0}, 30)
    restored = MotionPrior(LAYOUT, prior.config)
    restored.load_state_dict(prior.state_dict())
    assert restored.discriminator.mask.tolist() == [1.0, 1.0, 1.0]
    assert not restored.advance({"fall_rate": 0.0}, 30)


def test_a_share_rises_in_stages_by_steps():
    stages = (
        FeatureStage(add=("height",), share=0.25, after=50),
        FeatureStage(add=("height",), after=100),
    )
    prior = MotionPrior(LAYOUT, replace(CONFIG, features=("pose",), stages=stages))
    shares = []
    for env_steps in (0, 49, 50, 60, 100, 200):
        prior.advance({}, env_steps)
        shares.append(prior.discriminator.mask.tolist())
    assert [share[2] for share in shares] == [0.0, 0.0, 0.25, 0.25, 1.0, 1.0]
    assert all(share[:2] == [1.0, 1.0] for share in shares)


def test_derived_fields_are_judged_and_learned_from():
    """Feet that rise are told from feet that do not, by their vertical velocity alone."""
    frame = Layout(
        "amp", (Field("sole_pos", 6, "m", "-", ""), Field("height", 1, "m", "-", ""))
    )  # fmt: skip
    config = replace(CONFIG, features=("foot_vel_z",), batch_size=64, input_noise=0.1)
    prior = MotionPrior(frame, config)
    assert [field.name for field in prior.layout.fields] == ["sole_pos", "height", "foot_vel_z"]
    optimizer = torch.optim.Adam(prior.parameters(), 0.01)

    def rising(num: int, frames: int) -> Tensor:
        start = torch.randn(num, 1, 7).expand(-1, frames, -1).clone()
        start[..., 6] += 0.1 * torch.arange(frames)
        return start

    still = torch.randn(8, 30, 1, 7).expand(-1, -1, 2, -1)
    for iteration in range(20):
        prior.sample_batches(still, rising, iteration)
        for update in range(config.num_updates):
            optimizer.zero_grad()
            prior.loss(update)[0].backward()
            optimizer.step()
    rises, stays = (prior.style_reward(windows).mean() for windows in (
        rising(240, 2).unflatten(0, (8, 30)), still))  # fmt: skip
    assert rises > 0.9 and stays < 0.1


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="names elbow; a frame has pose, height"):
        MotionPrior(LAYOUT, replace(CONFIG, features=("elbow",)))


def test_all_of_the_fakes_may_be_of_the_past():
    prior = MotionPrior(LAYOUT, replace(CONFIG, replay_share=1.0))
    prior.sample_batches(torch.full((4, 6, 2, 3), 1.0), _reference, iteration=0)
    prior.sample_batches(torch.full((4, 6, 2, 3), 2.0), _reference, iteration=1)
    assert prior._fake.shape == (2, 10, 2, 3)
    assert (prior._fake == 1.0).all()


def _rollout(iteration: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frames before and after each step, and starts: all robots begin at home."""
    start = torch.full((6, 4), UNDER_WAY)
    start[:, 0] = AT_HOME if iteration == 0 else UNDER_WAY
    amp = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(iteration))
    return amp, amp.roll(-1, 1), start


REFERENCE_FRAMES = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)


def test_a_rollout_is_judged_by_its_windows():
    prior = MotionPrior(LAYOUT, replace(CONFIG, window=4))
    amp, next_amp, start = _rollout(0)
    windows = prior.history.windows(amp, next_amp, start, REFERENCE_FRAMES)
    # Before the episode the robot stood where it starts.
    past = torch.cat([amp[:, :1], amp[:, :1], amp], dim=1).unfold(1, 3, 1).mT
    torch.testing.assert_close(windows, torch.cat([past, next_amp[:, :, None]], dim=2))


def test_a_gated_ramp_counts_the_steps_of_an_open_gate():
    prior = MotionPrior(
        LAYOUT, replace(CONFIG, weight=0.8, ramp_start=10, ramp_end=50, ramp_gate=(0.6, 0.85))
    )
    weights = []
    for auc in (0.5, 0.6, 0.7, 0.99, 0.85, math.nan, 0.7, 0.8):
        prior.count_steps(10, auc)
        # The training's own steps do not count.
        weights.append(prior.weight(10**6))
    assert weights == pytest.approx([0.0, 0.0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.8])


def test_a_restored_prior_goes_on_as_it_would_have():
    config = replace(CONFIG, window=4, ramp_end=48, ramp_gate=(0.0, 1.0))
    prior = MotionPrior(LAYOUT, config)
    windows = prior.history.windows(*_rollout(0), REFERENCE_FRAMES)
    prior.count_steps(24, 0.5)
    prior.sample_batches(windows, _reference, iteration=0)
    restored = MotionPrior(LAYOUT, config)
    restored.load_state_dict(prior.state_dict())
    restored.load_resume_state(prior.resume_state(), "cpu")
    for one in (prior, restored):
        torch.manual_seed(5)
        windows = one.history.windows(*_rollout(1), REFERENCE_FRAMES)
        style = one.style_reward(windows)
        one.sample_batches(windows, _reference, iteration=1)
        assert one.weight(0) == 0.5
        if one is prior:
            expected = style, one._fake
    assert torch.equal(style, expected[0])
    assert torch.equal(restored._fake, expected[1])
