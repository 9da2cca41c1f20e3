"""Tests of wildrobot_torch/reference/report/kinematic.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.robot.model import RobotModel
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.report.kinematic import clip_motion


def test_a_clip_below_the_floor_penetrates_it_by_as_much(robot_model: RobotModel) -> None:
    clip = standing_clip(robot_model.robot, 0.2)
    low = replace(clip, root_pos=clip.root_pos - [0.0, 0.0, 0.03])
    still = clip_motion(clip, robot_model)
    assert still.slip_p95 == pytest.approx(0.0, abs=1e-6)
    depth = clip_motion(low, robot_model).penetration
    assert depth == pytest.approx(0.03 - float(still.sole_height.min()), abs=1e-6)
    high = replace(clip, root_pos=clip.root_pos - [0.0, 0.0, -0.03])
    assert clip_motion(high, robot_model).penetration == 0.0


def test_a_statue_that_is_pushed_slips_at_its_speed(robot_model: RobotModel) -> None:
    clip = standing_clip(robot_model.robot, 0.2)
    pushed = clip.root_pos + np.outer(np.arange(clip.num_frames) / clip.fps, [0.3, 0.4, 0.0])
    slip = clip_motion(replace(clip, root_pos=pushed), robot_model).slip_p95
    assert slip == pytest.approx(0.5, abs=1e-5)


def test_the_worst_joint_counts_for_the_stops(robot_model: RobotModel) -> None:
    robot = robot_model.robot
    clip = standing_clip(robot, 0.18)
    joints = np.zeros((clip.num_frames, 8)) + 0.05
    joints[:4, robot.joint_names.index("left_knee_pitch")] = 0.01  # its range begins at 0
    motion = clip_motion(replace(clip, joint_pos=joints), robot_model)
    assert motion.joint_stop_share(robot.joint_range) == pytest.approx(4 / clip.num_frames)
