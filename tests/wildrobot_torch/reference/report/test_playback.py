"""Tests of wildrobot_torch/reference/report/playback.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.motion.clip import Clip, clip_states
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.generate import clip_hash
from wildrobot_torch.reference.report.playback import playback


@pytest.fixture(scope="module")
def clip(robot: RobotSpec) -> Clip:
    return walking_clip(robot, 0.2, 1.0)


@pytest.fixture
def dataset(robot: RobotSpec, clip: Clip) -> ReferenceDataset:
    """Frames 21 to 29 of the clip, then 1 to 6, each a centimetre too high."""
    layout = amp_layout(robot)
    qpos = clip_states(clip, robot)[0][[*range(21, 30), *range(1, 7)]]
    qpos[:, 2] += 0.01
    return ReferenceDataset(
        amp=torch.zeros(15, layout.size),
        qpos=qpos,
        qvel=torch.zeros(15, 14),
        foot_force=torch.zeros(15, 2),
        support_wrench=torch.zeros(15, 6),
        segment_start=torch.tensor([0, 9]),
        segment_length=torch.tensor([9, 6]),
        segment_weight=torch.ones(2),
        segment_velocity=torch.zeros(2),
        segment_clip=(clip.name, clip.name),
        segment_tier=("0", "0+"),
        segment_support=("none", "none"),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={
            "segments": [
                {"clip_frame": at, "clip_sha256": clip_hash(clip.resample(50.0))} for at in (21, 1)
            ],
        },
    )


def test_robot_and_ghost_are_at_the_same_frames_in_the_clips_order(
    robot: RobotSpec, clip: Clip, dataset: ReferenceDataset
) -> None:
    shown = playback(dataset, clip, robot)
    rows = [*range(1, 7), *range(21, 30)]
    torch.testing.assert_close(shown.clip, clip_states(clip, robot)[0][rows])
    lifted = torch.eye(15)[2] * 0.01
    torch.testing.assert_close(shown.qpos - shown.clip, lifted.expand(15, 15), atol=1e-6, rtol=0)
    assert shown.captions[0] == "1/2, tier 0+\n 0.02 s"
    assert shown.captions[-1] == "2/2, tier 0\n 0.58 s"


def test_another_clip_is_refused(robot: RobotSpec, clip: Clip, dataset: ReferenceDataset) -> None:
    with pytest.raises(DatasetError, match=f"'run' is in the reference; it holds {clip.name}"):
        playback(dataset, replace(clip, name="run"), robot)
    other = replace(clip, root_pos=clip.root_pos + 0.01)
    with pytest.raises(DatasetError, match="not the one that the reference was made from"):
        playback(dataset, other, robot)


def test_segments_of_another_clip_of_that_name_are_left_out(
    robot: RobotSpec, clip: Clip, dataset: ReferenceDataset
) -> None:
    """Both ways of following clips may have one called the same."""
    segments = dataset.manifest["segments"]
    manifest = {**dataset.manifest, "segments": [{**segments[0], "clip_sha256": "f"}, segments[1]]}
    shown = playback(replace(dataset, manifest=manifest), clip, robot)
    torch.testing.assert_close(shown.clip, clip_states(clip, robot)[0][1:7])
