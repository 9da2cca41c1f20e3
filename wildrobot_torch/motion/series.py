"""Arithmetic of time series: low-pass, running mean, smooth steps, and stretches of true frames."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from wildrobot_torch.motion.rotations import Array, Flags


def low_pass(series: Array, cutoff_hz: float, fps: float, pad: int | None = None) -> Array:
    """`series` (N, ...) at `fps` [1/s] without what is faster than `cutoff_hz`, not delayed.

    Butterworth of second order, forward and backward along the first axis; a cut-off at or beyond
    half the rate changes nothing. Reflection continues the ends by `pad` frames, at most N - 1; by
    a period of the cut-off where None.
    """
    if cutoff_hz >= 0.5 * fps:
        return series.copy()
    pad = min(len(series) - 1, round(fps / cutoff_hz) if pad is None else pad)
    return sosfiltfilt(butter(2, cutoff_hz, fs=fps, output="sos"), series, axis=0, padlen=pad)


def running_mean(values: Tensor, width: int) -> Tensor:
    """Mean (N, ...) of values (N, ...) over the `width` steps around each of them, float64.

    Near the ends the window stays whole and is off centre, or half a stride would count as a speed.
    """
    num = len(values)
    width = min(width, num)
    total = torch.cat([torch.zeros_like(values[:1]).double(), values.double().cumsum(0)])
    low = (torch.arange(num) - width // 2).clamp(0, num - width)
    return (total[low + width] - total[low]) / width


def smoothstep(share: Array) -> Array:
    """Cubic from 0 at 0 to 1 at 1, level at both ends and beyond them."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def runs(flags: Flags) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of true frames (N,), stop exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
