"""What a suite found: outcomes of columns in entries, held against the entries' targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.task.terminations import ENDS
from wildrobot_torch.evaluation.ladder import Rung
from wildrobot_torch.evaluation.measures import Walks, measured
from wildrobot_torch.evaluation.statistics import Estimate, mean, rate, rate_difference
from wildrobot_torch.evaluation.suites import Entry, Suite
from wildrobot_torch.motion.gait import stance
from wildrobot_torch.motion.metrics import Limit, measure

HOME_HOLD = "home hold"
"""Name of the column of the robot that holds its home pose, without any policy."""
GAIT = (
    "alternation",
    "stride_frequency",
    "stride_length",
    "duty_factor",
    "double_support",
    "clearance",
    "foot_slip",
    "symmetry_step_time",
    "impact_p95",
    "action_rate",
    "envelope_saturation",
)
"""Metrics of the gait, over all episodes of an entry."""
BEFORE_S = 1.0
"""Time before a fall that is looked at [s]."""
RASTER_S = 4.0
"""Time whose contacts are kept [s]."""


@dataclass(frozen=True)
class Fall:
    """Falls of one cause, and the second before them."""

    cause: str
    """As in `ENDS`; of a pitch with the direction."""
    count: int
    time_s: float
    """Mean time until the fall."""
    pitch_deg: float
    roll_deg: float
    """Mean lean in the second before, the roll's size."""
    speed: float
    """Mean v_x in it [m/s]."""
    saturation: float
    """Share of saturated torques in it."""
    typical: Tensor
    """(T, nq): qpos in that second, of the fall whose time is the median."""
    typical_s: float
    """When that one fell [s]."""

    def as_dict(self) -> dict[str, Any]:
        """For a report in JSON, which holds no motion."""
        return {name: value for name, value in vars(self).items() if name != "typical"}


@dataclass(frozen=True)
class Outcome:
    """What a column did in an entry."""

    success: Tensor
    """(E,) bool."""
    values: Mapping[str, Tensor]
    """(E,) of every measure."""
    misses: Mapping[str, int]
    """Measure that success limits -> number of episodes that miss the limit."""
    ends: Mapping[str, int]
    """Cause of an end -> number of episodes."""
    falls: tuple[Fall, ...]
    servo_saturation: Mapping[str, float]
    """Share of saturated torques of each servo."""
    servo_rms: Mapping[str, float]
    """RMS torque of each servo [N m]."""
    gait: Mapping[str, float]
    rungs: tuple[Rung, ...] = ()
    """Of a ladder."""
    contacts: Tensor | None = None
    """(T, 2) bool: whether the left and the right foot stand, over `RASTER_S` of the episode with
    the median speed, after the time that means leave out; None where none lasts so long."""
    ctrl_dt: float = math.nan
    """Control step [s]."""

    @cached_property
    def rate(self) -> Estimate:
        """Success rate."""
        return rate(int(self.success.sum()), len(self.success))

    def mean(self, name: str) -> Estimate:
        """Mean of a measure."""
        return mean(self.values[name])


@dataclass(frozen=True)
class Target:
    """A number held against its target by the end of its interval."""

    what: str
    """success, or the measure."""
    limit: str
    estimate: Estimate
    passed: bool


@dataclass(frozen=True)
class EntryResult:
    """What all columns did in an entry."""

    entry: Entry
    outcomes: Mapping[str, Outcome]
    """By column."""
    absent: Mapping[str, str]
    """Column -> why it was not run."""
    wall_s: float
    """Time that it took [s]."""

    def targets(self, column: str) -> list[Target]:
        """The entry's targets, by a column that was run."""
        entry, outcome = self.entry, self.outcomes[column]
        found = []
        if entry.above is not None:
            passed = outcome.rate.low > entry.above
            found.append(Target("success", f"> {entry.above:g}", outcome.rate, passed))
        for name, limit in entry.limits.items():
            value = outcome.mean(name)
            found.append(Target(name, str(limit), value, within(value, limit)))
        return found

    def passed(self, column: str) -> bool | None:
        """Whether every target is met, by a column that could not be run none; None without any."""
        if not self.entry.judged or (column in self.absent and column == HOME_HOLD):
            return None
        if column in self.absent:
            return False
        return all(target.passed for target in self.targets(column))

    def differences(self, column: str, other: str) -> dict[str, Estimate]:
        """Success rate and means of one column less those of another, episode by episode."""
        mine, theirs = self.outcomes[column], self.outcomes[other]
        return {
            "success": rate_difference(mine.success, theirs.success),
            **{name: mean(mine.values[name] - theirs.values[name]) for name in mine.values},
        }


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found."""

    suite: Suite
    columns: tuple[str, ...]
    """The policy, home hold, and the policy that it is held against, if any."""
    entries: tuple[EntryResult, ...]

    def group_passes(self, column: str) -> dict[str, tuple[int, bool]]:
        """Group -> how many of its entries a column passes, and whether they are enough."""
        passed = {e.entry.name: bool(e.passed(column)) for e in self.entries}
        found = {}
        for group in self.suite.groups:
            count = sum(passed[name] for name in group.entries)
            found[group.name] = count, count >= group.passing
        return found

    def passed(self, column: str | None = None) -> bool:
        """Whether a column, or the policy, meets every target, of groups enough of them."""
        column = column or self.columns[0]
        grouped = {name for group in self.suite.groups for name in group.entries}
        single = [e.passed(column) for e in self.entries if e.entry.name not in grouped]
        return False not in single and all(ok for _, ok in self.group_passes(column).values())


def within(estimate: Estimate, limit: Limit) -> bool:
    """Whether a whole interval lies within a limit."""
    if math.isnan(estimate.value):
        return False
    low = limit.min is None or estimate.low >= limit.min
    return low and (limit.max is None or estimate.high <= limit.max)


def successes(values: Mapping[str, Tensor], limits: Mapping[str, Limit]) -> Tensor:
    """(E,) bool: where every limited measure (E,) is a finite number within its limit."""
    good = torch.ones_like(next(iter(values.values())), dtype=torch.bool)
    for name, limit in limits.items():
        value = values[name]
        good &= torch.isfinite(value)
        if limit.min is not None:
            good &= value >= limit.min
        if limit.max is not None:
            good &= value <= limit.max
    return good


def falls(walks: Walks) -> tuple[Fall, ...]:
    """Falls by their cause, the most frequent first."""
    r, steps = walks.recording, round(BEFORE_S / walks.dt)
    assert r.end_cause is not None, "a policy's episodes have causes of their ends"
    roll, pitch = r.roll_pitch
    left = r.valid.flip(0).cumsum(0).flip(0)
    before = r.valid & (left <= steps)
    forwards = walks.at_end(pitch) > 0.0
    names = [
        f"{ENDS[cause]} {'forwards' if ahead else 'backwards'}" if ENDS[cause] == "pitch"
        else ENDS[cause]
        for cause, ahead in zip(r.end_cause.tolist(), forwards.tolist(), strict=True)
    ]  # fmt: skip
    saturated = walks.saturated.double().mean(-1)
    found = []
    for name in dict.fromkeys(names):
        mine = torch.tensor([n == name for n in names]) & r.terminated
        if not mine.any():
            continue
        steps_before = before & mine
        numbers, times = mine.nonzero()[:, 0], r.valid.sum(0)[mine]
        typical = int(numbers[times.sort(stable=True).indices[(len(numbers) - 1) // 2]])

        def average(values: Tensor, where: Tensor = steps_before) -> float:
            return float(values[where].double().mean())

        found.append(
            Fall(
                cause=name,
                count=int(mine.sum()),
                time_s=float(r.valid.sum(0)[mine].double().mean() * walks.dt),
                pitch_deg=math.degrees(average(pitch)),
                roll_deg=math.degrees(average(roll.abs())),
                speed=average(r.velocity),
                saturation=average(saturated),
                typical=r.qpos[before[:, typical], typical].clone(),
                typical_s=float(r.valid[:, typical].sum() * walks.dt),
            )
        )
    return tuple(sorted(found, key=lambda fall: -fall.count))


def median_contacts(walks: Walks) -> Tensor | None:
    """`Outcome.contacts`; the lower one of two medians."""
    r, steps = walks.recording, round(RASTER_S / walks.dt)
    lasted = (walks.counted.sum(0) >= steps).nonzero()[:, 0]
    if len(lasted) == 0:
        return None
    speed = walks.mean(r.velocity)[lasted]
    median = lasted[speed.sort(stable=True).indices[(len(lasted) - 1) // 2]]
    one = r.select([int(median)])
    standing = stance(one.loaded(walks.robot), one.valid, walks.dt)[:, 0]
    return standing[walks.counted[:, median]][:steps].clone()


def outcome(recording: Recording, entry: Entry, robot: RobotSpec) -> Outcome:
    """What recorded episodes of an entry show; recording and robot on the CPU."""
    settle_s = entry.scenario.settle_s
    walks, values = Walks(recording, robot, settle_s), measured(recording, robot, settle_s)
    assert recording.end_cause is not None
    counts = recording.end_cause.bincount(minlength=len(ENDS)).tolist()
    counted = walks.counted

    def per_servo(numbers: Tensor) -> dict[str, float]:
        shares = numbers[counted].double().mean(0).tolist()
        return dict(zip(robot.joint_names, shares, strict=True))

    squares = per_servo(walks.torque.square())
    return Outcome(
        success=successes(values, entry.success),
        values=values,
        misses={
            name: int((~successes(values, {name: limit})).sum())
            for name, limit in entry.success.items()
        },
        ends={cause: n for cause, n in zip(ENDS, counts, strict=True) if n},
        falls=falls(walks),
        servo_saturation=per_servo(walks.saturated),
        servo_rms={name: math.sqrt(value) for name, value in squares.items()},
        gait=measure(recording, robot, settle_s, GAIT),
        contacts=median_contacts(walks),
        ctrl_dt=walks.dt,
    )


def as_dict(result: SuiteResult) -> dict[str, Any]:
    """Everything in a form for JSON, but for numbers that are not finite."""
    return {
        "suite": result.suite.name,
        "columns": list(result.columns),
        "passed": {column: result.passed(column) for column in result.columns},
        "groups": [
            {
                **vars(group),
                "passed": {
                    column: dict(zip(("entries", "passed"), found[group.name], strict=True))
                    for column in result.columns
                    for found in [result.group_passes(column)]
                },
            }
            for group in result.suite.groups
        ],
        "entries": [_entry_dict(entry, result.columns) for entry in result.entries],
    }


def _entry_dict(result: EntryResult, columns: Sequence[str]) -> dict[str, Any]:
    entry = result.entry
    others = [name for name in columns[1:] if {name, columns[0]} <= set(result.outcomes)]
    return {
        "name": entry.name,
        "title": entry.title,
        "family": entry.family,
        "rung": entry.rung,
        "scenario": asdict(entry.scenario),
        "success": {name: str(limit) for name, limit in entry.success.items()},
        "above": entry.above,
        "limits": {name: str(limit) for name, limit in entry.limits.items()},
        "wall_s": result.wall_s,
        "not_run": dict(result.absent),
        "passed": {column: result.passed(column) for column in columns},
        "columns": {
            column: {
                "success": vars(outcome.rate) if not outcome.rungs else None,
                "misses": outcome.misses,
                "targets": [asdict(target) for target in result.targets(column)],
                "means": {name: vars(outcome.mean(name)) for name in outcome.values},
                "ends": outcome.ends,
                "falls": [fall.as_dict() for fall in outcome.falls],
                "servo_saturation": outcome.servo_saturation,
                "servo_rms": outcome.servo_rms,
                "gait": outcome.gait,
                "ladder": [vars(rung) for rung in outcome.rungs],
                "episodes": {
                    "success": outcome.success.tolist(),
                    **{
                        name: [float(f"{x:.5g}") for x in values.tolist()]
                        for name, values in outcome.values.items()
                    },
                },
            }
            for column, outcome in result.outcomes.items()
        },
        "less": {
            other: {name: vars(x) for name, x in result.differences(columns[0], other).items()}
            for other in others
            if not result.outcomes[other].rungs
        },
    }
