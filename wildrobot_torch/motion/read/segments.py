"""What a captured figure does, second by second: walks, turns, side steps, stops, starts, runs.

Speeds and rates are compared by the Froude number, so that a child's walk and a giant's are walks
alike: a speed in sqrt(g L), a turning rate in sqrt(g / L), with L the length of the legs.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.ndimage import minimum_filter1d

from envs.robot.spec import SIDES
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.series import runs

GRAVITY = 9.81
KINDS = (
    "stand", "start", "walk", "stop", "walk backwards", "side step left", "side step right",
    "turn left", "turn right", "run", "jump", "not upright",
)  # fmt: skip
"""What a segment may be."""
WALKING = ("start", "walk", "stop")
"""Kinds that are walking ahead."""

_MOVES = 0.06
"""Speed above which a figure moves [sqrt(g L)]: 0.17 m/s of an adult."""
_TURNS = 0.1
"""Rate above which it turns [sqrt(g / L)]: 0.35 rad/s of an adult."""
_RUNS = 0.71
"""Speed above which people run [sqrt(g L)]: at a Froude number v^2 / (g L) of 0.5 (Alexander
1989, Physiological Reviews 69)."""
_OFF_GROUND = 0.05
"""Height of both feet above where they rest in flight [L]."""
_FLIGHT = 0.15
"""Share of a stride in flight from which it is a run."""
_UPRIGHT = 0.75
"""Height of the pelvis over the lower foot below which a figure is not upright [its usual one]."""
_STRIDE = 3.5
"""Window over which speeds are taken, about a stride [sqrt(L / g)]: 1.0 s of an adult."""
_BRIEF = 0.5
"""Segments shorter than this share of the window belong to a neighbour."""
_STEADY = 0.8
"""Share of a walk's median speed below which it starts or stops, beside a stand."""


class Segment(NamedTuple):
    """A stretch of one kind [s]."""

    start_s: float
    end_s: float
    kind: str


class Pace(NamedTuple):
    """How fast a figure moves in a segment, on average."""

    speed: float
    """Of the pelvis over the floor [m/s]."""
    froude: float
    """speed^2 / (g L) [1]."""
    turn: float
    """Change of the heading [rad], > 0 to the left."""


def segments(motion: SkeletonMotion) -> list[Segment]:
    """Stretches of one kind that follow each other from the first frame to the last."""
    unit_time = math.sqrt(motion.leg_length / GRAVITY)
    window = max(2, round(_STRIDE * unit_time * motion.fps))
    ahead, aside, rate = (series * unit_time for series in _velocities(motion, window))
    ahead, aside = ahead / motion.leg_length, aside / motion.leg_length
    speed = np.hypot(ahead, aside)
    moves, turns = speed > _MOVES, np.abs(rate) > _TURNS
    flies = _running_mean(_flight(motion, 3 * window).astype(float), window) > _FLIGHT
    kinds = np.full(motion.num_frames, "stand", dtype=object)
    kinds[moves] = "walk"
    kinds[moves & (ahead < 0.0)] = "walk backwards"
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        kinds[moves & (sign * aside > np.abs(ahead))] = f"side step {side}"
        kinds[turns & (sign * rate > 0.0)] = f"turn {side}"
    kinds[flies & ~moves] = "jump"
    kinds[moves & (flies | (speed > _RUNS))] = "run"
    kinds[~_upright(motion)] = "not upright"
    _merge_brief(kinds, max(1, round(_BRIEF * window)))
    _mark_starts_and_stops(kinds, speed)
    edges = [0, *(i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1])]
    times = [edge / motion.fps for edge in edges] + [motion.duration_s]
    return [
        Segment(start, end, str(kinds[edge]))
        for (start, end), edge in zip(pairwise(times), edges, strict=True)
    ]


def pace(motion: SkeletonMotion, segment: Segment) -> Pace:
    """Speed, Froude number and turn in a segment."""
    first, last = round(segment.start_s * motion.fps), round(segment.end_s * motion.fps)
    at = motion.positions["pelvis"][[first, last], :2]
    speed = float(np.linalg.norm(at[1] - at[0])) / max(segment.end_s - segment.start_s, 1e-9)
    heading = motion.heading()[first : last + 1]
    # By a line through it: hips swing to and fro with every step.
    time = np.arange(len(heading)) - (len(heading) - 1) / 2.0
    turn = float(time @ heading / (time @ time)) * (len(heading) - 1)
    return Pace(speed, speed**2 / (GRAVITY * motion.leg_length), turn)


def _velocities(motion: SkeletonMotion, window: int) -> tuple[Array, Array, Array]:
    """Speed ahead and to the left of the heading [m/s] and its rate [rad/s], each (N,)."""
    frames = np.arange(motion.num_frames)
    low = np.clip(frames - window // 2, 0, None)
    high = np.clip(frames + (window + 1) // 2, None, motion.num_frames - 1)
    span = (high - low) / motion.fps
    move = motion.positions["pelvis"][high, :2] - motion.positions["pelvis"][low, :2]
    heading = motion.heading()
    rate = (heading[high] - heading[low]) / span
    mean = _running_mean(heading, window)
    cos, sin = np.cos(mean), np.sin(mean)
    ahead = (cos * move[:, 0] + sin * move[:, 1]) / span
    aside = (cos * move[:, 1] - sin * move[:, 0]) / span
    return ahead, aside, rate


def _running_mean(values: Array, window: int) -> Array:
    """Mean over a window about each frame, cut at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    frames = np.arange(len(values))
    low = np.clip(frames - window // 2, 0, None)
    high = np.clip(frames + (window + 1) // 2, None, len(values))
    return (total[high] - total[low]) / (high - low)


def _flight(motion: SkeletonMotion, window: int) -> Flags:
    """Frames in which ankles and toes of both feet are above where they rest (N,).

    They rest at their lowest within a window, because captured floors vary by some centimetres.
    """
    flags = np.ones(motion.num_frames, dtype=bool)
    for side in SIDES:
        for part in ("ankle", "toe"):
            height = motion.positions[f"{side}_{part}"][:, 2]
            rest = minimum_filter1d(height, window, mode="nearest")
            flags &= height > rest + _OFF_GROUND * motion.leg_length
    return flags


def _upright(motion: SkeletonMotion) -> Flags:
    """Frames in which the pelvis is about as high over the feet as it usually is (N,)."""
    feet = [motion.positions[f"{side}_ankle"][:, 2] for side in SIDES]
    height = motion.positions["pelvis"][:, 2] - np.minimum(*feet)
    return height > _UPRIGHT * max(float(np.quantile(height, 0.9)), 0.9 * motion.leg_length)


def _merge_brief(kinds: np.ndarray, least: int) -> None:
    """Give stretches shorter than `least` frames to the longer neighbour, the shortest first."""
    while True:
        found = [r for kind in set(kinds) for r in runs(kinds == kind)]
        brief = [r for r in found if r[1] - r[0] < least]
        if not brief or len(found) == 1:
            return
        start, stop = min(brief, key=lambda r: r[1] - r[0])
        beside = [r for r in found if r[1] == start or r[0] == stop]
        kinds[start:stop] = kinds[max(beside, key=lambda r: r[1] - r[0])[0]]


def _mark_starts_and_stops(kinds: np.ndarray, speed: Array) -> None:
    """Name the part of a walk after, or before, a stand in which its speed is not yet there."""
    for start, stop in runs(kinds == "walk"):
        slow = speed[start:stop] < _STEADY * np.median(speed[start:stop])
        steady = np.flatnonzero(~slow)
        if start > 0 and kinds[start - 1] == "stand":
            kinds[start : start + steady[0]] = "start"
        if stop < len(kinds) and kinds[stop] == "stand":
            kinds[start + steady[-1] + 1 : stop] = "stop"
