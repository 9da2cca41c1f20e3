"""wildrobot_torch.training.health.diagnostics: figures counted by hand or by brute force."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from envs.layout import Field, Layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.training.health.diagnostics import (
    diagnose,
    distinct_share,
    pairwise_distance,
    separation,
    style_statistics,
)

LAYOUT = Layout("amp", (Field("speed", 1, "m/s", "heading", ""), Field("pose", 2, "rad", "-", "")))


def test_separation_is_in_pooled_standard_deviations():
    # Feature 0: -1, 1 against 3, 7: means 0 and 5, variances 1 and 4, 5 / sqrt(2.5).
    # Feature 1: the same on both sides. Feature 2: two different constants.
    policy = torch.tensor([[[-1.0, 4.0, 1.0], [1.0, 6.0, 1.0]]])
    reference = torch.tensor([[[3.0, 6.0, 2.0], [7.0, 4.0, 2.0]]])
    apart, constant = separation(policy, reference)
    assert float(apart[0]) == pytest.approx(5.0 / math.sqrt(2.5))
    assert float(apart[1]) == 0.0
    assert float(apart[2]) > 1e5
    assert constant.tolist() == [False, False, True]
    # One side is enough.
    reference[..., 0] = 3.0
    assert separation(policy, reference)[1].tolist() == [True, False, True]


def test_style_statistics_of_known_rewards():
    # 0, 0, 1, ..., 9, 10 times each 0.05: 11 values and one more zero, in a rollout of 3 x 4
    reward = torch.tensor([0.0, *(0.05 * n for n in range(11))])[torch.randperm(12)].reshape(3, 4)
    found = {name: float(value) for name, value in style_statistics(reward).items()}
    assert found["style_reward"] == pytest.approx(55 * 0.05 / 12)
    assert found["style_reward_zero"] == pytest.approx(2 / 12)
    # Sorted values 0 to 11, the ranks 0.1 x 11, 0.5 x 11 and 0.9 x 11 rounded down: 1, 5 and 9.
    assert found["style_reward_p10"] == 0.0
    assert found["style_reward_p50"] == pytest.approx(4 * 0.05)
    assert found["style_reward_p90"] == pytest.approx(8 * 0.05)
    # mean square 385 / 12, squared mean (55 / 12)^2
    assert found["style_reward_std"] == pytest.approx(0.05 * math.sqrt(385 / 12 - (55 / 12) ** 2))


def test_diversity_of_copies_is_none():
    generator = torch.Generator().manual_seed(0)
    windows = torch.randn(10, 2, 3, generator=generator)
    assert float(distinct_share(windows)) == 1.0
    assert float(distinct_share(windows.repeat(4, 1, 1))) == 0.25
    # Permuted content is other content.
    assert float(distinct_share(torch.stack([windows[0], windows[0].flip(0)]))) == 1.0
    flat = windows.flatten(1)
    squares = [
        float((a - b).square().sum())
        for i, a in enumerate(flat)
        for j, b in enumerate(flat)
        if i != j
    ]
    expected = math.sqrt(sum(squares) / len(squares))
    assert float(pairwise_distance(flat)) == pytest.approx(expected, rel=1e-5)
    assert float(pairwise_distance(flat[:1].expand(5, -1))) == 0.0


def _prior(loss: str, slope: float, **more: object) -> MotionPrior:
    """A prior whose logit is `slope` times the speed in the last frame of a window."""
    prior = MotionPrior(LAYOUT, AMPConfig(loss=loss, hidden=(2,), **more))  # pyright: ignore
    first, last = (m for m in prior.discriminator.net if isinstance(m, nn.Linear))
    features = LAYOUT.size
    with torch.no_grad():
        for layer in (first, last):
            layer.weight.zero_()
            layer.bias.zero_()
        # relu(x) - relu(-x) is x
        first.weight[0, features], first.weight[1, features] = 1.0, -1.0
        last.weight[0, 0], last.weight[0, 1] = slope, -slope
    return prior


def _windows(speed: list[float]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    windows = torch.randn(len(speed), 2, 3, generator=generator)
    windows[:, 1, 0] = torch.tensor(speed)
    return windows


def _metrics(loss: str, *windows_and_style: Tensor | None) -> dict[str, float]:
    prior = _prior(loss, 1.0, features=("speed", "pose"))
    return diagnose(prior, *windows_and_style)  # pyright: ignore


def test_a_prior_is_described_by_its_logits():
    policy, reference = _windows([-2.0, -1.0, 0.5, -0.5]), _windows([2.0, 1.0, 0.0, -1.0])
    held_out = _windows([3.0, 3.0, 3.0, -3.0])
    style = torch.full((2, 4), 0.25)
    found = _metrics("lsgan", policy, reference, held_out, style)
    # A fresh normaliser divides by sqrt(1 + 1e-6).
    assert found["AMP/logit_real"] == pytest.approx(0.5, abs=1e-5)
    assert found["AMP/logit_fake"] == pytest.approx(-0.75, abs=1e-5)
    assert found["AMP/logit_held_out"] == pytest.approx(1.5, abs=1e-5)
    # Reference right twice of 4, policy three times of 4.
    assert found["AMP/accuracy"] == pytest.approx(0.625)
    # Of 16 pairs: 2 and 1 win 4 each, 0 wins 3, -1 wins 1 and ties 1.
    assert found["AMP/auc"] == pytest.approx(12.5 / 16)
    # 3 wins all, -3 none.
    assert found["AMP/auc_held_out"] == pytest.approx(0.75)
    assert (found["AMP/saturated_real"], found["AMP/saturated_fake"]) == (0.5, 0.5)
    assert (found["AMP/style_reward"], found["AMP/style_reward_std"]) == (0.25, 0.0)
    assert found["AMP/near_constant"] == 0.0
    assert {"AMP/separation/speed", "AMP/separation/pose"} <= found.keys()
    without = _metrics("lsgan", policy, reference, None, style)
    assert found.keys() - without.keys() == {"AMP/auc_held_out", "AMP/logit_held_out"}


def test_the_middle_of_the_targets_is_that_of_the_loss():
    policy, reference = _windows([0.4, 0.4]), _windows([0.6, 0.4])
    style = torch.zeros(1, 2)
    # {0, 1}: the middle is 0.5, where +-1 would take all for reference.
    shared = _metrics("lsgan01", policy, reference, None, style)
    assert shared["AMP/accuracy"] == pytest.approx(0.75)
    canonical = _metrics("lsgan", policy, reference, None, style)
    assert canonical["AMP/accuracy"] == pytest.approx(0.5)


def test_what_the_discriminator_does_not_see_is_told_apart():
    policy, reference = _windows([0.0, 1.0]), _windows([1.0, 0.0])
    policy[..., 1:] = 0.0  # constant, and masked
    prior = _prior("lsgan", 1.0, features=("speed",))
    found = diagnose(prior, policy, reference, None, torch.zeros(1, 2))
    assert found["AMP/near_constant"] == 0.0
    assert "AMP/separation/speed" in found and "AMP/separation/pose" not in found
    assert "AMP/separation_unseen/pose" in found


def test_looking_changes_nothing():
    prior = MotionPrior(LAYOUT, AMPConfig(features=("speed", "pose"), spectral_norm=True))
    prior.discriminator.train()
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    windows = torch.randn(3, 8, 2, 3)
    found = diagnose(prior, *windows, torch.rand(3, 1))
    assert 0.0 <= found["AMP/auc_held_out"] <= 1.0
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())
