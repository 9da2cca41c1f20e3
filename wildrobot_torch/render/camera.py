"""Where a picture is taken from: a camera that follows the robot's root at a fixed height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

GHOST = np.array([0.30, 0.47, 0.78, 0.55])
"""Colour and opacity (4,) of a ghost: what the robot was to do, drawn beside what it does."""


@dataclass(frozen=True)
class View:
    """Position of the camera relative to the point it looks at, as MuJoCo's free camera has it."""

    azimuth: float = 125.0
    """Direction the camera looks in, about the vertical [deg]; 90 looks along +y."""
    elevation: float = -14.0
    """Direction the camera looks in, above the horizon [deg]."""
    distance: float = 1.3
    """[m]."""
    height: float = 0.31
    """Of the point looked at [m]."""

    def pose(self, target: Array) -> tuple[Array, Array]:
        """Eye (3,) [m] and rotation (3, 3) whose rows are right, up and back, world frame."""
        a, e = np.deg2rad([self.azimuth, self.elevation])
        forward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.array([np.sin(a), -np.cos(a), 0.0])
        axes = np.stack([right, np.cross(right, forward), -forward])
        return target - self.distance * forward, axes


def follow(qpos: Array, view: View, frames_per_second: float, smooth_s: float = 0.6) -> Array:
    """Points (T, 3) [m] to look at: the root's place averaged over time, at the view's height.

    Averaging over `smooth_s` [s] keeps the swing of the trunk (T, nq) in the picture instead of in
    the camera.
    """
    half = max(0, round(smooth_s * frames_per_second / 2))
    number = len(qpos)
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(qpos[:, :2].astype(float), axis=0)])
    # Windows shrink evenly on both sides near the ends, so that the average never lags.
    reach = np.minimum(half, np.minimum(np.arange(number), number - 1 - np.arange(number)))
    low, high = np.arange(number) - reach, np.arange(number) + reach + 1
    mean = (total[high] - total[low]) / (high - low)[:, None]
    return np.column_stack([mean, np.full(number, view.height)])
