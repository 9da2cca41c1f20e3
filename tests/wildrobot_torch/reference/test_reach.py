"""Which references a policy's actions can do."""

from __future__ import annotations

import pytest
import torch

from envs.layout import Field, Layout
from envs.robot.spec import RobotSpec
from envs.task.actions import ActionConfig
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.reach import require_reach

FRAMES = 100


def _reference(angle: float, frames: int) -> ReferenceDataset:
    """One segment at home but for so many frames with the right joint at an angle [rad]."""
    qpos = torch.zeros(FRAMES, 9)
    qpos[:frames, 8] = angle
    return ReferenceDataset(
        amp=torch.zeros(FRAMES, 1),
        qpos=qpos,
        qvel=torch.zeros(FRAMES, 8),
        foot_force=torch.zeros(FRAMES, 2),
        support_wrench=torch.zeros(FRAMES, 6),
        segment_start=torch.tensor([0]),
        segment_length=torch.tensor([FRAMES]),
        segment_weight=torch.ones(1),
        segment_velocity=torch.zeros(1),
        segment_clip=("clip",),
        segment_tier=("0+",),
        segment_support=("none",),
        ctrl_dt=0.02,
        amp_layout=Layout("amp", (Field("value", 1, "1", "none", "a value"),)),
        robot_digest="",
        manifest={},
    )


@pytest.mark.parametrize("angle", [0.7, -0.7])
def test_a_joint_beyond_every_target_is_refused_with_the_scale_it_takes(
    toy_robot: RobotSpec, angle: float
):
    config = ActionConfig(scale=0.5)
    with pytest.raises(DatasetError) as error:
        require_reach(_reference(angle, 10), toy_robot, config)
    message = str(error.value)
    assert "\n" not in message
    assert "has right out of an action's reach (-0.50 to 0.50 rad) in 10% of its frames" in message
    assert "set data.env.action.scale to 0.70 rad (now 0.5)" in message
    require_reach(_reference(angle, 10), toy_robot, ActionConfig(scale=0.7))


def test_single_frames_and_what_a_load_adds_are_let_pass(toy_robot: RobotSpec):
    config = ActionConfig(scale=0.5)
    require_reach(_reference(0.7, 5), toy_robot, config)
    require_reach(_reference(0.54, FRAMES), toy_robot, config)


def test_the_stops_bound_an_action_of_the_full_range(toy_robot: RobotSpec):
    config = ActionConfig(mapping="full_range")
    require_reach(_reference(1.0, FRAMES), toy_robot, config)
    for beyond in (config, ActionConfig(scale=2.0)):
        with pytest.raises(
            DatasetError, match=r"\(-1\.00 to 1\.00 rad\).* the joint's stops; make"
        ):
            require_reach(_reference(1.2, FRAMES), toy_robot, beyond)
