"""What the legs of a clip do, told from the joints: feet seen from the hips, stances, and the walk.

The root's path of a clip may be wrong (sunk, sliding, the wrong way round); the joints say how the
feet move against the hips, and a foot that stands then says how the hips move over the floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import percentile_filter, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.kinematics import Legs
from wildrobot_torch.motion.rotations import Array, Flags

STRIDE_S = 1.6
"""Time within which each foot of a walking clip rests at least once [s]."""
LOCK_HEIGHT = 0.006
"""A sole lower than this over its floor stands [m]."""
_ROUNDS = 4
_SLOW, _SLIDING = 0.1, 0.6
"""A foot that stands is slower over the floor than this [m/s], or this share of the walk."""
_HOLD = 0.15
"""Share of a swing at each end within which the foot parts from where it stood."""
_LIFT_S = 0.05
"""Time [s] it takes to do so in a swing of which the clip has one end only."""
_SHORTEST_S = 0.08
"""A stance or a swing that is shorter is none [s]."""
_HEADING_HZ = 0.4
_STEADY_S = 3.0


def low_pass(series: Array, cutoff_hz: float, fps: float) -> Array:
    """`series` (N, ...) without what is faster than `cutoff_hz`, not delayed.

    Butterworth of second order, forth and back along the first axis; a cut-off at or beyond half
    the rate changes nothing.
    """
    if cutoff_hz >= 0.5 * fps:
        return series.copy()
    sections = butter(2, cutoff_hz, fs=fps, output="sos")
    # Ends are continued by reflection for one period of the cut-off, as far as the series goes.
    pad = min(len(series) - 1, round(fps / cutoff_hz))
    return np.asarray(sosfiltfilt(sections, series, axis=0, padlen=pad))


def slow_heading(clip: Clip) -> Array:
    """Heading (N,) [rad] without the pelvis' swinging from step to step, continuous over +-pi."""
    yaw = np.unwrap(rotations.yaw(clip.root_quat))
    if clip.duration_s >= _STEADY_S:
        return low_pass(yaw, _HEADING_HZ, clip.fps)
    time = np.arange(clip.num_frames) / clip.fps
    return np.asarray(np.polyval(np.polyfit(time, yaw, 1), time), dtype=np.float64)


@dataclass(frozen=True)
class Motion:
    """A clip taken apart, in its heading frame (x where it heads, z up); index 0 is the left foot.

    `taken_apart` makes one; `rebuild` in repair.py is its inverse.
    """

    heading: Array
    """(N,) [rad]: of the frame in the world."""
    hips: Array
    """(N, 3) [m]: middle of the hip-pitch axes, in the world."""
    tilt: Array
    """(N, 3) [rad]: roll, pitch and yaw of the trunk in the heading frame."""
    feet: Array
    """(2, N, 3) [m]: soles seen from the hips, each as if level over its lowest corner."""
    pitch: Array
    """(2, N) [rad]: slope of the soles, > 0 toes down."""

    @property
    def soles(self) -> Array:
        """The same points of the soles in the world, (2, N, 3) [m]."""
        return self.hips + rotations.quat_rotate(rotations.yaw_quat(self.heading), self.feet)


def taken_apart(legs: Legs, clip: Clip, heading: Array) -> Motion:
    """Trunk and feet of a clip, with `posing.pose`'s definition of where a sloping sole is."""
    leg = legs.robot.leg
    local = rotations.quat_multiply(rotations.yaw_quat(-heading), clip.root_quat)
    hip = legs.hip * [1.0, 0.0, 1.0]
    feet, pitch = [], []
    for side in (0, 1):
        foot = legs.forward(clip.joint_pos, side)
        axes = np.stack([rotations.quat_rotate(local, foot.rotation[:, :, i]) for i in range(3)], 2)
        ahead = np.where(axes[:, 2, 0] < 0.0, leg.toe, leg.heel)
        aside = np.where(axes[:, 2, 1] < 0.0, leg.sole_width / 2.0, -leg.sole_width / 2.0)
        sole = rotations.quat_rotate(local, foot.ankle - hip) - leg.ankle_height * axes[:, :, 2]
        sole[:, 0] -= ahead * (1.0 - axes[:, 0, 0])
        sole[:, 1] -= aside * (1.0 - axes[:, 1, 1])
        sole[:, 2] += ahead * axes[:, 2, 0] + aside * axes[:, 2, 1]
        feet.append(sole)
        pitch.append(-np.arcsin(np.clip(axes[:, 2, 0], -1.0, 1.0)))
    w, x, y, z = local.T
    tilt = np.stack(
        [
            np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
            np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0)),
            rotations.yaw(local),
        ],
        -1,
    )
    hips = clip.root_pos + rotations.quat_rotate(clip.root_quat, hip)
    return Motion(heading, hips, tilt, np.stack(feet), np.stack(pitch))


def floors(heights: Array, fps: float) -> Array:
    """Height at rest (2, N) [m] of soles at `heights` (2, N), stance by stance.

    The 15th percentile over a stride: a foot stands longer than that, and a few frames that sink
    in do not count.
    """
    window = max(min(round(STRIDE_S * fps), heights.shape[1]), 1)
    low = percentile_filter(heights, 15.0, size=(1, window), mode="nearest")
    return uniform_filter1d(low, window, axis=1, mode="nearest")


def standing(clearance: Array, fps: float) -> Flags:
    """Whether each foot is down (2, N), by the height of the soles over their floors (2, N)."""
    return _lasting(clearance < LOCK_HEIGHT, fps)


def _lasting(flags: Flags, fps: float) -> Flags:
    """First what is lifted for a moment stays down, then what is down for a moment stays up."""
    shortest = max(round(_SHORTEST_S * fps), 1)
    result = flags.copy()
    for foot in result:
        for kind in (False, True):
            for start, stop in runs(foot == kind):
                if stop - start < shortest and start > 0 and stop < len(foot):
                    foot[start:stop] = not kind
    return result


def runs(flags: Flags) -> list[tuple[int, int]]:
    """(start, stop) of every stretch of true frames, stop exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def bearing(clearance: Array, stands: Flags) -> Array:
    """Share (2, N) of each foot in carrying the hips: both alike when both stand.

    With no foot on the floor the lower one counts, as far as it is lower.
    """
    share = stands.astype(np.float64)
    none = ~stands.any(0)
    lower = np.clip(0.5 + (clearance[::-1] - clearance) / 0.01, 0.0, 1.0)
    share[:, none] = lower[:, none] + 1e-9
    return share / share.sum(0)


@dataclass(frozen=True)
class Walk:
    """How the hips go over the floor, told by the feet that stand."""

    way: Array
    """(N, 2) [m]: of the hips from frame 0 on, in the world."""
    stands: Flags
    """(2, N): feet that stand."""
    low: Flags
    """(2, N): feet that are as low as a standing one, moving or not."""
    share: Array
    """(2, N): what each foot carries; sums to 1 over the feet."""

    def speed(self, fps: float) -> float:
        """Net speed [m/s]."""
        return float(np.linalg.norm(self.way[-1])) * fps / (len(self.way) - 1)


def walked(motion: Motion, fps: float) -> Walk:
    """Which feet stand, and the way of the hips while they stay put; the clip's own way is unused.

    A foot stands that is low and does not move along over the floor. The first is known from the
    start; how the floor goes by is what the other feet tell, so the second is found in rounds.
    """
    soles = motion.soles
    clearance = soles[..., 2] - floors(soles[..., 2], fps)
    feet_w = (soles - motion.hips)[..., :2]
    low = standing(clearance, fps)
    stands, share = low, bearing(clearance, low)
    result = Walk(_way(feet_w, share), stands, low, share)
    for _ in range(_ROUNDS):
        over = np.linalg.norm(np.gradient(feet_w + result.way, axis=1), axis=-1) * fps
        # Of two low feet the one that is faster over the floor does not stand.
        slower = over <= over[::-1] + _SLOW
        fast = max(_SLOW, _SLIDING * result.speed(fps))
        stands = low & slower & (over < fast)
        # Walks do not fly: while neither is sure to stand, the slower one does.
        # Feet that bear alike are equally fast but for rounding, which must not choose: both stand.
        stands |= ~stands.any(0) & (over <= over[::-1] + 1e-6)
        stands = _lasting(stands, fps)
        share = bearing(clearance, stands)
        result = Walk(_way(feet_w, share), stands, low, share)
    return result


def _way(feet_w: Array, share: Array) -> Array:
    # A foot counts for a frame's step only if it bears at both of its ends.
    both = np.minimum(share[:, 1:], share[:, :-1]) + 1e-9
    both = both / both.sum(0)
    steps = -(both[..., None] * np.diff(feet_w, axis=1)).sum(0)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def locked(soles: Array, stands: Flags, clearance: float, fps: float) -> Array:
    """Paths (2, N, 3) [m] of soles that stay put while they stand, flat on z = 0.

    A standing foot goes to the median of where it was. A swing is led from the one place to the
    other: it keeps its shape but for its ends, where the foot rises before it moves on, and comes
    down after. It is lifted by at least `clearance` [m] in its middle. Before its first and after
    its last stance a foot is led from or to that one only.
    """
    result = soles.copy()
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
                # Half a swing, or the whole clip's: only its one end is held.
                near = held[0] if start == 0 else held[-1]
                away = np.abs(np.arange(start, stop) - near) / fps
                free = swing[:, :2] + moved[near, :2]
                swing[:, :2] = path[near, :2] + _eased(away / _LIFT_S)[:, None] * (
                    free - path[near, :2]
                )
                least = clearance * np.sin(np.pi / 2.0 * np.clip(away / (2.0 * _LIFT_S), 0.0, 1.0))
                swing[:, 2] = np.maximum(swing[:, 2], least)
                continue
            before, after = path[start - 1, :2].copy(), path[stop, :2].copy()
            share = ((np.arange(start, stop) - start + 1.0) / (stop - start + 1.0))[:, None]
            lead = moved[start - 1, :2] + _eased(share) * (moved[stop, :2] - moved[start - 1, :2])
            free = swing[:, :2] + lead
            away, left = _eased(share / _HOLD), _eased((1.0 - share) / _HOLD)
            free = before + away * (free - before)
            swing[:, :2] = after + left * (free - after)
            least = clearance * np.sin(np.pi * share[:, 0])
            swing[:, 2] = np.maximum(swing[:, 2], least)
    return result


def _eased(share: NDArray[np.floating[Any]]) -> Array:
    share = np.clip(share, 0.0, 1.0).astype(np.float64)
    return share * share * (3.0 - 2.0 * share)
