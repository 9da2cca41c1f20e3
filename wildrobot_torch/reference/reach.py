"""Whether a policy's targets reach the reference's poses."""

from __future__ import annotations

from envs.actions import ActionConfig, action_map
from envs.robot import RobotSpec
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

SLACK = 0.05
"""Angle by which a loaded servo is behind its target, and so a joint may be beyond it [rad]."""
TOLERATED = 0.05
"""Share of the frames that may be out of reach: single frames of a stumble teach no style."""


def require_reach(dataset: ReferenceDataset, robot: RobotSpec, config: ActionConfig) -> None:
    """Refuse a reference that no action can do: its style could never be reached.

    Args:
        dataset: the reference, on the robot's device.
        robot: whose joints they are.
        config: how actions become joint targets.

    Raises:
        DatasetError: a joint is further than any target in more than a few frames; in one line,
            with the setting that mends it.
    """
    offset, gain = action_map(robot, config)
    low = (offset - gain.abs()).maximum(robot.joint_range[:, 0])
    high = (offset + gain.abs()).minimum(robot.joint_range[:, 1])
    joints = dataset.qpos[:, robot.joint_qpos_adr]
    beyond = (joints > high + SLACK) | (joints < low - SLACK)
    share = beyond.double().mean(0)
    worst = int(share.argmax())
    if float(share[worst]) <= TOLERATED:
        return
    needed = float((joints - offset).abs().max())
    raise DatasetError(
        f"the reference has {robot.joint_names[worst]} out of an action's reach "
        f"({float(low[worst]):.2f} to {float(high[worst]):.2f} rad) in {float(share[worst]):.0%} "
        f"of its frames (allowed: {TOLERATED:.0%}), so no policy can move like it; "
        f"set data.env.action.scale to {needed:.2f} rad (now {config.scale:g})"
    )
