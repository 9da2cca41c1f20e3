"""From a motion taken apart back to a clip, with joints that keep off their stops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import Legs, foot_yaw
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.repair.stances import Motion
from wildrobot_torch.motion.rotations import Array, Flags

ON_STOP = 0.02
"""A joint closer to its range's end is on its stop [rad]."""

_LEAN_STEP, _LOWER_STEP, _WIDEN_STEP, _STRIDE_STEP = 0.01, 0.002, 0.002, 0.05
_MAX_WIDENING, _LEAST_STRIDE = 0.03, 0.5
_OFF_RANGE = 1e-3


@dataclass(frozen=True)
class Fit:
    """What is changed for the joints' sake."""

    lean: float = 0.0
    """Forward pitch added to the trunk, about the hips [rad]."""
    lowering: float = 0.0
    """Of the hips [m]."""
    widening: float = 0.0
    """Each foot further out [m]."""
    stride: float = 1.0
    """Share of the way, of hips and feet alike, that is left."""
    ankle_margin: float | None = None
    """Distance the ankles keep from their stops by giving up foot pitch [rad]; None: free."""


def rebuild(
    motion: Motion, legs: Legs, fps: float, fit: Fit, bearing: Array | None = None
) -> tuple[Clip, Flags]:
    """A clip of the motion, joints not kept to their ranges; and frames (N,) out of reach.

    Args:
        motion: trunk and soles.
        legs: the robot's.
        fps: of the clip [1/s].
        fit: changes for the joints' sake.
        bearing: (2, N), what each foot carries: the trunk's yaw is chosen so that these feet do
            not swivel. None leaves the yaw.
    """
    hip = legs.hip * [1.0, 0.0, 1.0]
    hips, feet = motion.hips.copy(), motion.feet.copy()
    hips[:, 0] *= fit.stride
    feet[..., 0] *= fit.stride
    hips[:, 2] -= fit.lowering
    feet[0, :, 1] += fit.widening
    feet[1, :, 1] -= fit.widening
    feet[..., 2] = motion.hips[:, 2] + motion.feet[..., 2]  # over the floor, however low the hips
    roll, pitch, yaw = motion.tilt[:, 0], motion.tilt[:, 1] + fit.lean, motion.tilt[:, 2]
    height = np.stack([np.zeros_like(roll), np.zeros_like(roll), hips[:, 2]], -1)
    paths = (FootPath(feet[0], motion.pitch[0]), FootPath(feet[1], motion.pitch[1]))
    for attempt in range(4 if bearing is not None else 1):
        tilt = rotations.quat_from_euler(roll, pitch, yaw)
        arm = rotations.quat_rotate(tilt, hip)
        posing = pose(legs, height - arm, tilt, paths, fps, fit.ankle_margin)
        if bearing is not None and attempt < 3:
            yaw = yaw - (foot_yaw(legs, posing.clip) * bearing.T).sum(1)
    turn = rotations.yaw_quat(motion.heading)
    clip = replace(
        posing.clip,
        root_pos=hips - rotations.quat_rotate(turn, arm),
        root_quat=rotations.quat_multiply(turn, tilt),
    )
    return clip, posing.out_of_reach


def fitted(
    motion: Motion,
    legs: Legs,
    fps: float,
    *,
    margin: float,
    stop_share: float,
    max_lean: float,
    max_lowering: float,
    straight: bool,
    bearing: Array | None = None,
) -> tuple[Clip, Fit, float, float]:
    """The clip with as little lean, lowering, widening and shortening as its stops allow.

    A knee that is straight, an ankle out of reach, or a joint faster than its servo (as knees are
    where they are nearly straight) lowers the hips; a thigh that should be further back than it
    goes leans the trunk, and then, if the walk is straight, shortens the stride; too much
    adduction puts the feet further out; an ankle gives up foot pitch.

    Returns:
        the clip, joints within their ranges; what it took; and the share of frames on a stop or
        beyond it, of the worst joint, without that and with it.
    """
    fit = Fit()
    clip, unreachable = rebuild(motion, legs, fps, fit, bearing)
    before = _worst(_troubles(clip, legs, ON_STOP, unreachable))
    resting: set[str] = set()
    slower_from: Fit | None = None
    while True:
        # A joint that rests on its stop is taken `margin` off it; one that never does may be near.
        found = _troubles(clip, legs, ON_STOP, unreachable)
        resting |= {name for name, share in found.items() if share > stop_share}
        near = _troubles(clip, legs, margin, unreachable)
        trouble = {name for name in resting if near[name] > stop_share}
        if "ankle" in trouble and fit.ankle_margin is None:
            # A little more, so that rounding leaves no ankle within the margin.
            fit = replace(fit, ankle_margin=margin + 1e-3)
        elif trouble & {"knee", "reach"} and fit.lowering < max_lowering - 1e-9:
            fit = replace(fit, lowering=fit.lowering + _LOWER_STEP)
        elif "hip_pitch" in trouble and fit.lean < max_lean - 1e-9:
            fit = replace(fit, lean=fit.lean + _LEAN_STEP)
        elif "hip_roll" in trouble and fit.widening < _MAX_WIDENING - 1e-9:
            fit = replace(fit, widening=fit.widening + _WIDEN_STEP)
        elif straight and trouble & {"hip_pitch", "reach"} and fit.stride > _LEAST_STRIDE:
            fit = replace(fit, stride=round(fit.stride - _STRIDE_STEP, 6))
        elif (
            "speed" in trouble and fit.lowering < max_lowering - 1e-9 and near["bent"] <= stop_share
        ):
            slower_from = slower_from or fit
            fit = replace(fit, lowering=fit.lowering + _LOWER_STEP)
        else:
            break
        clip, unreachable = rebuild(motion, legs, fps, fit, bearing)
    if "speed" in trouble and slower_from is not None:
        # Bending the knees did not help, so they need not bend.
        fit = slower_from
        clip, unreachable = rebuild(motion, legs, fps, fit, bearing)
    limits = legs.robot.joint_range.cpu().double().numpy()
    joints = np.clip(clip.joint_pos, limits[:, 0] + _OFF_RANGE, limits[:, 1] - _OFF_RANGE)
    clip = replace(clip, joint_pos=joints)
    after = _worst(_troubles(clip, legs, ON_STOP, unreachable))
    return clip, fit, before, after


def _worst(troubles: dict[str, float]) -> float:
    return max(share for name, share in troubles.items() if name != "speed")


def _troubles(clip: Clip, legs: Legs, margin: float, unreachable: Flags) -> dict[str, float]:
    """Share of frames within `margin` of a stop or beyond it, worse leg, by what is to be done.

    "speed" is 1 if a joint is anywhere faster than its servo, and 0 otherwise.
    """
    speed = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps
    limit = legs.robot.joint_max_velocity.cpu().double().numpy()
    worst = {"reach": float(unreachable.mean()), "speed": float((speed > limit).any())}
    for side in (0, 1):
        pos = legs.joints(side, clip.joint_pos[:, legs.index[side]])
        low, high = pos < legs.lower + margin, pos > legs.upper - margin
        for name, flags in (
            ("hip_pitch", low[:, 0]),
            ("hip_roll", high[:, 1]),
            ("knee", low[:, 2]),
            ("ankle", low[:, 3] | high[:, 3]),
            ("bent", high[:, 0] | low[:, 1] | high[:, 2]),
        ):
            worst[name] = max(worst.get(name, 0.0), float(flags.mean()))
    return worst
