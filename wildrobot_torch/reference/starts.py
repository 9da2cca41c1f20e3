"""Reference states that episodes of a task may start in."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.task.commands import CommandConfig
from envs.thresholds import LOADED
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset


def commanded_starts(
    reference: ReferenceDataset, command: CommandConfig, weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Reference start states whose velocity the task asks for.

    A state is left out where its segment's speed lies outside the commanded range, since no policy
    is rewarded for it; those within 0.05 m/s of the range keep the nearest command.

    Args:
        reference: what is trained on.
        command: the commanded range.
        weight: m g of the robot [N].

    Returns:
        qpos (M, nq), qvel (M, nv), velocity command (M,) [m/s], their frames (M,) long, and how
        long each foot has been unloaded (M, 2) [s].

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
    frame = reference.start_indices()[keep]
    return qpos[keep], qvel[keep], nearest[keep], frame, air_times(reference, weight)[frame]


def air_times(reference: ReferenceDataset, weight: float) -> Tensor:
    """How long each foot has been unloaded in each frame (N, 2) [s].

    A swing that began before its segment has no known length. It counts as long as the longest
    complete swing, so that a robot that starts in it does not pay for a short swing.

    Args:
        reference: N frames.
        weight: m g of the robot [N].
    """
    frame = torch.arange(reference.num_frames, device=reference.qpos.device)[:, None]
    begin = torch.repeat_interleave(reference.segment_start, reference.segment_length)[:, None]
    loaded = reference.foot_force > LOADED * weight
    last_loaded = torch.where(loaded, frame, -1).cummax(0).values
    complete = last_loaded >= begin
    steps = torch.where(complete, frame - last_loaded, frame - begin + 1)
    longest = (steps * complete).max()
    steps = torch.where(complete, steps, steps.maximum(longest))
    return steps * reference.ctrl_dt
