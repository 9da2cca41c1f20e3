"""Statistics of scores and of episodes, with their 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.stats import beta, t
from torch import Tensor

LEVEL = 0.95
"""Confidence of every interval, both sides together."""


def auc(positive: Tensor, negative: Tensor) -> Tensor:
    """Chance () that a score of `positive` (N,) exceeds one of `negative` (M,); ties count half.

    The area under the ROC curve by ranks (Mann and Whitney 1947): 0.5 where scores do not separate
    the two, 1 where they always do. NaN when either is empty.
    """
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive.contiguous())
    not_above = torch.searchsorted(ordered, positive.contiguous(), right=True)
    return 0.5 * (below + not_above).double().mean() / ordered.shape[0]


@dataclass(frozen=True)
class Estimate:
    """A number that episodes estimate, with the interval that holds the true one."""

    value: float
    low: float
    high: float
    episodes: int
    """Episodes that it is from."""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def rate(successes: int, episodes: int, level: float = LEVEL) -> Estimate:
    """Share of successes with its exact interval.

    Clopper and Pearson 1934 (Biometrika 26, 404-413): a true rate at either end gives a count at
    least as extreme with a probability of (1 - level) / 2. Its coverage is never below `level`.
    """
    if episodes == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    tail, failures = (1.0 - level) / 2.0, episodes - successes
    low = beta.ppf(tail, successes, failures + 1) if successes else 0.0
    high = beta.ppf(1.0 - tail, successes + 1, failures) if failures else 1.0
    return Estimate(successes / episodes, float(low), float(high), episodes)


def episodes_needed(above: float) -> int:
    """Fewest episodes whose interval lies above a rate in [0, 1) when all of them succeed.

    With n of n the lower end is (tail)^(1/n), so n > ln(tail) / ln(above).
    """
    if above <= 0.0:
        return 1
    needed = math.floor(math.log((1.0 - LEVEL) / 2.0) / math.log(above)) + 1
    # The formula's rounding must not admit a number whose bound only equals the rate.
    return needed if rate(needed, needed).low > above else needed + 1


def mean(values: Tensor) -> Estimate:
    """Mean of the defined values among (E,), with Student's interval; NaN is undefined.

    One value has no interval: its ends are infinite.
    """
    defined = values[~values.isnan()].double()
    number = len(defined)
    if number == 0:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    value = float(defined.mean())
    if number == 1:
        return Estimate(value, -math.inf, math.inf, 1)
    error = float(defined.std()) / math.sqrt(number)
    half = float(t.ppf((1.0 + LEVEL) / 2.0, number - 1)) * error
    return Estimate(value, value - half, value + half, number)


def rate_difference(mine: Tensor, theirs: Tensor) -> Estimate:
    """Rate of `mine` minus that of `theirs`, (E,) bool each, of the same episodes.

    Only episodes that end differently count. The shares of "mine alone" and "theirs alone" get
    exact intervals of 97.5 %, so both hold with 95 %, and so does their difference.
    """
    number, level = len(mine), (1.0 + LEVEL) / 2.0
    gained = rate(int((mine & ~theirs).sum()), number, level)
    lost = rate(int((theirs & ~mine).sum()), number, level)
    value = gained.value - lost.value
    return Estimate(value, gained.low - lost.high, gained.high - lost.low, number)
