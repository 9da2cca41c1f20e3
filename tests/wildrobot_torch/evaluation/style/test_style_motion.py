"""Tests of motion as style metrics see it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.evaluation.style.motion import (
    SOLE,
    Motion,
    leg_points,
    reference_recording,
    steady_walking,
)
from wildrobot_torch.evaluation.style.space import FIELDS, compared
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset


def test_the_first_31_features_are_compared_by_name(robot: RobotSpec) -> None:
    layout = compared(amp_layout(robot))
    assert layout.size == 31 and tuple(layout.slices) == FIELDS


def test_points_of_legs_by_hand(robot: RobotSpec) -> None:
    # All joints at zero: straight legs. Turned about the vertical, the heading frame turns too.
    qpos = torch.zeros(2, robot.home_qpos.shape[0])
    qpos[0, 3] = 1.0
    qpos[1, 3:7] = torch.tensor([0.6, 0.0, 0.0, 0.8])
    points = leg_points(qpos, robot)
    assert torch.allclose(points[0], points[1], atol=1e-6)
    hip, knee, ankle, toe, _ = points[0, 0]
    leg = robot.leg
    assert hip.tolist() == pytest.approx(leg.hip_pitch_pos, abs=1e-6)
    assert float(hip[2] - knee[2]) == pytest.approx(leg.thigh, abs=1e-3)
    assert float(knee[2] - ankle[2]) == pytest.approx(leg.shank, abs=1e-4)
    assert float(toe[0] - ankle[0]) == pytest.approx(leg.toe, abs=1e-6)
    assert float(ankle[2] - toe[2]) == pytest.approx(leg.ankle_height, abs=1e-6)
    # The right leg is the left one's mirror image.
    flip = torch.tensor([1.0, -1.0, 1.0])
    assert torch.allclose(points[0, 1], points[0, 0] * flip, atol=1e-6)


def test_soles_are_where_the_engine_has_them(walks: ReferenceDataset, robot: RobotSpec) -> None:
    sensed = walks.amp_layout.unpack(walks.amp)["sole_pos"]
    soles = leg_points(walks.qpos, robot)[:, :, SOLE]
    assert torch.allclose(soles.flatten(1), sensed, atol=2e-3)


def test_a_reference_becomes_stretches(walks: ReferenceDataset, robot: RobotSpec) -> None:
    standing = replace(
        walks,
        qvel=torch.where(torch.arange(len(walks.amp))[:, None] < 251, 0.0, walks.qvel),
    )
    assert int(walks.segment_length[0]) == 251
    recording, names = reference_recording(standing, robot)
    # The first now stands; the others walk from their first frame on.
    assert names == walks.segment_clip[1:]
    assert recording.valid.all() and recording.valid.shape == (251, 5)
    assert recording.command.tolist() == pytest.approx([0.15, 0.2, 0.25, 0.3, 0.35], abs=0.03)
    assert recording.torque is None
    # Soles in the world: those in stance stay where they are.
    slip = recording.sole_linvel_w[..., :2].norm(dim=-1)[recording.foot_force > 1.0]
    assert float(slip.median()) < 0.02
    nothing = replace(walks, qvel=torch.zeros_like(walks.qvel))
    with pytest.raises(DatasetError, match="walks for a second"):
        reference_recording(nothing, robot)


def test_only_steady_walking_is_left_of_a_walk_from_rest_to_rest(
    walks: ReferenceDataset, robot: RobotSpec
) -> None:
    qvel = walks.qvel.clone()
    qvel[:60] = qvel[200:251] = 0.0
    recording, names = reference_recording(replace(walks, qvel=qvel), robot)
    assert names[0] == "walk_0.10"
    # The average over a second falls below nine tenths within five frames of either end.
    kept = int(recording.valid[:, 0].sum())
    assert 90 <= kept <= 140 and int(recording.valid[:, 1].sum()) == 251
    steady = recording.velocity[:kept, 0]
    assert float(steady.mean()) == pytest.approx(0.1, rel=0.1)


def test_the_longest_steady_part_by_hand() -> None:
    speed = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.95, 1.0, 1.0, 0.5])
    assert steady_walking(speed, 1) == (5, 8)
    assert steady_walking(torch.full((4,), 0.3), 50) == (0, 4)
    assert steady_walking(torch.full((4,), -1e-3), 2) == (0, 4)
    # A sway within the average is no stop.
    assert steady_walking(torch.tensor([0.1, 0.5] * 10), 2) == (0, 20)


def test_windows_stay_within_stretches(walks: ReferenceDataset, robot: RobotSpec) -> None:
    recording, names = reference_recording(walks, robot)
    valid = recording.valid.clone()
    valid[10:, 0] = False
    motion = Motion.of(replace(recording, valid=valid), robot, walks.amp_layout, names)
    windows, episode = motion.select(names[:2]).windows()
    assert episode.bincount().tolist() == [5, 246]
    assert torch.equal(windows[0], walks.amp[:6, :31])
    assert torch.equal(windows[5], walks.amp[251:257, :31])
