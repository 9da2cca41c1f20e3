"""Whether a policy's targets reach the reference's poses."""

from __future__ import annotations

from torch import Tensor

from envs.robot.spec import RobotSpec
from envs.task.actions import ActionConfig, action_map
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset

SLACK = 0.05
"""Angle by which a loaded servo is behind its target, and so a joint may be beyond it [rad]."""
TOLERATED = 0.05
"""Share of the frames that may be out of reach: single frames of a stumble teach no style."""


def require_reach(dataset: ReferenceDataset, robot: RobotSpec, config: ActionConfig) -> None:
    """Refuse a reference that no action can do: its style could never be reached.

    Raises:
        DatasetError: a joint is further than any target in more than a few frames; in one line,
            with the setting that mends it.
    """
    offset, gain = action_map(robot, config)
    stops = robot.joint_range.unbind(1)
    low = (offset - gain.abs()).maximum(stops[0])
    high = (offset + gain.abs()).minimum(stops[1])
    joints = dataset.qpos[:, robot.joint_qpos_adr]
    share = _beyond(joints, low, high)
    worst = int(share.argmax())
    if float(share[worst]) <= TOLERATED:
        return
    if float(_beyond(joints, *stops)[worst]) > TOLERATED:
        remedy = "these poses are beyond the joint's stops; make the reference for this robot"
    else:
        needed = float((joints - offset).abs().max())
        remedy = f"set data.env.action.scale to {needed:.2f} rad (now {config.scale:g})"
    raise DatasetError(
        f"the reference has {robot.joint_names[worst]} out of an action's reach "
        f"({float(low[worst]):.2f} to {float(high[worst]):.2f} rad) in {float(share[worst]):.0%} "
        f"of its frames (allowed: {TOLERATED:.0%}), so no policy can move like it; {remedy}"
    )


def _beyond(joints: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(nu,) share of frames whose joint angles (frames, nu) are past `low` or `high` (nu,)."""
    return ((joints > high + SLACK) | (joints < low - SLACK)).double().mean(0)
