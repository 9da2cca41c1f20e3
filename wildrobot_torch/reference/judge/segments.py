"""From judged windows to labelled segments: every frame in the best tier it can have, but once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from envs.errors import UserError
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.settings import PositiveFloat, check
from wildrobot_torch.motion.metrics import measure
from wildrobot_torch.reference.judge.gates import TIERS, Gate, GateResult, judge

Span = tuple[int, int]
"""Frames (start, stop): start..stop-1."""


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How rollouts are cut, and how much better segments may outweigh worse ones."""

    window: int = 50
    """Frames of a window."""
    stride: int = 10
    """Frames from one window's start to the next."""
    min_frames: int = 20
    """Shortest stretch that is judged at all, and shortest segment [frames]."""
    tiers: tuple[str, ...] = ("0+", "0", "1")
    """Tiers to keep, best first; "2" is what merely stands, for ablations."""
    temperature: PositiveFloat = 0.25
    """Difference in quality (0 to 1) that makes a segment's sampling weight e times larger."""
    weight_ratio: float = 3.0
    """Largest sampling weight of a segment over the smallest, >= 1."""

    def __post_init__(self) -> None:
        check(self)
        if not 2 <= self.min_frames <= self.window:
            raise UserError(
                f"segments.min_frames is {self.min_frames}; allowed: 2 to window ({self.window})"
            )
        if not 1 <= self.stride <= self.window:
            raise UserError(
                f"segments.stride is {self.stride}; allowed: 1 to window ({self.window}), "
                "so that no frame is left unjudged"
            )
        if not self.tiers or tuple(t for t in TIERS if t in self.tiers) != tuple(self.tiers):
            raise UserError(
                f"segments.tiers is {self.tiers}; allowed: one or more of {TIERS}, in this order"
            )
        if self.weight_ratio < 1.0:
            raise UserError(f"segments.weight_ratio is {self.weight_ratio}; allowed: 1 or more")


@dataclass(frozen=True)
class Stretch:
    """Frames start..stop-1 of a rollout and what the gates of a tier say of them."""

    start: int
    stop: int
    verdict: GateResult

    @property
    def num_frames(self) -> int:
        """Length [frames]."""
        return self.stop - self.start


@dataclass(frozen=True)
class Search:
    """Everything judged in one rollout."""

    windows: tuple[Stretch, ...]
    """Every window of the whole rollout, judged by the window gates of the best tier."""
    segments: tuple[Stretch, ...]
    """Every candidate, accepted or not, tier by tier; the accepted ones do not overlap."""
    gaps: tuple[Stretch, ...] = ()
    """What is in no accepted segment, in order, with the last tier's verdict; no gate has failed
    where there are too few frames to judge."""

    @property
    def accepted(self) -> list[Stretch]:
        """The segments that passed every gate of their tier, in order."""
        return sorted((s for s in self.segments if s.verdict.accepted), key=lambda s: s.start)


def window_spans(num_frames: int, config: SegmentConfig) -> list[Span]:
    """(start, stop) of windows that cover a rollout; the last one ends with it.

    A rollout shorter than a window is one window, or none below `min_frames`.
    """
    if num_frames < config.min_frames:
        return []
    if num_frames <= config.window:
        return [(0, num_frames)]
    last = num_frames - config.window
    starts = [*range(0, last, config.stride), last]
    return [(start, start + config.window) for start in starts]


def find_segments(
    frames: Recording, robot: RobotSpec, gates: Sequence[Gate], config: SegmentConfig
) -> Search:
    """The segments of a rollout, mined tier by tier from the best down.

    Each tier searches the frames that no better one took. There, a segment grows window by window
    as long as the whole of it passes the window gates, for percentiles and shares of a union do not
    follow from those of its parts. When it stops growing, all gates judge it; where they refuse,
    its halves are tried, down to a window's length, so one bad second does not cost a minute.
    """
    miner = _Miner(frames, robot, gates, config)
    windows = [
        miner.stretch(span, config.tiers[0], window_gates=True)
        for span in window_spans(frames.num_steps, config)
    ]
    candidates: dict[tuple[int, int, str], Stretch] = {}
    taken: list[Span] = []
    for tier in config.tiers:
        searched: set[Span] = set()
        # What is left between new segments is searched in turn.
        while spans := [s for s in free_spans(0, frames.num_steps, taken) if s not in searched]:
            searched.update(spans)
            for run in (run for span in spans for run in miner.runs(span, tier)):
                for found in miner.halved(run, tier):
                    candidates[(found.start, found.stop, tier)] = found
                    if found.verdict.accepted:
                        taken.append((found.start, found.stop))
    segments = tuple(candidates.values())
    gaps = [miner.gap(span, segments) for span in free_spans(0, frames.num_steps, taken)]
    return Search(tuple(windows), segments, tuple(gaps))


class _Miner:
    """Judges stretches of one rollout, measuring each once."""

    def __init__(
        self, frames: Recording, robot: RobotSpec, gates: Sequence[Gate], config: SegmentConfig
    ) -> None:
        self.frames, self.robot, self.config = frames, robot, config
        self.gates = {True: [g for g in gates if g.scope == "window"], False: list(gates)}
        self.names = {gate.metric for gate in gates}
        self.metrics: dict[Span, dict[str, float]] = {}

    def stretch(self, span: Span, tier: str, *, window_gates: bool = False) -> Stretch:
        if span not in self.metrics:
            self.metrics[span] = measure(self.frames.cut(*span), self.robot, names=self.names)
        return Stretch(*span, judge(self.metrics[span], self.gates[window_gates], tier))

    def windows(self, free: Span, tier: str) -> list[Stretch]:
        spans = window_spans(free[1] - free[0], self.config)
        moved = [(free[0] + start, free[0] + stop) for start, stop in spans]
        return [self.stretch(span, tier, window_gates=True) for span in moved]

    def runs(self, free: Span, tier: str) -> list[Span]:
        """Maximal spans within `free` that pass the window gates, without overlap."""
        runs: list[Span] = []
        for window in self.windows(free, tier):
            if not window.verdict.accepted:
                continue
            if runs and window.start <= runs[-1][1]:
                longer = (runs[-1][0], window.stop)
                if self.stretch(longer, tier, window_gates=True).verdict.accepted:
                    runs[-1] = longer
                # A refused extension starts anew only where frames are not taken yet.
                continue
            runs.append((window.start, window.stop))
        return runs

    def halved(self, span: Span, tier: str) -> list[Stretch]:
        """The span judged by all gates; its parts, where it fails and they are long enough."""
        whole = self.stretch(span, tier)
        if whole.verdict.accepted or whole.num_frames < 2 * self.config.window:
            return [whole]
        middle = (span[0] + span[1]) // 2
        parts = [self.halved(part, tier) for part in ((span[0], middle), (middle, span[1]))]
        kept = [s for part in parts for s in part if s.verdict.accepted]
        return [whole, *kept]

    def gap(self, span: Span, candidates: Sequence[Stretch]) -> Stretch:
        """Why the last tier did not take a span: the refusal that covers most of it."""
        tier, length = self.config.tiers[-1], span[1] - span[0]
        tried = [s for s in candidates if s.verdict.tier == tier and not s.verdict.accepted]
        tried += [w for w in self.windows(span, tier) if not w.verdict.accepted]
        if not tried or length < self.config.min_frames:
            few = GateResult({}, (), (f"{length} frames are too few to judge",), tier)
            return Stretch(*span, few)
        most = max(tried, key=lambda s: min(s.stop, span[1]) - max(s.start, span[0]))
        return Stretch(*span, most.verdict)


def free_spans(start: int, stop: int, taken: Sequence[Span]) -> list[Span]:
    """What of the frames start..stop-1 no taken span holds, in order."""
    spans, cursor = [], start
    for low, high in [*sorted(taken), (stop, stop)]:
        end = min(low, stop)
        if end > cursor:
            spans.append((cursor, end))
        cursor = max(cursor, high)
    return spans


def free_span(start: int, stop: int, taken: Sequence[Span]) -> Span:
    """Longest part (start, stop) of a span that no taken span overlaps; (start, start) if none."""
    spans = free_spans(start, stop, taken)
    return max(spans, key=lambda span: span[1] - span[0], default=(start, start))


def sampling_weights(qualities: Sequence[float], config: SegmentConfig) -> list[float]:
    """Weight of each segment's frames: exp((quality - best) / temperature), at least 1 / ratio.

    So the best segment weighs 1, and none is drawn more than `weight_ratio` times as often as
    another of its length.
    """
    best = max(qualities, default=0.0)
    least = 1.0 / config.weight_ratio
    return [max(math.exp((q - best) / config.temperature), least) for q in qualities]
