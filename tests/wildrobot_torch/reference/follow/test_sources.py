"""Clips for the tracking policy: built-in walks in balance, files planted and looped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.robot.model import RobotModel
from wildrobot_torch.motion.synthesis.walk import walking_clip
from wildrobot_torch.reference.follow.sources import SourceConfig, prepared, tracked_walks

FPS = 50.0


def test_built_in_walks_have_the_speeds_asked_for(robot_model: RobotModel) -> None:
    config = SourceConfig(speeds=(0.0, 0.1, 0.4), from_rest=(), duration_s=3.0)
    walks = tracked_walks(robot_model, config)
    assert [walk.mean_speed for walk in walks] == pytest.approx([0.0, 0.1, 0.4], abs=0.02)
    assert all(walk.duration_s == pytest.approx(3.0) for walk in walks)


def test_walks_from_rest_begin_and_end_standing(robot_model: RobotModel) -> None:
    config = SourceConfig(speeds=(0.2,), from_rest=(0.2,), duration_s=6.0)
    walk, rested = tracked_walks(robot_model, config)
    assert rested.name == "walk_0.20_from_rest" != walk.name
    speed = np.gradient(rested.root_pos[:, 0]) * rested.fps
    assert np.abs(speed[[0, -1]]).max() < 0.02
    assert speed[len(speed) // 2 - 25 : len(speed) // 2 + 25].mean() == pytest.approx(0.2, abs=0.03)
    for still in (rested.joint_pos[:5], rested.joint_pos[-5:]):
        assert np.abs(np.diff(still, axis=0)).max() * rested.fps < 0.3


def test_a_file_gives_the_planted_clip_and_its_loop(
    robot_model: RobotModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wildrobot_torch.reference.follow.sources.LOOP_SPEED", 0.3)
    walk = walking_clip(robot_model.robot, 0.4, 2.0, fps=60.0)
    ready = prepared([walk], robot_model, FPS, SourceConfig(loop_s=4.0))
    once, loop = ready.clips
    assert ready.originals[once.name].num_frames == once.num_frames
    assert once.fps == loop.fps == FPS
    assert once.duration_s == pytest.approx(2.0) and loop.duration_s == pytest.approx(4.0)
    assert once.mean_speed == pytest.approx(0.4, abs=0.03)
    assert loop.mean_speed == pytest.approx(0.3, abs=0.03)
    assert "planted" in once.source and "looped" in loop.source
    unlooped = prepared([walk], robot_model, FPS, SourceConfig(loop_s=0.0))
    assert [clip.name for clip in unlooped.clips] == [once.name]


def test_a_clip_too_short_to_loop_is_followed_without_a_loop(robot_model: RobotModel) -> None:
    walk = walking_clip(robot_model.robot, 0.2, 2.0).frames(0, 31)
    ready = prepared([replace(walk, name="short")], robot_model, FPS, SourceConfig())
    assert [clip.name for clip in ready.clips] == ["short"]
    assert "'short'" in ready.notes[-1] and "too short to loop" in ready.notes[-1]


def test_a_clip_beyond_repair_is_left_out_with_the_reason(robot_model: RobotModel) -> None:
    walk = walking_clip(robot_model.robot, 0.3, 2.0)
    sunk = replace(walk, name="sunk", root_pos=walk.root_pos - [0.0, 0.0, 0.3])
    ready = prepared([sunk, walk], robot_model, FPS, SourceConfig(loop_s=0.0))
    assert [clip.name for clip in ready.clips] == [walk.name]
    assert ready.notes[0].startswith("left out: clip 'sunk': below the floor")


@pytest.mark.parametrize(
    "wrong",
    [
        {"speeds": ()},
        {"speeds": (0.1, -0.1)},
        {"speeds": (0.12, 0.121)},
        {"from_rest": (0.0,)},
        {"duration_s": 0.0},
        {"loop_s": -1.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=rf"\.{next(iter(wrong))}\b"):
        SourceConfig(**wrong)
