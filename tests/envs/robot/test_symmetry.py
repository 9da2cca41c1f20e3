"""envs.robot.symmetry: the mirror maps against the simulation of a mirrored robot."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from envs.config import LocomotionConfig
from envs.layout import Field, Layout
from envs.locomotion import LocomotionEnv
from envs.robot.symmetry import action_mirror, layout_mirror
from envs.task.observations import ObservationConfig, observation_layout
from envs.task.starts import ResetConfig
from tests.tasks import SIMULATOR

LIKE = 0.15
"""Largest difference of a mirrored simulation: the robot's masses are not quite symmetric."""


@pytest.fixture(scope="module")
def sides():
    """Vectors of four robots, and of their mirror images, after five steps of mirrored actions."""
    torch.manual_seed(0)
    config = replace(LocomotionConfig(), reset=ResetConfig(joint_noise=0.0, velocity_noise=0.0))
    env = LocomotionEnv(config, 8, num_threads=1)
    robot = env.robot
    step = env.reset()
    env.set_commands(torch.full((8,), 0.3))
    qpos, qvel = robot.home_qpos.expand(4, -1).clone(), 0.3 * torch.randn(4, 14)
    qpos[:, 7:] += 0.1 * torch.randn(4, 8).abs() * robot.action_sign
    # Written out here once more: position, orientation, velocity, rotation of a mirror image.
    image, rate = qpos.clone(), qvel.clone()
    image[:, 1] *= -1
    image[:, 3:7] *= torch.tensor([1.0, -1.0, 1.0, -1.0])
    image[:, 7:] = robot.mirror_joints(qpos[:, 7:])
    rate[:, :3] *= torch.tensor([1.0, -1.0, 1.0])
    rate[:, 3:6] *= torch.tensor([-1.0, 1.0, -1.0])
    rate[:, 6:] = robot.mirror_joints(qvel[:, 6:])
    env.set_state(
        torch.ones(8, dtype=torch.bool), torch.cat([qpos, image]), torch.cat([qvel, rate])
    )
    mirror = action_mirror(robot)
    for _ in range(5):
        action = 0.5 * torch.randn(4, 8)
        step = env.step(step.set("action", torch.cat([action, mirror(action)])))["next"]
    return env, step


@pytest.mark.parametrize("name", ["observation", "critic_observation", "amp"])
def test_a_mirrored_robot_that_acts_mirrored_sees_mirrored_vectors(sides, name):
    env, step = sides
    layout = env.layouts[name]
    here, there = step[name][:4], step[name][4:]
    mirror = layout_mirror(layout, env.robot)
    torch.testing.assert_close(mirror(here), there, atol=LIKE, rtol=0.0)
    # It says something: no field passes unmirrored but those that a mirror leaves alone.
    unlike = (here - there).abs().max(0).values > 2 * LIKE
    assert unlike.sum() > 10


@pytest.mark.parametrize("name", ["observation", "critic_observation", "amp"])
def test_a_mirror_of_a_mirror_is_the_thing_itself(sides, name):
    env, _ = sides
    mirror = layout_mirror(env.layouts[name], env.robot)
    values = torch.randn(5, env.layouts[name].size)
    torch.testing.assert_close(mirror(mirror(values)), values)


def test_plates_and_signs_by_hand(sides):
    env, _ = sides
    layout = observation_layout(env.robot, SIMULATOR)
    mirror = layout_mirror(layout, env.robot)
    values = torch.zeros(layout.size)
    values[layout.slices["foot_switch"]] = torch.tensor(
        [1.0, 0.0, 0.0, 1.0]
    )  # left toe, right heel
    values[layout.slices["angvel"]] = torch.tensor([1.0, 2.0, 3.0])
    values[layout.slices["heading_error"]] = 0.5
    values[layout.slices["velocity_command"]] = 0.3
    blocks = layout.unpack(mirror(values))
    assert blocks["foot_switch"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert blocks["angvel"].tolist() == [-1.0, 2.0, -3.0]
    assert blocks["heading_error"].item() == -0.5
    assert blocks["velocity_command"].item() == pytest.approx(0.3)


def test_a_command_is_mirrored_by_hand(sides):
    """Ahead stays ahead; to the left becomes to the right, of a turn as well."""
    layout = observation_layout(sides[0].robot, ObservationConfig())
    values = torch.zeros(layout.size)
    values[layout.slices["command"]] = torch.tensor([0.3, 0.1, -0.5])
    mirrored = layout.unpack(layout_mirror(layout, sides[0].robot)(values))["command"]
    assert mirrored.tolist() == pytest.approx([0.3, -0.1, 0.5])


def test_fields_without_a_known_mirror_are_refused(sides):
    env, _ = sides
    with pytest.raises(ValueError, match="mirror of field 'smell' is ''"):
        layout_mirror(Layout("x", (Field("smell", 1, "1", "none", ""),)), env.robot)
    with pytest.raises(ValueError, match="'gravity' has 2 values, its mirror 'polar' has 3"):
        layout_mirror(Layout("x", (Field("gravity", 2, "1", "body", "", "polar"),)), env.robot)


def test_a_field_of_several_blocks_is_mirrored_block_by_block(sides):
    env, _ = sides
    layout = Layout("x", (Field("two", 6, "1", "body", "", "axial"),))
    mirrored = layout_mirror(layout, env.robot)(torch.arange(1.0, 7.0))
    assert mirrored.tolist() == [-1.0, 2.0, -3.0, -4.0, 5.0, -6.0]
