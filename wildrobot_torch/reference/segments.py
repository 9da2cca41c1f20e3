"""From judged windows to accepted segments: the longest stretches that pass, without overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.robot import RobotSpec
from wildrobot_torch.reference.gates import Gate, Verdict, judge
from wildrobot_torch.reference.metrics import Frames, measure


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How rollouts are cut, and how much better segments may outweigh worse ones."""

    window: int = 50
    """Frames of a window."""
    stride: int = 10
    """Frames from one window's start to the next."""
    min_frames: int = 20
    """Shortest stretch that is judged at all, and shortest segment [frames]."""
    weight_ratio: float = 3.0
    """Largest sampling weight of a segment over the smallest, >= 1."""

    def __post_init__(self) -> None:
        if not 2 <= self.min_frames <= self.window:
            raise ValueError(
                f"segments.min_frames is {self.min_frames}; allowed: 2 to window ({self.window})"
            )
        if not 1 <= self.stride <= self.window:
            raise ValueError(
                f"segments.stride is {self.stride}; allowed: 1 to window ({self.window}), "
                "so that no frame is left unjudged"
            )
        if self.weight_ratio < 1.0:
            raise ValueError(f"segments.weight_ratio is {self.weight_ratio}; allowed: 1 or more")


@dataclass(frozen=True)
class Stretch:
    """Frames start..stop-1 of a rollout and what the gates say of them."""

    start: int
    stop: int
    verdict: Verdict

    @property
    def num_frames(self) -> int:
        """Length [frames]."""
        return self.stop - self.start


@dataclass(frozen=True)
class Search:
    """Everything judged in one rollout."""

    windows: tuple[Stretch, ...]
    """Every window, in order."""
    segments: tuple[Stretch, ...]
    """Every maximal run of accepted windows, in order, without overlap; accepted or not."""

    @property
    def accepted(self) -> tuple[Stretch, ...]:
        """The segments that passed every gate."""
        return tuple(s for s in self.segments if s.verdict.accepted)

    def first_failure(self) -> str | None:
        """Reason of the earliest rejection, windows before segments; None without one."""
        for stretch in (*self.windows, *self.segments):
            if not stretch.verdict.accepted:
                return stretch.verdict.reasons[0]
        return None


def window_spans(num_frames: int, config: SegmentConfig) -> list[tuple[int, int]]:
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
    frames: Frames, robot: RobotSpec, gates: Sequence[Gate], config: SegmentConfig
) -> Search:
    """Windows of a rollout, judged, and the maximal segments they merge into.

    A segment grows window by window as long as the whole of it passes the window gates, for
    percentiles and shares of a union do not follow from those of its parts. When it stops growing,
    all gates judge it.
    """
    window_gates = [gate for gate in gates if gate.scope == "window"]

    def stretch(start: int, stop: int, by: Sequence[Gate]) -> Stretch:
        return Stretch(start, stop, judge(measure(frames.cut(start, stop), robot), by))

    windows = [stretch(a, b, window_gates) for a, b in window_spans(frames.num_frames, config)]
    spans: list[tuple[int, int]] = []
    for window in windows:
        if not window.verdict.accepted:
            continue
        if spans and window.start <= spans[-1][1]:
            start = spans[-1][0]
            if stretch(start, window.stop, window_gates).verdict.accepted:
                spans[-1] = (start, window.stop)
            # A refused extension starts anew only where frames are not taken yet.
            continue
        spans.append((window.start, window.stop))
    return Search(tuple(windows), tuple(stretch(a, b, gates) for a, b in spans))


def free_span(start: int, stop: int, taken: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Longest part (start, stop) of a span that no taken span overlaps; (start, start) if none."""
    best, cursor = (start, start), start
    for low, high in [*sorted(taken), (stop, stop)]:
        end = min(max(low, cursor), stop)
        if end - cursor > best[1] - best[0]:
            best = (cursor, end)
        cursor = max(cursor, high)
    return best


def quality_weight(verdict: Verdict, gates: Sequence[Gate], ratio: float) -> float:
    """Sampling weight in [1, ratio]: grows with the mean distance from the upper bounds.

    The distance from an upper bound is 1 - value / bound, within [0, 1]; so the least assisted,
    least slipping, most upright segments weigh most, none more than `ratio` times another.
    """
    margins = []
    for gate in gates:
        if gate.max is not None and gate.max > 0.0 and gate.min is None:
            value = verdict.metrics[gate.metric]
            margins.append(min(max(1.0 - value / gate.max, 0.0), 1.0))
    quality = sum(margins) / len(margins) if margins else 0.0
    return 1.0 + (ratio - 1.0) * quality
