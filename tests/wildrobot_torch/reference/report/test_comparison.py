"""Tests of wildrobot_torch/reference/report/comparison.py, on made-up rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.follow.rollout import Rollout, Task
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GateResult
from wildrobot_torch.reference.judge.segments import Stretch
from wildrobot_torch.reference.judge.selection import Rejection
from wildrobot_torch.reference.report.comparison import (
    Row,
    Span,
    before_after_table,
    clip_metrics,
    clip_table,
    compare,
    rejected_table,
    worst_clips,
)

MakeRecording = Callable[..., Recording]


@pytest.fixture
def clip(robot: RobotSpec) -> Clip:
    """Three seconds of standing."""
    return standing_clip(robot, 3.0)


@pytest.fixture
def rollout(robot: RobotSpec, clip: Clip, walking: MakeRecording) -> Callable[..., Rollout]:
    """Maker of rollouts of that clip, in which half the weight stands on one foot at a time."""

    def make(num_frames: int = 150, start: int = 0, **replaced: torch.Tensor) -> Rollout:
        left = (torch.arange(num_frames) // 10) % 2 == 0
        joints = torch.zeros(num_frames, 8)
        recording = walking(
            num_frames,
            joint_pos=joints + 0.05,
            joint_vel=joints,
            joint_target=joints,
            torque=joints,
            foot_force=0.5 * robot.weight * torch.stack([left, ~left], dim=-1),
            **replaced,
        )
        return Rollout(Task(clip, start), recording, "harness")

    return make


def accepted(start: int, stop: int, tier: str) -> Stretch:
    return Stretch(start, stop, GateResult({}, (), (), tier))


def test_a_row_holds_what_the_robot_did(
    robot_model: RobotModel, clip: Clip, rollout: Callable[..., Rollout]
) -> None:
    robot = robot_model.robot
    made = rollout(
        120,
        sole_linvel_w=torch.tensor([0.0, 0.2, 5.0]).expand(120, 2, 3),
        support_force=torch.tensor([0.0, 0.0, 0.1 * robot.weight]).expand(120, 3),
        support_torque=torch.tensor([0.3 * robot.weight * 0.25, 0.0, 0.0]).expand(120, 3),
        sole_height=torch.tensor([-0.004, 0.01]).expand(120, 2),
    )
    kept = ((made, accepted(0, 50, "0+")), (made, accepted(50, 75, "1")))
    generation = Generation(None, {"harness": (made,)}, kept, (), {})
    low = replace(clip, root_pos=clip.root_pos - [0.0, 0.0, 0.02])
    rows = compare(generation, robot_model, {clip.name: low})
    assert [row.method for row in rows] == ["as given", "clip", "harness"]
    row = rows[-1]
    assert row.spans == (Span(0, 50, "0+"), Span(50, 75, "1"))
    assert (row.seconds("0+"), row.seconds("1"), row.seconds("0")) == (1.0, 0.5, 0.0)
    assert row.survival == pytest.approx(120 / 150)
    expected = {
        "joint_error": 0.05, "slip_share": 1.0, "load_mean": 0.5, "support_force_p95": 0.1,
        "support_torque_p95": 0.3, "penetration": 0.004, "joint_stop_share": 0.0,
    }  # fmt: skip
    assert {name: row.metrics[name] for name in expected} == pytest.approx(expected)
    line = clip_table(rows).splitlines()[-1]
    assert line.startswith(f"| {clip.name} | harness | 1.00 | 0.00 | 0.50 | 0.00 | 80% | 0 |")
    before, _, after = before_after_table(rows).splitlines()[2:]
    assert before.startswith("| as given | 1 | 0.02")
    assert after == "| harness | 1 | 0.004 | 0.004 | 1 | 1 | 0 | 0 |"


def test_rollouts_from_several_frames_of_a_clip_are_one_row(
    robot_model: RobotModel, rollout: Callable[..., Rollout]
) -> None:
    early = rollout(100)
    late = rollout(50, 100, sole_height=torch.full((50, 2), -0.006))
    kept = ((late, accepted(10, 40, "0")), (early, accepted(0, 100, "0+")))
    made = Generation(None, {"harness": (early, late)}, kept, (), {})
    _, row = compare(made, robot_model, {})
    assert row.spans == (Span(0, 100, "0+"), Span(110, 140, "0"))
    assert row.survival == pytest.approx((100 / 150 + 1.0) / 2)
    assert row.metrics["penetration"] == pytest.approx(0.006)
    empty = Generation(None, {"harness": (rollout(0),)}, (), (), {})
    _, row = compare(empty, robot_model, {})
    assert row.survival == 0.0 and all(math.isnan(x) for x in row.metrics.values())


def test_rejected_parts_are_told_with_their_times_and_gates() -> None:
    table = rejected_table([Rejection("walk", 51, 25, ("slip", "roll"), "slip: too much")])
    assert table.splitlines()[-1] == "| walk | 1.00 to 1.50 | slip, roll | slip: too much |"
    assert rejected_table([]) == "Nothing."


def test_the_worst_clips_have_the_least_good_motion() -> None:
    spans = {"a": Span(0, 50, "0+"), "b": Span(0, 90, "1"), "c": Span(0, 20, "0")}
    rows = [Row(name, "tracker", {}, (span,)) for name, span in spans.items()]
    assert worst_clips(rows, 2) == ["b", "c"]
    assert worst_clips([*rows, Row("b", "harness", {}, (Span(0, 30, "0"),))], 2) == ["b", "c"]
    assert worst_clips(rows, 9) == ["a", "b", "c"]


def test_a_clip_below_the_floor_penetrates_it_by_as_much(
    robot_model: RobotModel, clip: Clip
) -> None:
    by = np.array([0.0, 0.0, 0.03])
    still, low, high = (
        clip_metrics(replace(clip, root_pos=clip.root_pos + z * by), robot_model)
        for z in (0.0, -1.0, 1.0)
    )
    assert still["slip_share"] == 0.0
    assert low["penetration"] == pytest.approx(0.03, abs=1e-4)
    assert high["penetration"] == 0.0


def test_a_statue_that_is_pushed_slips(robot_model: RobotModel, clip: Clip) -> None:
    pushed = clip.root_pos + np.outer(np.arange(clip.num_frames) / clip.fps, [0.3, 0.4, 0.0])
    assert clip_metrics(replace(clip, root_pos=pushed), robot_model)["slip_share"] == 1.0
    slow = clip.root_pos + 0.1 * (pushed - clip.root_pos)
    assert clip_metrics(replace(clip, root_pos=slow), robot_model)["slip_share"] == 0.0


def test_the_worst_joint_counts_for_the_stops(robot_model: RobotModel, clip: Clip) -> None:
    joints = np.zeros((clip.num_frames, 8)) + 0.05
    joints[:4, robot_model.robot.joint_names.index("left_knee_pitch")] = 0.01  # it begins at 0
    stops = clip_metrics(replace(clip, joint_pos=joints), robot_model)["joint_stop_share"]
    assert stops == pytest.approx(4 / clip.num_frames)
