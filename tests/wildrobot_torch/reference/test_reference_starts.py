"""Which reference states are asked for as start states."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.layout import Field, Layout
from envs.task.commands import CommandConfig
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.starts import air_times, commanded_starts

WEIGHT = 30.0
"""m g [N]; a foot is loaded above 3 N."""


def _reference(*speeds: float) -> ReferenceDataset:
    count, length = len(speeds), 30
    return ReferenceDataset(
        amp=torch.zeros(count * length, 1),
        qpos=torch.arange(count).repeat_interleave(length)[:, None].expand(-1, 9).float(),
        qvel=torch.zeros(count * length, 8),
        foot_force=torch.zeros(count * length, 2),
        support_wrench=torch.zeros(count * length, 6),
        segment_start=torch.arange(count) * length,
        segment_length=torch.full((count,), length),
        segment_weight=torch.ones(count),
        segment_velocity=torch.tensor(speeds),
        segment_clip=("clip",) * count,
        segment_tier=("0+",) * count,
        segment_support=("none",) * count,
        ctrl_dt=0.02,
        amp_layout=Layout("amp", (Field("value", 1, "1", "none", "a value"),)),
        robot_digest="",
        manifest={},
    )


def test_reference_starts_are_those_whose_speed_is_asked_for():
    reference = _reference(0.0, 0.17, 0.3, 0.9)
    command = CommandConfig(velocity_min=0.2, velocity_max=0.4, standing_probability=0.0)
    qpos, qvel, velocity, frame, _ = commanded_starts(reference, command, WEIGHT)
    # 0.17 is near enough to be asked for 0.2; standing and 0.9 m/s are never asked for.
    assert set(qpos[:, 5].tolist()) == {1.0, 2.0}
    assert velocity.unique().tolist() == pytest.approx([0.2, 0.3])
    assert len(qpos) == len(qvel) == len(velocity)
    assert torch.equal(reference.qpos[frame, 5], qpos[:, 5])
    # The last 25 frames of a segment of 30 have less than 0.5 s after them.
    assert frame.tolist() == [*range(30, 35), *range(60, 65)]


def test_standing_starts_belong_where_standing_is_asked_for():
    command = CommandConfig(velocity_min=0.2, velocity_max=0.4, standing_probability=0.1)
    qpos, _, velocity, _, _ = commanded_starts(_reference(0.01, 0.3), command, WEIGHT)
    assert set(qpos[:, 5].tolist()) == {0.0, 1.0}
    assert velocity[qpos[:, 5] == 0.0].unique().tolist() == [0.0]


def test_a_reference_with_no_commanded_speed_is_refused():
    with pytest.raises(DatasetError, match=r"asks for 0\.2 to 0\.4 m/s.*0\.90 to 0\.90"):
        commanded_starts(
            _reference(0.9),
            CommandConfig(velocity_min=0.2, velocity_max=0.4, standing_probability=0.0),
            WEIGHT,
        )


def test_air_time_counts_from_the_last_loaded_frame_of_the_segment():
    reference = _reference(0.3, 0.3)
    force = torch.full((60, 2), 15.0)
    force[5:15, 0] = 2.0  # a complete swing of ten frames; 2 N is no contact
    force[28:34, 1] = 0.0  # it crosses from the first segment into the second
    air = air_times(replace(reference, foot_force=force), WEIGHT)
    assert air[4:16, 0].tolist() == pytest.approx([0.02 * n for n in (*range(11), 0)])
    assert air[27:30, 1].tolist() == pytest.approx([0.0, 0.02, 0.04])
    # Nobody saw the beginning in the second segment: as long as the longest complete swing.
    assert air[30:35, 1].tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.0])
