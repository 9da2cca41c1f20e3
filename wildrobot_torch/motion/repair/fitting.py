"""From the parts of a clip back to a clip, changed until its joints keep off their stops."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from envs.robot.chain import Kind
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import foot_yaw
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.repair.stances import ClipParts
from wildrobot_torch.motion.rotations import Array, Flags

ON_STOP, STOP_SHARE = 0.02, 0.02
"""A joint closer than the first to the end of its range rests on its stop [rad]; it may do so in
the second share of frames."""

_LEAN_STEP, _LOWER_STEP, _WIDEN_STEP, _STRIDE_STEP = 0.01, 0.002, 0.002, 0.05
_MAX_WIDENING, _LEAST_STRIDE = 0.03, 0.5
_OFF_RANGE = 1e-3
"""Steps of the search and their ends; lengths are for legs as long as the WildRobot's [m]."""


_ENDS: dict[Kind, tuple[str, str]] = {
    "pitch": ("swung", "bent"),
    "roll": ("bent", "spread"),
    "knee": ("knee", "bent"),
    "ankle_pitch": ("ankle", "ankle"),
    "yaw": ("yaw", "yaw"),
    "ankle_roll": ("ankle_roll", "ankle_roll"),
}
"""Kind of joint -> the trouble at its lower and upper stop: hips that should go further back, feet
too close, straight knees and ankles can be helped, "bent" joints would be harmed by it."""


@dataclass(frozen=True)
class Fit:
    """What is changed so that the joints keep off their stops.

    The trunk leans forward about the hips by `lean` [rad], the hips are lower by `lowering` [m],
    each foot is further out by `widening` [m]; `stride` is a factor on the travel of hips and feet,
    `ankle_margin` [rad] the distance that ankles keep from their stops by giving up foot pitch.
    """

    lean: float = 0.0
    lowering: float = 0.0
    widening: float = 0.0
    stride: float = 1.0
    ankle_margin: float | None = None


def rebuild(
    parts: ClipParts, legs: Legs, fps: float, fit: Fit, bearing: Array | None = None
) -> tuple[Clip, Flags]:
    """The clip of the parts, changed by `fit`, joints not clipped; and frames (N,) out of reach.

    With `bearing`, the share (2, N) that each foot carries, the trunk's yaw is chosen so that these
    feet do not swivel. None leaves the yaw.
    """
    hip = legs.hip * [1.0, 0.0, 1.0]
    hips, feet = parts.hips.copy(), parts.feet.copy()
    hips[:, 0] *= fit.stride
    feet[..., 0] *= fit.stride
    hips[:, 2] -= fit.lowering
    feet[0, :, 1] += fit.widening
    feet[1, :, 1] -= fit.widening
    feet[..., 2] = parts.hips[:, 2] + parts.feet[..., 2]  # over the floor, however low the hips
    roll, pitch, yaw = parts.tilt[:, 0], parts.tilt[:, 1] + fit.lean, parts.tilt[:, 2]
    height = hips * [0.0, 0.0, 1.0]
    toes = (None, None) if parts.yaw is None else (parts.yaw[0], parts.yaw[1])
    paths = tuple(FootPath(*path) for path in zip(feet, parts.pitch, toes, strict=True))
    for attempt in range(4 if bearing is not None else 1):
        tilt = rotations.quat_from_euler(roll, pitch, yaw)
        arm = rotations.quat_rotate(tilt, hip)
        posing = pose(legs, height - arm, tilt, (paths[0], paths[1]), fps, fit.ankle_margin)
        if legs.turns:
            break  # the hips' yaw keeps the feet from swivelling
        if bearing is not None and attempt < 3:
            yaw = yaw - (foot_yaw(legs, posing.clip) * bearing.T).sum(1)
    turn = rotations.yaw_quat(parts.heading)
    clip = replace(
        posing.clip,
        root_pos=hips - rotations.quat_rotate(turn, arm),
        root_quat=rotations.quat_multiply(turn, tilt),
    )
    return clip, posing.out_of_reach


def fitted(
    parts: ClipParts,
    legs: Legs,
    fps: float,
    margin: float,
    max_lean: float,
    max_lowering: float,
    bearing: Array | None = None,
) -> tuple[Clip, Fit, float, float]:
    """The clip with as little lean, lowering, widening and shortening as its stops allow.

    Lowering the hips helps straight knees, ankles out of reach, and joints faster than their
    servos (as nearly straight knees are). Leaning the trunk, and in straight walks then shortening
    the stride, helps thighs that should go further back. Wider feet help too much adduction. An
    ankle gives up foot pitch. After the clip, joints within their ranges, and the changes come the
    shares of frames in which the worst joint rests on a stop or beyond, before and after them.
    """
    straight, size = np.ptp(parts.heading) == 0.0, legs.robot.scale
    fit = Fit()
    clip, unreachable = rebuild(parts, legs, fps, fit, bearing)
    before = _worst(_troubles(clip, legs, ON_STOP, unreachable))
    resting: set[str] = set()
    slower_from: Fit | None = None
    while True:
        # A joint that rests on its stop is taken `margin` off it; one that never does may be near.
        found = _troubles(clip, legs, ON_STOP, unreachable)
        resting |= {name for name, share in found.items() if share > STOP_SHARE}
        near = _troubles(clip, legs, margin, unreachable)
        trouble = {name for name in resting if near[name] > STOP_SHARE}
        lower = replace(fit, lowering=fit.lowering + _LOWER_STEP * size)
        may_lower = fit.lowering < max_lowering - 1e-9
        if "ankle" in trouble and fit.ankle_margin is None:
            # A little more, so that rounding leaves no ankle within the margin.
            fit = replace(fit, ankle_margin=margin + 1e-3)
        elif trouble & {"knee", "reach"} and may_lower:
            fit = lower
        elif "swung" in trouble and fit.lean < max_lean - 1e-9:
            fit = replace(fit, lean=fit.lean + _LEAN_STEP)
        elif "spread" in trouble and fit.widening < _MAX_WIDENING * size - 1e-9:
            fit = replace(fit, widening=fit.widening + _WIDEN_STEP * size)
        elif straight and trouble & {"swung", "reach"} and fit.stride > _LEAST_STRIDE:
            fit = replace(fit, stride=round(fit.stride - _STRIDE_STEP, 6))
        elif "speed" in trouble and may_lower and near["bent"] <= STOP_SHARE:
            slower_from = slower_from or fit
            fit = lower
        else:
            break
        clip, unreachable = rebuild(parts, legs, fps, fit, bearing)
    if "speed" in trouble and slower_from is not None:
        fit = slower_from  # bending the knees did not help, so they need not bend
        clip, unreachable = rebuild(parts, legs, fps, fit, bearing)
    clip = replace(clip, joint_pos=legs.within_stops(clip.joint_pos, _OFF_RANGE))
    after = _worst(_troubles(clip, legs, ON_STOP, unreachable))
    return clip, fit, before, after


def _worst(troubles: dict[str, float]) -> float:
    return max(share for name, share in troubles.items() if name != "speed")


def _troubles(clip: Clip, legs: Legs, margin: float, unreachable: Flags) -> dict[str, float]:
    """Kind of trouble -> share of frames, worse leg; joints within `margin` of a stop or beyond.

    "speed" is 1 if any joint is ever faster than its servo, and 0 otherwise.
    """
    speed = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps
    limit = legs.robot.joint_max_velocity.cpu().double().numpy()
    worst = {"reach": float(unreachable.mean()), "speed": float((speed > limit).any())}
    for side in (0, 1):
        pos = legs.joints(side, clip.joint_pos[:, legs.index[side]])
        ends = (pos < legs.lower[side] + margin, pos > legs.upper[side] - margin)
        found: dict[str, Flags] = {}
        for column, kind in enumerate(legs.kinds):
            for name, end in zip(_ENDS[kind], ends, strict=True):
                found[name] = found.get(name, np.zeros(len(pos), np.bool_)) | end[:, column]
        for name, flags in found.items():
            worst[name] = max(worst.get(name, 0.0), float(flags.mean()))
    return worst
