"""A figure's motion, turned: worked by hand."""

from __future__ import annotations

import math

import numpy as np

from wildrobot_torch.motion.read.skeleton import NEEDED_ROLES, SkeletonMotion


def test_a_quarter_turn_takes_places_and_orientations_along() -> None:
    ahead = np.array([[1.0, 0.0, 0.5]] * 3)
    upright = np.array([[1.0, 0.0, 0.0, 0.0]] * 3)
    positions = dict.fromkeys(NEEDED_ROLES, ahead)
    motion = SkeletonMotion("made", 60.0, "made", {}, positions, {"pelvis": upright})
    turned = motion.turned(math.pi / 2.0)
    np.testing.assert_allclose(turned.positions["left_knee"], [[0.0, 1.0, 0.5]] * 3, atol=1e-12)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(turned.rotations["pelvis"], [[half, 0.0, 0.0, half]] * 3, atol=1e-12)
