"""Repaired clips: feet stand still, the zero-moment point is on the soles, no more moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from envs.robot.model import load_robot
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.feedforward import carried, inverse_dynamics
from wildrobot_torch.motion.kinematics import legs_of, sole_corners, soles
from wildrobot_torch.motion.read.files import load_clip
from wildrobot_torch.motion.repair.planting import PlantingConfig, plant, planted_feet
from wildrobot_torch.motion.synthesis.walk import WalkConfig, standing_clip, walking_clip

MODEL = load_robot()
ROBOT = MODEL.robot
LEGS = legs_of(ROBOT)
CAPTURED = Path("../shared/motions/cmu/69_walk_forward_02.amc")


def lateral_lack(clip: Clip) -> np.ndarray:
    """How far (N,) [m] the zero-moment point is beyond the sides of the soles that carry."""
    zmp = inverse_dynamics(clip, MODEL)[1][:, 1]
    side, half = soles(LEGS, clip)[..., 1], ROBOT.leg.sole_width / 2.0
    carries = carried(LEGS, clip) > 1e-6
    low = np.where(carries, side - half, np.inf).min(1)
    high = np.where(carries, side + half, -np.inf).max(1)
    return np.maximum(low - zmp, 0.0) + np.maximum(zmp - high, 0.0)


def swayless() -> Clip:
    """A walk whose trunk stays midway between the feet: out of balance on either foot."""
    return walking_clip(ROBOT, 0.25, 3.0, config=WalkConfig(sway=0.0, margin=0.05))


def test_the_trunk_comes_over_the_feet() -> None:
    before, after = lateral_lack(swayless()), lateral_lack(plant(swayless(), MODEL))
    assert np.quantile(before, 0.95) > 0.03
    assert np.quantile(after, 0.95) < 0.006


def test_a_sliding_stance_is_planted() -> None:
    """Every foot drags 2 cm per second forwards; afterwards each stance is in one place."""
    walk = walking_clip(ROBOT, 0.25, 3.0)
    drag = 0.02 * np.arange(walk.num_frames) / walk.fps
    dragged = replace(walk, root_pos=walk.root_pos + np.stack([drag, 0 * drag, 0 * drag], -1))
    paths = planted_feet(dragged, ROBOT, PlantingConfig())
    planted = plant(dragged, MODEL, PlantingConfig(rounds=0))
    for side, path in enumerate(paths):
        stands = path.sole[:, 2] == 0.0
        both = stands[1:] & stands[:-1]
        assert both.mean() > 0.4
        assert np.abs(np.diff(path.sole[:, :2], axis=0)[both]).max() < 1e-12
        moved = np.abs(np.diff(soles(LEGS, planted)[:, side, :2], axis=0))[both]
        assert np.quantile(moved, 0.95) < 0.02 / walk.fps  # heels rise at the end of a stance
    assert sole_corners(LEGS, planted)[..., 2].min() > -1e-3


def test_what_is_in_order_stays() -> None:
    stand = standing_clip(ROBOT, 1.0, crouch=0.02)
    planted = plant(stand, MODEL)
    assert np.abs(planted.joint_pos - stand.joint_pos).max() < 2e-3
    assert np.abs(planted.root_pos - stand.root_pos).max() < 2e-3
    assert planted.source.endswith("planted")


def test_joints_keep_off_their_stops() -> None:
    planted = plant(swayless(), MODEL)
    low, high = ROBOT.joint_range.double().numpy().T
    margin = PlantingConfig().margin
    assert (planted.joint_pos >= low + margin - 1e-9).all()
    assert (planted.joint_pos <= high - margin + 1e-9).all()


def test_a_captured_walk_becomes_one_in_balance() -> None:
    if not CAPTURED.is_file():
        pytest.skip(f"{CAPTURED} is not here")
    clip = load_clip(CAPTURED, ROBOT)
    planted = plant(clip, MODEL)
    assert np.quantile(lateral_lack(clip), 0.95) > 0.04
    assert np.quantile(lateral_lack(planted), 0.95) < 0.01
    assert planted.mean_speed == pytest.approx(clip.mean_speed, rel=0.05)
    assert planted.num_frames == clip.num_frames


def test_refusals_name_the_clip_and_the_foot() -> None:
    with pytest.raises(UserError, match=r"PlantingConfig\.margin.*0\.2"):
        PlantingConfig(margin=3.0)
    stand = standing_clip(ROBOT, 1.0)
    sliding = np.stack([np.arange(51) / 50.0, np.zeros(51), np.zeros(51)], -1)
    gliding = replace(stand, root_pos=stand.root_pos + sliding)
    with pytest.raises(ClipError, match="'stand': the left foot never stands"):
        plant(gliding, MODEL)
