"""Reference states that episodes of a task may start in."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.task.commands import CommandConfig
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset


def commanded_starts(
    reference: ReferenceDataset, command: CommandConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reference start states whose velocity the task asks for.

    A state is left out where its segment's speed lies outside the commanded range, since no policy
    is rewarded for it; those within 0.05 m/s of the range keep the nearest command.

    Returns:
        qpos (M, nq), qvel (M, nv), velocity command (M,) [m/s], and their frames (M,) long.

    Raises:
        DatasetError: none is left.
    """
    qpos, qvel, velocity = reference.start_states()
    low, high = command.velocity_min, command.velocity_max
    nearest = velocity.clamp(low, high)
    if command.standing_probability > 0.0:
        nearest = torch.where(velocity.abs() <= (velocity - nearest).abs(), 0.0 * nearest, nearest)
    keep = (velocity - nearest).abs() <= 0.05
    if not bool(keep.any()):
        raise DatasetError(
            f"no reference segment walks at a commanded speed: data.env.command asks for {low} to "
            f"{high} m/s, the reference has {float(velocity.min()):.2f} to "
            f"{float(velocity.max()):.2f} m/s"
        )
    return qpos[keep], qvel[keep], nearest[keep], reference.start_indices()[keep]
