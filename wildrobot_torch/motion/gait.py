"""Gait as it is measured from recorded steps: touchdowns, strides, support, timing, symmetry.

Pure functions of tensors: T control steps of `ctrl_dt` [s], E episodes, 2 feet (left, right), S
strides; `standing` and `touchdown` are (T, E, 2) bool. `valid` (T, E) is True from an episode's
first step to its last; what lies beyond is never read. A quantity that nothing defines (the phase
of a robot that stands) is NaN: never 0, never 1.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from envs.thresholds import MIN_AIR_S, MIN_STANCE_S

TOGETHER_S = 0.04
"""Touchdowns of both feet at most this far apart are one landing on both feet [s]."""


def num_steps(seconds: float, ctrl_dt: float) -> int:
    """Fewest control steps that last `seconds`."""
    return math.ceil(seconds / ctrl_dt - 1e-6)


def _run_lengths(signal: Tensor) -> Tensor:
    """Length of the run of equal values (T, ...) each step belongs to, along the first axis."""
    steps = signal.shape[0]
    t = torch.arange(steps, device=signal.device).reshape(-1, *[1] * (signal.dim() - 1))
    change = torch.ones_like(signal, dtype=torch.bool)
    change[1:] = signal[1:] != signal[:-1]
    start = torch.where(change, t, 0).cummax(0).values
    last = torch.ones_like(change)
    last[:-1] = change[1:]
    end = torch.where(last, t, steps).flip(0).cummin(0).values.flip(0)
    return end - start + 1


def stance(contact: Tensor, valid: Tensor, ctrl_dt: float) -> Tensor:
    """Whether each foot stands (T, E, 2) bool, with chatter of the contact removed.

    `contact` (T, E, 2) bool says that the foot is loaded. In a run of it shorter than
    `MIN_STANCE_S`, or of air shorter than `MIN_AIR_S`, the foot stays in the state it was in. Steps
    before the first longer run take the state of that run. Other changes happen at the step the
    contact changed: nothing lags.
    """
    # Beyond the end a third value closes every run, so that no run reaches over it.
    signal = torch.where(valid[..., None], contact.long(), -1)
    needed = torch.where(contact, num_steps(MIN_STANCE_S, ctrl_dt), num_steps(MIN_AIR_S, ctrl_dt))
    counts = (_run_lengths(signal) >= needed) & valid[..., None]
    t = torch.arange(contact.shape[0], device=contact.device)[:, None, None]
    source = torch.where(counts, t, -1).cummax(0).values
    first = counts.long().argmax(0, keepdim=True)
    source = torch.where(source < 0, first, source)
    return contact.gather(0, source) & valid[..., None]


def touchdowns(standing: Tensor, valid: Tensor) -> Tensor:
    """Steps at which a foot comes down (T, E, 2) bool; the stance an episode begins in is none."""
    down = torch.zeros_like(standing)
    down[1:] = standing[1:] & ~standing[:-1] & valid[1:, :, None]
    return down


def alternation_counts(touchdown: Tensor, ctrl_dt: float) -> tuple[Tensor, Tensor]:
    """Touchdowns followed by one of the other foot, and touchdowns followed by any, each (E,).

    Their ratio is the alternation [1]: 1 for walking and running, 0 for hopping on one foot. Feet
    that land at most `TOGETHER_S` apart land as one, on both: such a landing has no other foot,
    so jumping with both feet scores 0, in whatever order they arrive. An episode with fewer than
    two landings counts (0, 0).
    """
    together = num_steps(TOGETHER_S, ctrl_dt)
    good = torch.zeros(touchdown.shape[1], dtype=torch.long)
    pairs = torch.zeros_like(good)
    for episode in range(touchdown.shape[1]):
        sides = _landings(touchdown[:, episode], together)
        pairs[episode] = max(len(sides) - 1, 0)
        good[episode] = sum({a, b} == {0, 1} for a, b in pairwise(sides))
    return good, pairs


def _landings(touchdown: Tensor, together: int) -> list[int]:
    """Landings of one episode (T, 2) in time: 0 left, 1 right, 2 both at once."""
    sides: list[int] = []
    previous = -math.inf
    for step, side in touchdown.nonzero().tolist():
        if sides and step - previous <= together and sides[-1] == 1 - side:
            sides[-1] = 2
        else:
            sides.append(side)
        previous = step
    return sides


def alternation(touchdown: Tensor, ctrl_dt: float) -> float:
    """Share of touchdowns followed by one of the other foot [1], of `alternation_counts`."""
    good, pairs = alternation_counts(touchdown, ctrl_dt)
    return float(good.sum().double() / pairs.sum())


class Strides(NamedTuple):
    """S strides (S,), each from a touchdown of a foot (0 left, 1 right) to its next.

    A stride consists of the steps start <= t < end.
    """

    episode: Tensor
    foot: Tensor
    start: Tensor
    end: Tensor

    @property
    def steps(self) -> Tensor:
        """Duration (S,) in control steps."""
        return self.end - self.start

    def of_foot(self, foot: int) -> Strides:
        """The strides of one foot."""
        return Strides(*(values[self.foot == foot] for values in self))


def find_strides(touchdown: Tensor) -> Strides:
    """All strides, by episode, foot and time, of touchdowns (T, E, 2)."""
    episode, foot, step = touchdown.permute(1, 2, 0).nonzero().unbind(-1)
    same = (episode[1:] == episode[:-1]) & (foot[1:] == foot[:-1])
    return Strides(episode[:-1][same], foot[:-1][same], step[:-1][same], step[1:][same])


def stride_frequency(strides: Strides, ctrl_dt: float) -> float:
    """One over the mean stride time [1/s]."""
    return 1.0 / (float(strides.steps.double().mean()) * ctrl_dt)


def stride_length(strides: Strides, root_pos_w: Tensor) -> float:
    """Mean horizontal distance of the root (T, E, 3) [m] in a stride [m]."""
    position = root_pos_w[..., :2].double()
    way = position[strides.end, strides.episode] - position[strides.start, strides.episode]
    return float(way.norm(dim=-1).mean())


def duty_factors(strides: Strides, standing: Tensor) -> Tensor:
    """Share of each stride its foot stands (S,) [1]; people walk at 0.55 to 0.65.

    Above 0.5 is walking, below is running (Winter 2009, Biomechanics and Motor Control of Human
    Movement).
    """
    before = _count_before(standing)
    at = (strides.episode, strides.foot)
    return (before[(strides.end, *at)] - before[(strides.start, *at)]) / strides.steps.double()


def phases(strides: Strides, touchdown: Tensor) -> Tensor:
    """Phase at which the other foot comes down in each left stride (S',) [1], in [0, 1).

    phi = (t_right - t_left) / T_stride: 0.5 when the feet take even turns, 0 when they land
    together. Only strides in which the right foot comes down exactly once have a phase.
    """
    left = strides.of_foot(0)
    right = touchdown[..., 1]
    before = _count_before(right)
    once = (before[left.end, left.episode] - before[left.start, left.episode]) == 1
    t = torch.arange(right.shape[0], device=right.device)[:, None]
    latest = torch.where(right, t, -1).cummax(0).values
    step = latest[left.end - 1, left.episode]
    return ((step - left.start) / left.steps.double())[once]


def circular_mean(phase: Tensor) -> float:
    """Mean of phases in [0, 1) on the circle [1]: 0.99 and 0.01 average to 0."""
    angle = 2.0 * torch.pi * phase.double()
    mean = torch.atan2(torch.sin(angle).mean(), torch.cos(angle).mean()) / (2.0 * torch.pi)
    return float(mean % 1.0)


def step_times(touchdown: Tensor, ctrl_dt: float) -> Tensor:
    """Mean time from the last touchdown of the other foot (2,) [s]: ending left, ending right.

    Landings on both feet at once neither begin nor end a step. NaN for a side without steps.
    """
    together = num_steps(TOGETHER_S, ctrl_dt)
    total, count = torch.zeros(2, dtype=torch.double), torch.zeros(2)
    for episode in range(touchdown.shape[1]):
        events = touchdown[:, episode].nonzero().tolist()
        for (t0, side0), (t1, side1) in pairwise(events):
            if side0 != side1 and t1 - t0 > together:
                total[side1] += (t1 - t0) * ctrl_dt
                count[side1] += 1
    return total / count


def symmetry_index(pair: Tensor) -> float:
    """Difference of left and right (2,), of one sign, over their mean [%]; 0 is symmetric.

    SI = 2 |x_L - x_R| / (x_L + x_R) * 100: Robinson, Herzog and Nigg 1987 (J. Manipulative
    Physiol. Ther. 10(4), 172-176).
    """
    left, right = pair.double()
    return float(200.0 * ((left - right).abs() / (left + right).abs()))


def stride_ranges(strides: Strides, value: Tensor) -> Tensor:
    """Largest minus smallest value (T, E, 2) of the stride's own foot in each stride (S,).

    Of a joint angle that is its range of motion, of a sole's height its clearance.
    """
    steps, episodes, feet = value.shape
    number = strides.steps.numel()
    # Each step of each foot gets the number of the stride it is in, by marking starts and ends.
    owner = torch.zeros(episodes * feet, steps + 1, dtype=torch.long, device=value.device)
    row = strides.episode * feet + strides.foot
    index = torch.arange(1, number + 1, device=value.device)
    owner.index_put_((row, strides.start), index, accumulate=True)
    owner.index_put_((row, strides.end), -index, accumulate=True)
    owner = owner.cumsum(1)[:, :steps].reshape(-1)
    flat = value.permute(1, 2, 0).reshape(-1)
    inside = owner > 0
    lowest = torch.full((number,), math.inf, dtype=value.dtype, device=value.device)
    low = lowest.scatter_reduce(0, owner[inside] - 1, flat[inside], "amin")
    high = (-lowest).scatter_reduce(0, owner[inside] - 1, flat[inside], "amax")
    return high - low


def _count_before(flag: Tensor) -> Tensor:
    """How often `flag` (T, ...) was True before each step (T + 1, ...) long, the end included."""
    return torch.cat([torch.zeros_like(flag[:1], dtype=torch.long), flag.long().cumsum(0)])
