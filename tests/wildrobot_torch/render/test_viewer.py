"""Tests of wildrobot_torch/render/viewer.py, but for the window itself."""

from __future__ import annotations

import re
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.recorder import zero_policy
from wildrobot_torch.render.viewer import Controls, drive

UP, DOWN, HOME, END = 265, 264, 268, 269
LEFT, PAGE_DOWN = 263, 267


@pytest.fixture
def env() -> LocomotionEnv:
    return LocomotionEnv(LocomotionConfig(), 1, num_threads=1)


def test_keys_set_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    controls = Controls(0.3)
    for key in (UP, UP, DOWN):
        controls.press(key)
    assert controls.velocity == pytest.approx(0.35)
    assert "command 0.35 m/s" in capsys.readouterr().out
    for key in (LEFT, LEFT, PAGE_DOWN):
        controls.press(key)
    assert controls.command == pytest.approx([0.35, -0.05, 0.2])
    assert "to the left -0.05 m/s and 0.2 rad/s" in capsys.readouterr().out
    controls.press(END)
    assert controls.command == [0.0, 0.0, 0.0]
    controls.press(ord("Q"))  # the viewer's
    assert not controls.start_over
    controls.press(HOME)
    assert controls.start_over


def test_the_policy_sees_the_command_of_the_moment(env: LocomotionEnv) -> None:
    seen = []

    def act(observation: Tensor) -> Tensor:
        where = env.layouts["observation"].slices["command"]
        seen.append(round(float(observation[0, where][0]), 3))
        return observation.new_zeros(1, 8)

    controls = Controls(0.3)
    positions = drive(act, env, controls)
    for _ in islice(positions, 3):
        controls.press(UP)
    assert seen == [0.3, 0.35, 0.4]


def test_the_first_action_after_a_fall_is_that_of_the_fresh_start(env: LocomotionEnv) -> None:
    up = []

    def act(observation: Tensor) -> Tensor:
        where = env.layouts["observation"].slices["imu_gravity"]
        up.append(-float(observation[0, where][2]))
        return observation.new_ones(1, 8)

    heights = [float(q[2]) for q in islice(drive(act, env, Controls(0.3)), 200)]
    risen = [i for i, (a, b) in enumerate(pairwise(heights), 1) if b - a > 0.05]
    assert risen, "the robot falls within these steps"
    # Gravity points down in the body where the robot stands upright: cos of its tilt is 1.
    assert all(up[i] > 0.999 for i in risen)


def test_a_robot_that_falls_starts_over_and_says_why(
    env: LocomotionEnv, capsys: pytest.CaptureFixture[str]
) -> None:
    heights = [
        float(q[2]) for q in islice(drive(lambda o: o.new_ones(1, 8), env, Controls(0.3)), 200)
    ]
    jumps = [b - a for a, b in pairwise(heights)]
    assert min(heights) < 0.45
    assert max(jumps) > 0.05  # from the floor back to home within one step
    falls = sum(jump > 0.05 for jump in jumps)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ended")]
    counts = [int(number) for number in re.findall(r"(?:pitch|roll|height) (\d+)", said[-1])]
    assert len(said) >= falls and sum(counts) == len(said)


def test_the_home_key_starts_over(env: LocomotionEnv) -> None:
    controls = Controls(0.3)
    positions = drive(zero_policy(8), env, controls)
    next(positions)
    env.set_state(
        torch.ones(1, dtype=torch.bool),
        env.robot.home_qpos[None] + torch.eye(15)[0] * 5.0,
        torch.zeros(1, 14),
    )
    assert next(positions)[0] > 4.0
    controls.press(HOME)
    next(positions)
    assert abs(next(positions)[0]) < 0.1
