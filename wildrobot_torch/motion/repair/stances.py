"""Stances and travel of a clip by its joints, whatever the path of its root.

The root's path may be wrong (sunk, sliding, backwards). The joints tell how feet move relative to
the hips, and a foot that stands then tells how the hips move over the floor. Lengths, speeds and
times below are the WildRobot's; `scale`, the leg's length over its one, makes them those of another
robot, speeds and times by its root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.ndimage import percentile_filter, uniform_filter1d

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import foot_paths
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.series import low_pass, runs, smoothstep

STRIDE_S = 1.6
"""Time within which each foot of a walking clip rests at least once [s]."""
LOCK_HEIGHT = 0.006
"""A sole lower than this over its floor stands [m]."""
_ROUNDS = 4
_SLOW, _SLIDING = 0.1, 0.6
"""A foot that stands is slower over the floor than this [m/s], or this share of the walk."""
_HOLD = 0.15
"""Share of a swing, at each end, in which the foot leaves or reaches the place of its stance."""
_LIFT_S = 0.05
"""The same as a time [s], in a swing of which the clip has one end only."""
_SHORTEST_S = 0.08
"""Stances and swings shorter than this are ignored [s]."""
_HEADING_HZ = 0.4
_STEADY_S = 3.0
"""Shorter clips than this have a straight line for their slow heading [s]."""


def slow_heading(clip: Clip, scale: float = 1.0) -> Array:
    """Heading (N,) [rad] without the pelvis' swinging from step to step, continuous over +-pi."""
    yaw = np.unwrap(rotations.yaw(clip.root_quat))
    if clip.duration_s >= _STEADY_S * math.sqrt(scale):
        return low_pass(yaw, _HEADING_HZ / math.sqrt(scale), clip.fps)
    time = np.arange(clip.num_frames) / clip.fps
    return np.asarray(np.polyval(np.polyfit(time, yaw, 1), time), dtype=np.float64)


@dataclass(frozen=True)
class ClipParts:
    """A clip as a trunk and two soles, in its heading frame (x along `heading` (N,) [rad], z up).

    `hips` (N, 3) [m] is the middle of the hip-pitch axes in the world, `tilt` (N, 3) [rad] roll,
    pitch and yaw of the trunk in the heading frame; `feet` (2, N, 3) [m] are the soles, left first,
    relative to the hips, as `posing.FootPath` has them, and `pitch` (2, N) [rad] their slopes.
    `yaw` (2, N) [rad] is the heading of the toes in that frame, of legs that can choose it.
    `take_apart` makes it; `fitting.rebuild` is the inverse.
    """

    heading: Array
    hips: Array
    tilt: Array
    feet: Array
    pitch: Array
    yaw: Array | None = None
    scale: float = 1.0

    @property
    def soles(self) -> Array:
        """The same points of the soles in the world, (2, N, 3) [m]."""
        return self.hips + rotations.quat_rotate(rotations.yaw_quat(self.heading), self.feet)


def take_apart(legs: Legs, clip: Clip, heading: Array) -> ClipParts:
    """Trunk and soles of a clip, in the frame of `heading` (N,) [rad]."""
    local = rotations.quat_multiply(rotations.yaw_quat(-heading), clip.root_quat)
    hip = legs.hip * [1.0, 0.0, 1.0]
    under_hips = replace(clip, root_pos=-rotations.quat_rotate(local, hip), root_quat=local)
    feet = foot_paths(legs, under_hips)
    hips = clip.root_pos + rotations.quat_rotate(clip.root_quat, hip)
    paths, pitch = np.stack([f.sole for f in feet]), np.stack([f.pitch for f in feet])
    headings = [foot.yaw for foot in feet if foot.yaw is not None]
    yaw = np.stack(headings) if headings else None
    return ClipParts(heading, hips, rotations.euler(local), paths, pitch, yaw, legs.robot.scale)


def floors(heights: Array, fps: float, scale: float = 1.0) -> Array:
    """Height at rest (2, N) [m] of soles at `heights` (2, N), stance by stance.

    The 15th percentile over a stride: a foot stands longer than that, and a few frames that sink
    in do not count.
    """
    window = max(min(round(STRIDE_S * math.sqrt(scale) * fps), heights.shape[1]), 1)
    low = percentile_filter(heights, 15.0, size=(1, window), mode="nearest")
    return uniform_filter1d(low, window, axis=1, mode="nearest")


def standing(clearance: Array, fps: float, scale: float = 1.0) -> Flags:
    """Whether each foot is down (2, N), by the height of the soles over their floors (2, N)."""
    return _lasting(clearance < LOCK_HEIGHT * scale, fps * math.sqrt(scale))


def _lasting(flags: Flags, fps: float) -> Flags:
    """Flags (2, N) without short swings, then without short stances."""
    shortest = max(round(_SHORTEST_S * fps), 1)
    result = flags.copy()
    for foot in result:
        for kind in (False, True):
            for start, stop in runs(foot == kind):
                if stop - start < shortest and start > 0 and stop < len(foot):
                    foot[start:stop] = not kind
    return result


def bearing(clearance: Array, stands: Flags, scale: float = 1.0) -> Array:
    """Share (2, N) of each foot in carrying the hips: equal when both stand.

    While no foot stands, the lower one carries more.
    """
    share = stands.astype(np.float64)
    none = ~stands.any(0)
    lower = np.clip(0.5 + (clearance[::-1] - clearance) / (0.01 * scale), 0.0, 1.0)
    share[:, none] = lower[:, none] + 1e-9
    return share / share.sum(0)


class Walk(NamedTuple):
    """How the hips travel over the floor, (N, 2) [m] from frame 0 on, by the feet that stand.

    Of each foot (2, N): whether it stands; whether it is as low as a standing one, moving or not;
    and its share of what they carry.
    """

    way: Array
    stands: Flags
    low: Flags
    share: Array

    def speed(self, fps: float) -> float:
        """Net speed [m/s]."""
        return float(np.linalg.norm(self.way[-1])) * fps / (len(self.way) - 1)


def walked(parts: ClipParts, fps: float) -> Walk:
    """Which feet stand, and how the hips travel if these stay in place; the root's path is unused.

    A foot stands if it is low and hardly moves over the floor. Its speed depends on how the hips
    travel, hence on which feet stand, so both are found in rounds.
    """
    soles = parts.soles
    scale = parts.scale
    clearance = soles[..., 2] - floors(soles[..., 2], fps, scale)
    feet_w = (soles - parts.hips)[..., :2]
    low = standing(clearance, fps, scale)
    share = bearing(clearance, low, scale)
    still = _SLOW * math.sqrt(scale)
    result = Walk(_way(feet_w, share), low, low, share)
    for _ in range(_ROUNDS):
        over = np.linalg.norm(np.gradient(feet_w + result.way, axis=1), axis=-1) * fps
        # Of two low feet, the faster one does not stand.
        slower = over <= over[::-1] + still
        fast = max(still, _SLIDING * result.speed(fps))
        stands = low & slower & (over < fast)
        # Walks do not fly: while neither is sure to stand, the slower one does. Feet that carry
        # equal shares are equally fast but for rounding, which must not choose: both stand.
        stands |= ~stands.any(0) & (over <= over[::-1] + 1e-6)
        stands = _lasting(stands, fps * math.sqrt(scale))
        share = bearing(clearance, stands, scale)
        result = Walk(_way(feet_w, share), stands, low, share)
    return result


def _way(feet_w: Array, share: Array) -> Array:
    # A foot counts for a frame's step only if it bears at both of its ends.
    both = np.minimum(share[:, 1:], share[:, :-1]) + 1e-9
    both = both / both.sum(0)
    steps = -(both[..., None] * np.diff(feet_w, axis=1)).sum(0)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def locked(soles: Array, stands: Flags, clearance: float, fps: float, scale: float = 1.0) -> Array:
    """Paths (2, N, 3) [m] of soles that stay in place while they stand, flat on z = 0.

    A standing foot goes to the median of its places. A swing keeps its shape, but begins and ends
    in the places of the stances around it (one of them at the clip's ends), rises before it moves
    on, comes down after, and is lifted by at least `clearance` [m] in its middle.
    """
    result, lift_s = soles.copy(), _LIFT_S * math.sqrt(scale)
    for path, original, foot in zip(result, soles, stands, strict=True):
        if not foot.any():
            continue
        for start, stop in runs(foot):
            path[start:stop, :2] = np.median(path[start:stop, :2], axis=0)
            path[start:stop, 2] = 0.0
        held = np.flatnonzero(foot)
        moved = path - original
        for start, stop in runs(~foot):
            swing = path[start:stop]
            if start == 0 or stop == len(foot):
                near = held[0] if start == 0 else held[-1]
                away = np.abs(np.arange(start, stop) - near) / fps
                free = swing[:, :2] + moved[near, :2]
                share = smoothstep(away / lift_s)[:, None]
                swing[:, :2] = path[near, :2] + share * (free - path[near, :2])
                least = clearance * np.sin(np.pi / 2.0 * np.clip(away / (2.0 * lift_s), 0.0, 1.0))
                swing[:, 2] = np.maximum(swing[:, 2], least)
                continue
            before, after = path[start - 1, :2].copy(), path[stop, :2].copy()
            share = (np.arange(1.0, stop - start + 1.0) / (stop - start + 1.0))[:, None]
            first, last = moved[start - 1, :2], moved[stop, :2]
            free = swing[:, :2] + first + smoothstep(share) * (last - first)
            away, left = smoothstep(share / _HOLD), smoothstep((1.0 - share) / _HOLD)
            free = before + away * (free - before)
            swing[:, :2] = after + left * (free - after)
            least = clearance * np.sin(np.pi * share[:, 0])
            swing[:, 2] = np.maximum(swing[:, 2], least)
    return result
