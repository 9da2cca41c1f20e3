"""Tests of the negative controls."""

from __future__ import annotations

import pytest
import torch

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from wildrobot_torch.evaluation.style.controls import JITTER, damped, jittered, reversed_in_time
from wildrobot_torch.evaluation.style.motion import reference_recording
from wildrobot_torch.reference.dataset import ReferenceDataset


@pytest.fixture
def walk(walks: ReferenceDataset, robot: RobotSpec) -> Recording:
    return reference_recording(walks, robot)[0]


def test_time_runs_back(walk: Recording, walks: ReferenceDataset, robot: RobotSpec) -> None:
    back = reversed_in_time(walk, robot, walks.amp_layout)
    assert torch.equal(back.qpos[0], walk.qpos[250])
    # The root goes back, though poses are the same, and velocities agree with the positions.
    assert torch.allclose(back.velocity.mean(0), -walk.velocity.mean(0), atol=1e-5)
    rate = (back.joint_pos(robot)[2:] - back.joint_pos(robot)[:-2]) / 0.04
    given = walks.amp_layout.unpack(back.amp)["joint_vel"][1:-1]
    assert float((rate - given).square().mean().sqrt()) < 0.1 * float(given.square().mean().sqrt())
    assert torch.equal(reversed_in_time(back, robot, walks.amp_layout).amp, walk.amp)


def test_jitter_has_its_size_and_is_consistent(
    walk: Recording, walks: ReferenceDataset, robot: RobotSpec
) -> None:
    shaken = jittered(walk, robot, walks.amp_layout)
    noise = shaken.joint_pos(robot) - walk.joint_pos(robot)
    assert float(noise.std()) == pytest.approx(JITTER, rel=0.02)
    parts, before = (walks.amp_layout.unpack(t.amp) for t in (shaken, walk))
    assert torch.equal(parts["joint_pos"], shaken.joint_pos(robot))
    added = (parts["joint_vel"] - before["joint_vel"])[1:-1]
    assert torch.allclose(added, (noise[2:] - noise[:-2]) / 0.04, atol=1e-3)
    assert torch.equal(parts["linvel"], before["linvel"])
    assert float((parts["sole_pos"] - before["sole_pos"]).std()) > 0.003


def test_damping_leaves_the_mean_pose(
    walk: Recording, walks: ReferenceDataset, robot: RobotSpec
) -> None:
    less = damped(walk, robot, walks.amp_layout)
    a, b = less.joint_pos(robot), walk.joint_pos(robot)
    assert torch.allclose(a.mean(0), b.mean(0), atol=1e-4)
    assert torch.allclose(a.std(0), 0.7 * b.std(0), atol=1e-4)
