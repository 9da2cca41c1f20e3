"""Style features: the only definition, for policy and reference alike."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.layout import Field, Layout
from envs.measurements import Measurements, measure
from envs.physics.base import PhysicsState
from envs.robot.spec import FEET, RobotSpec
from envs.thresholds import LOADED


def amp_layout(robot: RobotSpec) -> Layout:
    """Layout of `amp_features`."""
    joints = robot.num_joints
    return Layout(
        "amp",
        (
            Field("gravity", 3, "1", "body", "unit gravity direction", "polar"),
            Field("linvel", 3, "m/s", "heading", "root velocity", "polar"),
            Field("angvel", 3, "rad/s", "body", "root angular velocity", "axial"),
            Field("joint_pos", joints, "rad", "joint", "joint positions", "joints"),
            Field("joint_vel", joints, "rad/s", "joint", "joint velocities", "joints"),
            Field(
                "sole_pos",
                6,
                "m",
                "heading",
                "left and right sole centre from the root",
                "feet_polar",
            ),
            Field("contact", len(FEET), "1", "foot", "1 where the foot is loaded", "feet"),
            Field("height", 1, "m", "world", "root over the floor", "even"),
        ),
    )


def amp_features(state: PhysicsState, robot: RobotSpec) -> Tensor:
    """Style features (E, F) of one instant, in `amp_layout` order.

    They do not change when the world is turned about the vertical or moved along the floor. Peng et
    al. 2021 (AMP, arXiv:2104.02180), section 5.2, with projected gravity in place of the root's
    orientation. Which of the fields a discriminator sees is a setting (`amp.features`).
    """
    return style_features(measure(state, robot), robot)


def style_features(m: Measurements, robot: RobotSpec) -> Tensor:
    """`amp_features` of a state that is measured already."""
    return amp_layout(robot).pack(
        gravity=m.gravity_b,
        linvel=m.linvel_h,
        angvel=m.angvel_b,
        joint_pos=m.joint_pos,
        joint_vel=m.joint_vel,
        sole_pos=m.sole_pos_h.flatten(1),
        contact=(m.foot_force > LOADED * robot.weight).to(torch.float32),
        height=m.height[:, None],
    )
