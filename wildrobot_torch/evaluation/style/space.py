"""The features that are compared, and the space in which their windows are.

The space is fitted to the training reference, once for all policies that are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.layout import Layout

FIELDS = ("gravity", "linvel", "angvel", "joint_pos", "joint_vel", "sole_pos")
"""Style features that are compared, whichever of them a motion prior sees.

Contacts and height are left out: both differ between floors and engines.
"""
FRAMES = 6
"""Frames in a window: 0.1 s from the first to the last at 50 Hz."""
VARIANCE = 0.99
"""Share of the reference's variance that the principal components keep."""
LEAST_STD = 0.1
"""Least scale of a dimension over its field's: nearly constant ones are not blown up further."""


def compared(layout: Layout) -> Layout:
    """Layout of the compared features: the fields `FIELDS` of the style features' layout."""
    return Layout(layout.name, tuple(f for f in layout.fields if f.name in FIELDS))


def compared_features(amp: Tensor, layout: Layout) -> Tensor:
    """The columns (..., F) of `compared(layout)` among style features (..., S) of `layout`."""
    parts = layout.unpack(amp)
    return torch.cat([parts[f.name] for f in compared(layout).fields], dim=-1)


def windows(features: Tensor, valid: Tensor, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """All windows (N, frames, F) of valid steps, and the numbers (N,) of their episodes.

    `features` are (T, E, F), `valid` is (T, E) bool.
    """
    if features.shape[0] < frames:
        return features.new_empty(0, frames, features.shape[-1]), torch.empty(0).long()
    whole = valid.unfold(0, frames, 1).all(-1)
    episode, start = whole.T.nonzero().unbind(-1)
    steps = start[:, None] + torch.arange(frames)
    return features[steps, episode[:, None]], episode


@dataclass(frozen=True)
class Space:
    """Scales of single frames, and a whitened basis of windows."""

    mean: Tensor
    """(F,) of a frame."""
    scale: Tensor
    """(F,): standard deviation of a frame, kept from vanishing."""
    center: Tensor
    """(K F,) of a normalised window."""
    basis: Tensor
    """(K F, D): principal components over the square roots of their variances."""

    @classmethod
    def fit(cls, windows: Tensor, layout: Layout) -> Space:
        """Space of the training reference's windows (N, K, F), whose frames have a `layout`.

        Frames are normalised by mean and standard deviation; a dimension's standard deviation
        counts as at least `LEAST_STD` of its field's root mean square. Of the normalised windows
        the principal components with `VARIANCE` of the variance are kept and scaled to unit
        variance, so that a covariance in this space is never singular.
        """
        frames = windows.flatten(0, 1).double()
        std, mean = torch.std_mean(frames, dim=0, correction=0)
        scale = std.clone()
        for where in layout.slices.values():
            scale[where] = std[where].clamp(
                min=LEAST_STD * float(std[where].square().mean().sqrt())
            )
        scale = scale.clamp(min=1e-6)
        flat = ((windows.double() - mean) / scale).flatten(1)
        center = flat.mean(0)
        centered = flat - center
        variance, vector = torch.linalg.eigh(centered.T @ centered / len(flat))
        variance, vector = variance.flip(0), vector.flip(1)
        kept = int((variance.cumsum(0) < VARIANCE * variance.sum()).sum()) + 1
        basis = vector[:, :kept] / variance[:kept].sqrt()
        return cls(mean, scale, center, basis)

    def normalize(self, features: Tensor) -> Tensor:
        """Frames (..., F) in units of the reference's standard deviations, float64."""
        return (features.double() - self.mean) / self.scale

    def whiten(self, windows: Tensor) -> Tensor:
        """Windows (N, K, F) in the whitened basis (N, D), float64."""
        return (self.normalize(windows).flatten(1) - self.center) @ self.basis
