"""Arithmetic of time series: low-pass, smooth steps, and stretches of true frames."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt

from wildrobot_torch.motion.rotations import Array, Flags


def low_pass(series: Array, cutoff_hz: float, fps: float, pad: int | None = None) -> Array:
    """`series` (N, ...) without what is faster than `cutoff_hz`, not delayed.

    Butterworth of second order, forward and backward along the first axis; a cut-off at or beyond
    half the rate changes nothing.

    Args:
        series: (N, ...).
        cutoff_hz: [Hz].
        fps: samples per second [1/s].
        pad: frames by which the ends are continued by reflection; None takes a period of the
            cut-off. At most N - 1.
    """
    if cutoff_hz >= 0.5 * fps:
        return series.copy()
    pad = min(len(series) - 1, round(fps / cutoff_hz) if pad is None else pad)
    return sosfiltfilt(butter(2, cutoff_hz, fs=fps, output="sos"), series, axis=0, padlen=pad)


def smoothstep(share: Array) -> Array:
    """Cubic from 0 at 0 to 1 at 1, level at both ends and beyond them."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def runs(flags: Flags) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of true frames (N,), stop exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
