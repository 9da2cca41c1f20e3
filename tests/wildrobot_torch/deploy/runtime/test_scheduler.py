"""wildrobot_torch.deploy.runtime.scheduler: ticks on a clock that the test turns."""

from __future__ import annotations

import numpy as np
import pytest

from wildrobot_torch.deploy.runtime.scheduler import ClockError, Delays, Scheduler


class Hands:
    """A clock whose hands move when somebody sleeps or works; sleeps are `late` [s] longer."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self.late = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now += seconds + self.late


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_ticks_keep_to_the_grid_although_work_takes_time(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    began = []
    for work in (0.004, 0.013, 0.019, 0.001, 0.0):
        began.append(scheduler.wait().began)
        hands.now += work
    assert began == pytest.approx([100.0, 100.02, 100.04, 100.06, 100.08])
    assert scheduler.missed == 0 and scheduler.late.largest < 1e-9


def test_a_late_sleep_does_not_shift_later_ticks(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    scheduler.wait()
    hands.late = 0.003
    assert [scheduler.wait().due for _ in range(3)] == pytest.approx([100.02, 100.04, 100.06])
    assert scheduler.late.largest == pytest.approx(0.003)
    assert scheduler.late.count == 4


def test_missed_ticks_are_skipped_and_counted_and_never_made_up_for(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    scheduler.wait()
    hands.now += 0.095  # the ticks at 20, 40, 60 and 80 ms pass meanwhile
    tick = scheduler.wait()
    assert (tick.number, tick.skipped, scheduler.missed) == (5, 4, 4)
    assert tick.began == pytest.approx(100.1)
    assert scheduler.wait().began == pytest.approx(100.12)


def test_two_ticks_are_never_closer_than_half_a_period(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    random = np.random.default_rng(0)
    began = []
    for _ in range(3000):
        began.append(scheduler.wait().began)
        hands.now += random.exponential(0.015)
        hands.late = random.exponential(0.004)
    assert np.diff(began).min() >= 0.01 - 1e-9
    ticks = scheduler.late.count + scheduler.missed
    assert ticks == pytest.approx((began[-1] - began[0]) / 0.02 + 1, abs=1)
    assert scheduler.late.largest < 0.02


def test_sleeps_that_are_always_far_too_long_still_give_ticks(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    scheduler.wait()
    hands.late = 0.013
    began = [scheduler.wait().began for _ in range(10)]
    # Due at 20 ms, there at 33; the next one is not due 7 ms later but 27, and there at 73.
    assert began == pytest.approx([100.033 + 0.04 * n for n in range(10)])
    assert scheduler.missed == 9


def test_a_clock_that_steps_back_is_said(hands: Hands) -> None:
    scheduler = Scheduler(0.02, hands.clock, hands.sleep)
    scheduler.wait()
    hands.now -= 0.5
    with pytest.raises(ClockError, match=r"stepped back by 0\.5"):
        scheduler.wait()


def test_percentiles_are_those_of_all_delays() -> None:
    values = np.random.default_rng(1).gamma(2.0, 0.0005, 5000)
    delays = Delays()
    for value in values:
        delays.add(float(value))
    for share in (1, 50, 99, 99.9):
        exact = np.percentile(values, share, method="inverted_cdf")
        assert delays.percentile(share) == pytest.approx(exact, abs=10e-6)
    assert delays.percentile(100) == delays.largest == values.max()
    delays.add(3600.0)  # far beyond the bins
    assert delays.percentile(100) == 3600.0
    assert Delays().percentile(50) == 0.0
