"""Tests of wildrobot_torch/reference/report/comparison.py and its tables, on made-up rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Rollout, Task
from wildrobot_torch.reference.judge.gates import Gate
from wildrobot_torch.reference.report.comparison import (
    RejectedSecond,
    Span,
    accepted_spans,
    compare,
    rejected_seconds,
)
from wildrobot_torch.reference.report.comparison_tables import (
    before_after_table,
    comparison_table,
    rejected_table,
)

MakeRecording = Callable[..., Recording]
Spans = dict[tuple[str, str], list[Span]]
SLIP = Gate(name="slip", metric="slip_share", unit="1", meaning="stays", max=0.15)


@pytest.fixture
def clip(robot: RobotSpec) -> Clip:
    """Three seconds of standing."""
    return standing_clip(robot, 3.0)


@pytest.fixture
def rollout(robot: RobotSpec, clip: Clip, walking: MakeRecording) -> Callable[..., Rollout]:
    """Maker of rollouts of that clip, in which half the weight stands on one foot at a time."""

    def make(num_frames: int = 150, **replaced: torch.Tensor) -> Rollout:
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
        return Rollout(Task(clip, 0), recording, "harness")

    return make


def test_a_row_holds_what_the_rollout_did(
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
    spans: Spans = {
        (clip.name, "harness"): [Span(0, 50, "0+", "harness"), Span(50, 75, "1", "harness")]
    }
    low = replace(clip, root_pos=clip.root_pos - [0.0, 0.0, 0.02])
    rows = compare({"harness": [made]}, spans, robot_model, {clip.name: low})
    assert [row.way for row in rows] == ["as given", "clip", "harness"]
    row = rows[-1]
    assert row.seconds == pytest.approx({"0+": 1.0, "1": 0.5})
    assert row.good_s == pytest.approx(1.0)
    assert row.survival == pytest.approx(120 / 150)
    assert row.joint_rms == pytest.approx(0.05)
    assert row.slip_p95 == pytest.approx(0.2)
    assert row.load_mean == pytest.approx(0.5)
    assert row.force_p95 == pytest.approx(0.1)
    assert row.torque_p95 == pytest.approx(0.3)
    assert row.penetration == pytest.approx(0.004)
    assert row.joint_stop == 0.0
    assert math.isnan(rows[1].load_mean)
    line = comparison_table(rows).splitlines()[-1]
    assert line == (
        f"| {clip.name} | harness | 1.00 | 0.00 | 0.50 | 0.00 | 80% | 0.050 | 0.200 | 0.50 "
        "| 0.100 | 0.300 | 4.0 | 0% |"
    )
    before, _, after = before_after_table(rows).splitlines()[2:]
    assert before.startswith("| as given | 1 | 2") and "| 0.000 | 0.000 | 0 | 0 |" in before
    assert after == "| harness | 1 | 4.0 | 4.0 | 0.200 | 0.200 | 0 | 0 |"


def test_accepted_motion_is_told_by_clip_and_method(
    robot: RobotSpec, clip: Clip, rollout: Callable[..., Rollout]
) -> None:
    layout = amp_layout(robot)
    dataset = ReferenceDataset(
        amp=torch.zeros(80, layout.size),
        qpos=torch.zeros(80, 15),
        qvel=torch.zeros(80, 14),
        foot_force=torch.zeros(80, 2),
        support_wrench=torch.zeros(80, 6),
        segment_start=torch.tensor([0, 30]),
        segment_length=torch.tensor([30, 50]),
        segment_weight=torch.ones(2),
        segment_velocity=torch.zeros(2),
        segment_clip=(clip.name, clip.name),
        segment_tier=("0", "0+"),
        segment_support=("harness", "none"),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={
            "segments": [
                {"clip": clip.name, "method": "harness", "clip_frame": 61, "frames": 30,
                 "tier": "0", "support": "harness"},
                {"clip": clip.name, "method": "tracker", "clip_frame": 1, "frames": 50,
                 "tier": "0+", "support": "none"},
            ]
        },
    )  # fmt: skip
    made = {"tracker": [rollout()], "harness": [rollout(support_force=torch.ones(150, 3))]}
    assert accepted_spans(dataset, made) == {
        (clip.name, "tracker"): [Span(0, 50, "0+", "none")],
        (clip.name, "harness"): [Span(60, 90, "0", "harness")],
    }
    assert accepted_spans(None, made)[clip.name, "harness"] == []


def test_every_second_that_is_not_good_says_why(
    robot: RobotSpec, clip: Clip, rollout: Callable[..., Rollout]
) -> None:
    speed = torch.zeros(125, 2, 3)
    speed[50:100, :, 0] = 1.0
    made = rollout(125, sole_linvel_w=speed)
    key = (clip.name, "tracker")
    spans: Spans = {key: [Span(0, 50, "0", "none"), Span(60, 80, "1", "none")]}
    found = rejected_seconds({"tracker": [made]}, spans, [SLIP], robot)
    assert found == [
        RejectedSecond(*key, 1, 1.0, "1", ("slip",), "slip: slip_share 1 > 0.15"),
        RejectedSecond(*key, 2, 1.0, "", (), "fell at 2.50 s"),
    ]
    table = rejected_table(found).splitlines()
    assert table[2].startswith(f"| {clip.name} | tracker | 1 to 2 | 1.00 | slip | slip: ")
    assert table[3].endswith("| 2 to 3 | 1.00 | - | fell at 2.50 s | - |")
    assert rejected_table([]) == "Nothing."
    assert rejected_seconds({"forced": [made]}, {(clip.name, "forced"): []}, [SLIP], robot) == []


def test_a_second_that_passes_is_judged_with_the_stretch_it_stands_in(
    robot: RobotSpec, clip: Clip, rollout: Callable[..., Rollout]
) -> None:
    speed = torch.zeros(150, 2, 3)
    speed[75:100, :, 0] = 1.0  # a quarter of the stretch from 1 s on
    made = rollout(150, sole_linvel_w=speed)
    key = (clip.name, "tracker")
    gates = [SLIP.__class__(**{**vars(SLIP), "scope": "segment"})]
    found = rejected_seconds({"tracker": [made]}, {key: [Span(0, 50, "0+", "none")]}, gates, robot)
    reason = "1.00 to 3.00 s: slip: slip_share 0.25 > 0.15"
    assert [(r.second, r.gates, r.reason) for r in found] == [
        (1, ("slip",), reason), (2, ("slip",), reason)
    ]  # fmt: skip
    assert "| 1 to 3 | 2.00 | slip |" in rejected_table(found)


def test_seconds_in_a_good_tier_are_not_listed(
    robot: RobotSpec, clip: Clip, rollout: Callable[..., Rollout]
) -> None:
    key = (clip.name, "tracker")
    all_good: Spans = {key: [Span(0, 70, "0+", "none"), Span(70, 150, "0", "none")]}
    assert rejected_seconds({"tracker": [rollout()]}, all_good, [SLIP], robot) == []
    partly: Spans = {key: [Span(0, 140, "0+", "none")]}
    (last,) = rejected_seconds({"tracker": [rollout()]}, partly, [SLIP], robot)
    assert (last.second, last.rejected_s) == (2, pytest.approx(0.2))
    assert "passes by itself" in last.reason
