"""wildrobot_torch.amp.discriminator: normalised and masked windows, rewards by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from envs.errors import UserError
from envs.layout import Field, Layout
from wildrobot_torch.amp.discriminator import Discriminator, feature_mask, style_reward

LAYOUT = Layout("amp", (Field("pose", 2, "rad", "-", ""), Field("speed", 1, "m/s", "-", "")))


def test_all_frames_of_a_window_are_normalised_alike():
    disc = Discriminator(1, hidden=(4,))
    # of 2, 4 and 6, 8: mean 5, variance 5
    disc.normalizer.update(
        torch.cat([torch.tensor([[[2.0], [4.0]]]), torch.tensor([[[6.0], [8.0]]])])
    )
    normalized = disc.normalize(torch.tensor([[[5.0], [10.0]]]))
    torch.testing.assert_close(normalized, torch.tensor([[0.0, 5.0**0.5]]))


@pytest.mark.parametrize("window", [1, 2, 6])
def test_one_logit_per_window(window: int):
    disc = Discriminator(3, hidden=(4,), window=window)
    assert disc(disc.normalize(torch.randn(7, window, 3))).shape == (7,)
    assert disc.net[-1].weight.shape == (1, 4)


def test_masks_name_fields():
    assert feature_mask(LAYOUT, {"speed": 1.0}).tolist() == [0.0, 0.0, 1.0]
    assert feature_mask(LAYOUT, {"speed": 0.5, "pose": 1.0}).tolist() == [1.0, 1.0, 0.5]
    with pytest.raises(UserError, match="names height; a frame has pose, speed, linvel_direction"):
        feature_mask(LAYOUT, {"height": 1.0, "pose": 1.0})


def test_what_is_masked_is_not_seen_and_has_no_gradient():
    disc = Discriminator(3, hidden=(8,), activation="tanh", mask=torch.tensor([1.0, 1.0, 0.0]))
    raw = torch.randn(5, 2, 3)
    other = raw.clone()
    other[..., 2] += 100.0
    assert torch.equal(disc(disc.normalize(raw)), disc(disc.normalize(other)))
    normalized = torch.randn(5, 6, requires_grad=True)
    disc(normalized).sum().backward()
    assert normalized.grad is not None
    gone = normalized.grad[:, [2, 5]]
    assert gone.abs().max() == 0.0
    assert normalized.grad[:, [0, 1, 3, 4]].abs().min() > 0.0


def test_a_share_of_a_feature_scales_it_once():
    """In the logit; the gradient penalty is taken at what the network is given."""
    disc = Discriminator(3, hidden=(8,), mask=torch.tensor([1.0, 1.0, 0.3]))
    raw = torch.randn(5, 2, 3)
    third = raw * torch.tensor([1.0, 1.0, 0.3])
    shared = disc(disc.normalize(raw))
    disc.mask.fill_(1.0)
    torch.testing.assert_close(shared, disc(disc.normalize(third)))


def test_a_feature_shown_later_changes_nothing_until_it_is_learned():
    disc = Discriminator(3, hidden=(8,), mask=torch.tensor([1.0, 1.0, 0.0]))
    raw = torch.randn(5, 2, 3)
    before = disc(disc.normalize(raw))
    disc.mask.fill_(1.0)
    torch.testing.assert_close(disc(disc.normalize(raw)), before)
    disc(disc.normalize(raw)).sum().backward()
    weight = disc.net[0].weight
    assert weight.grad is not None
    assert weight.grad[:, 2].abs().max() > 0.0


def test_a_spectrally_normalised_discriminator_is_1_lipschitz():
    torch.manual_seed(0)
    disc = Discriminator(2, hidden=(16, 16), spectral_norm=True)
    for layer in disc.net:
        if isinstance(layer, nn.Linear):
            for _ in range(100):
                disc(torch.zeros(1, 4))
            assert torch.linalg.matrix_norm(layer.weight, ord=2).item() == pytest.approx(1.0, 1e-3)
    disc.eval()
    a, b = torch.randn(200, 4), torch.randn(200, 4)
    with torch.no_grad():
        assert ((disc(a) - disc(b)).abs() <= 1.001 * (a - b).norm(dim=-1)).all()


def test_canonical_reward_of_known_logits():
    # 1 at the reference's target, 3/4 where undecided, 0 at the policy's target and beyond 3
    logits = torch.tensor([1.0, 0.0, -1.0, -5.0, 2.0, 3.0])
    assert style_reward(logits).tolist() == [1.0, 0.75, 0.0, 0.0, 0.75, 0.0]


@pytest.mark.parametrize("reward", ["canonical", "clipped"])
def test_rewards_are_the_same_at_the_targets_whatever_the_loss(reward: str):
    far = math.inf
    targets = {"lsgan": (-1.0, 0.0, 1.0), "lsgan01": (0.0, 0.5, 1.0), "bce": (-far, 0.0, far)}
    undecided = {"canonical": 0.75, "clipped": 0.5}[reward]
    for loss, logits in targets.items():
        assert style_reward(torch.tensor(logits), loss, reward).tolist() == [0.0, undecided, 1.0]


def test_clipped_reward_is_linear_between_the_targets():
    logits = torch.tensor([-2.0, -0.5, 0.5, 4.0])
    assert style_reward(logits, "lsgan", "clipped").tolist() == [0.0, 0.25, 0.75, 1.0]
    # The chance of being reference: odds of 3 to 1.
    assert style_reward(torch.tensor(math.log(3.0)), "bce", "clipped").item() == pytest.approx(0.75)
