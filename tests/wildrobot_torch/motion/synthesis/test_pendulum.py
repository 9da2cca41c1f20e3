"""The pendulum's trajectory against the differential equation it solves."""

from __future__ import annotations

import numpy as np
import pytest

from wildrobot_torch.motion.synthesis.pendulum import com_over_zmp

KNOTS = np.array([0.0, 1.0, 1.1, 1.4, 1.5, 1.8, 1.9, 2.9])
ZMP = np.array([0.0, 0.0, 0.1, 0.12, -0.1, -0.05, 0.02, 0.02])[:, None]


def test_acceleration_puts_the_zero_moment_point_where_it_was_asked() -> None:
    dt, omega = 1e-4, 5.6
    t = np.arange(0.0, 2.9, dt)
    x = com_over_zmp(KNOTS, ZMP, omega, t)[:, 0]
    acceleration = (x[2:] - 2.0 * x[1:-1] + x[:-2]) / dt**2
    zmp = x[1:-1] - acceleration / omega**2
    assert np.abs(zmp - np.interp(t[1:-1], KNOTS, ZMP[:, 0])).max() < 2e-4


def test_position_and_velocity_have_no_jumps_and_it_ends_at_rest_over_the_last_point() -> None:
    t = np.linspace(0.0, 2.9, 5801)
    x = com_over_zmp(KNOTS, ZMP, 5.6, t)[:, 0]
    velocity = np.diff(x) / np.diff(t)
    # At most omega^2 times the largest distance from the zero-moment point: 31 * 0.2 m/s^2.
    assert np.abs(np.diff(velocity)).max() < 6.5 * (t[1] - t[0])
    assert x[-1] == pytest.approx(0.02, abs=1e-3)
    assert velocity[-1] == pytest.approx(0.0, abs=1e-2)


def test_standing_stays() -> None:
    x = com_over_zmp(np.array([0.0, 1.0, 2.0]), np.full((3, 2), 0.03), 5.0, np.linspace(0, 2, 9))
    assert np.allclose(x, 0.03)
