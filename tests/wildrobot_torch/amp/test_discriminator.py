"""wildrobot_torch.amp.discriminator: windows, and how they are normalised."""

from __future__ import annotations

import torch

from wildrobot_torch.amp.discriminator import Discriminator, windows


def test_windows_pair_each_state_with_the_one_after_it():
    pairs = windows(torch.zeros(2, 4, 3), torch.ones(2, 4, 3))
    assert pairs.shape == (2, 4, 2, 3)
    assert pairs[0, 0, :, 0].tolist() == [0.0, 1.0]


def test_both_frames_of_a_window_are_normalised_alike():
    disc = Discriminator(1, hidden=(4,))
    # of 2, 4 and 6, 8: mean 5, variance 5
    disc.update_normalizer(torch.tensor([[[2.0], [4.0]]]), torch.tensor([[[6.0], [8.0]]]))
    normalized = disc.normalize(torch.tensor([[[5.0], [10.0]]]))
    torch.testing.assert_close(normalized, torch.tensor([[0.0, 5.0**0.5]]))


def test_one_logit_per_window():
    disc = Discriminator(3, hidden=(4,))
    assert disc(disc.normalize(torch.randn(7, 2, 3))).shape == (7,)
    assert disc.output_weight.shape == (1, 4)
