"""Tests of the space that windows are compared in."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.evaluation.style.space import Space

LAYOUT = Layout("amp", (Field("a", 2, "1", "body", ""), Field("b", 1, "1", "body", "")))


def test_the_reference_is_white_in_its_own_space() -> None:
    frames = torch.randn(4000, 3, 3) @ torch.tensor([[5.0, 1, 0], [0, 2, 0], [0, 0, 0.1]])
    space = Space.fit(frames + 7.0, LAYOUT)
    white = space.whiten(frames + 7.0)
    assert white.mean(0).abs().max() < 1e-6
    assert torch.allclose(torch.cov(white.T), torch.eye(white.shape[1]).double(), atol=1e-3)


def test_a_dimension_that_hardly_varies_is_not_blown_up() -> None:
    frames = torch.randn(1000, 2, 3) * torch.tensor([2.0, 1e-6, 3.0])
    space = Space.fit(frames, LAYOUT)
    # Root mean square of the field's deviations is 2 / sqrt 2; a tenth of it is the floor.
    assert space.scale.tolist() == pytest.approx([2.0, 0.1414, 3.0], rel=0.1)


def test_directions_without_variance_are_left_out() -> None:
    walk = torch.randn(2000, 1, 1) * torch.ones(1, 4, 3)
    assert Space.fit(walk, LAYOUT).basis.shape == (12, 1)
