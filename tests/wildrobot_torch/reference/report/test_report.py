"""Tests of wildrobot_torch/reference/report/report.py and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.follow.rollout import Method, Rollout, Task
from wildrobot_torch.reference.generate import Generation
from wildrobot_torch.reference.judge.gates import GateResult
from wildrobot_torch.reference.judge.segments import Stretch
from wildrobot_torch.reference.judge.selection import Rejection
from wildrobot_torch.reference.report.comparison import Span, compare
from wildrobot_torch.reference.report.report import ghost_strip, write_generation_report
from wildrobot_torch.render.film import RenderConfig

SMALL = RenderConfig(width=64, height=64, renderer="software")


@pytest.fixture
def rollout(robot: RobotSpec, walking: Callable[..., Recording]) -> Callable[..., Rollout]:
    """Maker of rollouts that lag 0.1 m behind the clip they stand in, 1 s each."""

    def make(
        name: str, num_frames: int = 50, start: int = 0, method: Method = "tracker"
    ) -> Rollout:
        clip = replace(standing_clip(robot, 1.0), name=name)
        qpos, qvel = (x[1 + start : 1 + start + num_frames] for x in clip_states(clip, robot))
        qpos = qpos - 0.1 * torch.eye(15)[0]
        joints = torch.zeros(num_frames, 8)
        left = (torch.arange(num_frames) // 10) % 2 == 0
        recording = walking(
            num_frames,
            joint_pos=joints,
            joint_vel=joints,
            joint_target=joints,
            torque=joints,
            foot_force=robot.weight * torch.stack([left, ~left], dim=-1),
        )
        states = {"qpos": qpos[:, None], "qvel": qvel[:, None], "joint_target": qpos[:, None, 7:]}
        recording = replace(recording, **states)
        return Rollout(Task(clip, start), recording, method)

    return make


@pytest.fixture
def generation(robot: RobotSpec, rollout: Callable[..., Rollout]) -> Generation:
    """0.8 s of `a/b` in tier 0+, nothing of `c`, which was followed by two methods."""
    layout = amp_layout(robot)
    dataset = ReferenceDataset(
        amp=torch.zeros(40, layout.size),
        qpos=torch.zeros(40, 15),
        qvel=torch.zeros(40, 14),
        foot_force=torch.zeros(40, 2),
        support_wrench=torch.zeros(40, 6),
        segment_start=torch.tensor([0]),
        segment_length=torch.tensor([40]),
        segment_weight=torch.ones(1),
        segment_velocity=torch.zeros(1),
        segment_clip=("a/b",),
        segment_tier=("0+",),
        segment_support=("none",),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={
            "config": {"physics": "native"},
            "clips": [{"name": "a/b", "source": "made up"}, {"name": "c", "source": "made up"}],
            "segments": [
                {"clip": "a/b", "clip_frame": 1, "frames": 40, "method": "tracker", "tier": "0+",
                 "support": "none", "metrics": {"load_mean": 1.0}},
            ],
        },
    )  # fmt: skip
    whole, fell, fallen = rollout("a/b"), rollout("c", 20), rollout("c", 0, method="harness")
    rejected = (
        Rejection("a/b", 41, 10, (), "10 frames are too few to judge"),
        Rejection("c", 1, 50, ("slip",), "slip: too much"),
    )
    kept = ((whole, Stretch(0, 40, GateResult({}, (), (), "0+"))),)
    made = {"tracker": (whole, fell), "harness": (fallen,)}
    return Generation(dataset, made, kept, rejected, {"slip": 2})


def test_the_report_is_a_folder_of_text_numbers_and_pictures(
    tmp_path: Path, robot_model: RobotModel, generation: Generation
) -> None:
    rows = compare(generation, robot_model, {})
    path = write_generation_report(
        tmp_path / "report", generation, rows, robot_model, pictured=8, film=SMALL
    )
    text = path.read_text()
    assert path.name == "report.md"
    assert "**stop: 0.8 s of tier 0+ (0.8 s of tiers 0+ and 0); less than 30 s" in text
    assert "accepted 0.8 s of 3.0 s in 1 segments from 1 of 3 clips" in text
    assert "| a/b | tracker | 0.80 | 0.00 | 0.00 | 0.00 | 100% |" in text
    assert "| c | tracker | 0.00 | 0.00 | 0.00 | 0.00 | 40% |" in text
    assert "| c | harness | 0.00 | 0.00 | 0.00 | 0.00 | 0% | 0 | - | - |" in text
    assert "| slip | 2 |" in text
    named = {line.split("](")[1][:-1] for line in text.splitlines() if line.startswith("![")}
    assert named == {"clips/a_b_tracker.png", "clips/c_tracker.png",
    }  # fmt: skip
    for name in named:
        with Image.open(path.parent / name) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 5.0, name
    content = json.loads((path.parent / "report.json").read_text())
    assert content["clips"][0]["survival"] is None
    assert content["clips"][1]["spans"] == [[0, 40, "0+"]]
    assert content["segments"][0]["metrics"] == {"load_mean": 1.0}
    assert content["dataset"]["good_s"] == pytest.approx(0.8)
    assert [(r["clip"], r["frames"], r["gates"]) for r in content["rejected"]] == [
        ("a/b", 10, []),
        ("c", 50, ["slip"]),
    ]


def test_it_shows_the_worst_clips(
    tmp_path: Path, robot_model: RobotModel, generation: Generation
) -> None:
    rows = compare(generation, robot_model, {})
    path = write_generation_report(tmp_path, generation, rows, robot_model, pictured=1, film=SMALL)
    text = path.read_text()
    assert "clips/c_tracker.png" in text and "clips/a_b_tracker.png" not in text


def test_the_strip_shows_the_clip_at_the_rollouts_frames(
    robot_model: RobotModel, rollout: Callable[..., Rollout]
) -> None:
    made = rollout("a", 20, start=10)
    strip = ghost_strip(made, [Span(10, 30, "0")], robot_model, SMALL)
    assert strip.shape == (128, 256, 3)
    # Another clip is another ghost, and nothing else.
    bent = made.task.clip.joint_pos.copy()
    bent[:11] = 0.7  # before the rollout's first frame
    same = replace(made, task=Task(replace(made.task.clip, joint_pos=bent), 10))
    assert (ghost_strip(same, [Span(10, 30, "0")], robot_model, SMALL) == strip).all()
    bent[11:] = 0.7
    other = replace(made, task=Task(replace(made.task.clip, joint_pos=bent), 10))
    changed = ghost_strip(other, [Span(10, 30, "0")], robot_model, SMALL) != strip
    assert changed.any(-1).sum() > 100
    # The caption says what became of the frame.
    rejected = ghost_strip(made, [], robot_model, SMALL)
    assert (rejected != strip).any(-1)[:24, :64].any()
