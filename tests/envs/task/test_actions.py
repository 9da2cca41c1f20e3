"""Tests of envs.task.actions: filter by hand, mapping and its inverse, mirror symmetry."""

from __future__ import annotations

import pytest
import torch

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from envs.task.actions import (
    ActionConfig,
    ctrl_to_policy_action,
    filter_action,
    filtered_action_to_ctrl,
)


def test_filter_blends_the_clipped_action() -> None:
    config = ActionConfig(filter=0.75)
    got = filter_action(torch.tensor([[3.0, -0.4]]), torch.tensor([[0.2, 0.4]]), config)
    # 0.75 * 0.2 + 0.25 * 1 and 0.75 * 0.4 - 0.25 * 0.4
    assert torch.allclose(got, torch.tensor([[0.4, 0.2]]))


def test_zero_action_is_home(robot: RobotSpec) -> None:
    ctrl = filtered_action_to_ctrl(torch.zeros(1, 8), robot, ActionConfig())
    assert torch.allclose(ctrl[0], robot.joint_home.clamp(*robot.joint_range.T))


def test_full_range_zero_is_the_middle_and_one_the_stop(robot: RobotSpec) -> None:
    config = ActionConfig(mapping="full_range")
    middle = filtered_action_to_ctrl(torch.zeros(1, 8), robot, config)[0]
    # 42.5 degrees of hip flexion and 40 of knee flexion, left; the earlier system's action 0.
    assert torch.allclose(middle[[0, 2]], torch.tensor([0.741763, 0.698132]), atol=1e-4)
    stop = filtered_action_to_ctrl(torch.ones(1, 8), robot, config)[0]
    assert stop[0] == pytest.approx(1.570794, abs=1e-4)
    assert stop[4] == pytest.approx(-1.570797, abs=1e-4)  # the right hip flexes towards minus


def test_equal_actions_on_both_sides_mirror_the_pose(robot: RobotSpec) -> None:
    side = torch.tensor([0.3, -0.2, 0.4, -0.1])
    for mapping in ("home", "full_range"):
        config = ActionConfig(mapping=mapping, scale=0.5)
        ctrl = filtered_action_to_ctrl(torch.cat([side, side])[None], robot, config)
        assert torch.allclose(robot.mirror_joints(ctrl), ctrl, atol=5e-3)


@pytest.mark.parametrize("mapping", ["home", "full_range"])
def test_inverse_gives_the_action_back(robot: RobotSpec, mapping: str) -> None:
    config = ActionConfig(mapping=mapping, scale=3.0)
    low, high = robot.joint_range.T
    ctrl = low + torch.rand(16, 8) * (high - low)
    again = filtered_action_to_ctrl(ctrl_to_policy_action(ctrl, robot, config), robot, config)
    assert torch.allclose(again, ctrl, atol=1e-5)


def test_targets_stay_in_range(robot: RobotSpec) -> None:
    ctrl = filtered_action_to_ctrl(
        torch.empty(64, 8).uniform_(-1, 1), robot, ActionConfig(scale=2.0)
    )
    assert (ctrl >= robot.joint_range[:, 0]).all() and (ctrl <= robot.joint_range[:, 1]).all()


@pytest.mark.parametrize("bad", [{"mapping": "other"}, {"filter": 1.0}, {"scale": 0.0}])
def test_refuses_settings_that_cannot_work(bad: dict) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        ActionConfig(**bad)
