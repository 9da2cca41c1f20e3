"""When a control loop ticks: at fixed times, late or not at all, never twice in a short time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LATEST = 0.5
"""Share of a period by which a tick may be late before it is given up for the next one, and that
lies between any two ticks."""
NEAR = 1e-9
"""Times that differ by less are the same [s]."""
BINS = 20_000
"""Number of bins in which delays are counted; the last one has all beyond."""


class ClockError(RuntimeError):
    """A clock stepped back; no times can be trusted any more. The message is one line."""


class Delays:
    """How often delays had which size, in constant memory however long the run."""

    def __init__(self, width: float = 10e-6) -> None:
        """`width` of a bin [s]."""
        self._width = width
        self._counts = np.zeros(BINS, dtype=np.int64)
        self.largest = 0.0
        """[s]."""

    def add(self, delay: float) -> None:
        """Count a delay [s]."""
        self._counts[min(max(int(delay / self._width), 0), BINS - 1)] += 1
        self.largest = max(self.largest, delay)

    @property
    def count(self) -> int:
        """How many there were."""
        return int(self._counts.sum())

    def percentile(self, share: float) -> float:
        """Delay [s] that `share` percent do not exceed, to a bin; 0 where there was none."""
        wanted = np.ceil(share / 100.0 * self.count)
        bin_ = int(np.searchsorted(np.cumsum(self._counts), max(wanted, 1.0)))
        if bin_ == BINS - 1 or not self.count:
            return self.largest
        return min((bin_ + 1) * self._width, self.largest)


@dataclass(frozen=True)
class Tick:
    """One turn of the loop."""

    number: int
    """Periods since the start."""
    due: float
    """When it had to begin [s]."""
    began: float
    """When it began [s]."""
    skipped: int
    """Ticks between the one before and this one that were left out."""


class Scheduler:
    """Ticks at start + n * period of a clock."""

    def __init__(
        self, period: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        """`period` [s]; `clock` says the time [s], `sleep` waits for so long [s], or longer."""
        self.period = period
        self.late = Delays()
        """How late ticks began."""
        self.missed = 0
        """Ticks that were skipped."""
        self._clock, self._sleep = clock, sleep
        self._start = self._began = math.nan
        self._next = 0
        self._last = -math.inf

    def wait(self) -> Tick:
        """Wait for the next tick; the first one is now.

        Raises:
            ClockError: the clock stepped back.
        """
        now = self._now()
        if math.isnan(self._start):
            self._start, self._began = now, now - self.period
        # Not too soon after the tick before, which may itself have been late.
        number = max(self._next, self._after(self._began + LATEST * self.period))
        newest = self._before(now)
        if newest >= number:
            late = now - self._due(newest) > LATEST * self.period
            number = newest + 1 if late else newest
        while now < self._due(number) - NEAR:
            self._sleep(self._due(number) - now)
            now = self._now()
        number = max(number, self._before(now))  # the sleep may have been far too long
        skipped = number - self._next
        self.missed += skipped
        self._next, self._began = number + 1, now
        due = self._due(number)
        self.late.add(now - due)
        return Tick(number, due, now, skipped)

    def _due(self, number: int) -> float:
        return self._start + number * self.period

    def _before(self, when: float) -> int:
        """The last tick that is due at a time or before."""
        return math.floor((when - self._start + NEAR) / self.period)

    def _after(self, when: float) -> int:
        """The first tick that is due at a time or after."""
        return math.ceil((when - self._start - NEAR) / self.period)

    def _now(self) -> float:
        now = self._clock()
        if now < self._last:
            raise ClockError(f"the clock stepped back by {self._last - now:.6f} s")
        self._last = now
        return now
