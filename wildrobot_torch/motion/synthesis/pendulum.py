"""Centre-of-mass motion over given footsteps: the linear inverted pendulum in closed form.

Over a centre of mass at constant height the horizontal dynamics are x'' = w^2 (x - p) with
w = sqrt(g / z) and p the zero-moment point (Kajita et al., "The 3D linear inverted pendulum mode",
IROS 2001). Its unstable half is the divergent component of motion xi = x + x'/w, with
xi' = w (xi - p), which has to be solved backwards from where the walk ends (Englsberger, Ott and
Albu-Schaeffer, "Three-dimensional bipedal walking control based on divergent component of motion",
IEEE T-RO 31(2), 2015). Here p is piecewise linear in time, for which both halves have closed forms;
preview control (Kajita et al., ICRA 2003) approximates the same trajectory numerically.
"""

from __future__ import annotations

import numpy as np

from wildrobot_torch.motion.rotations import Array

COM_HEIGHT = 0.66
"""Height of the centre of mass over the floor, as a share of the straight leg."""


def com_over_zmp(knots: Array, zmp: Array, omega: float, times: Array) -> Array:
    """Centre of mass (N, D) [m] at times (N,) [s], increasing, within the knots (K,) [s].

    Its zero-moment point is `zmp` (K, D) [m] at the knots, and linear in between; `omega` is w
    [1/s]. It starts and ends at rest over the first and last point; what the pendulum would have to
    do before the first knot is cut off, so let the first and last piece be standing.
    """
    span = np.diff(knots)[:, None]
    slope = np.diff(zmp, axis=0) / span
    # On a piece, xi = p + slope / w + c e^{w t}. Backwards this is stable.
    dcm = np.empty_like(zmp)
    dcm[-1] = zmp[-1]
    for i in range(len(span) - 1, -1, -1):
        end = zmp[i + 1] + slope[i] / omega
        dcm[i] = zmp[i] + slope[i] / omega + (dcm[i + 1] - end) * np.exp(-omega * span[i])
    # x' = w (xi - x): on a piece x = p + (c / 2) e^{w t} + d e^{-w t}. Forwards this is stable.
    com = np.empty_like(zmp)
    com[0] = zmp[0]
    grow = (dcm[:-1] - zmp[:-1] - slope / omega) / 2.0
    fade = np.empty_like(grow)
    for i in range(len(span)):
        fade[i] = com[i] - zmp[i] - grow[i]
        e = np.exp(omega * span[i])
        com[i + 1] = zmp[i + 1] + grow[i] * e + fade[i] / e
    piece = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(span) - 1)
    t = (times - knots[piece])[:, None]
    moved = zmp[piece] + slope[piece] * t + grow[piece] * np.exp(omega * t)
    return moved + fade[piece] * np.exp(-omega * t)
