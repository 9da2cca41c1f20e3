"""A suite run: every entry with every policy, on the same robots, noise and disturbances."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.lint import require_effects
from envs.recorder import PolicyFunction
from envs.recording import Recording
from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import RobotSpec
from envs.task.actions import ctrl_to_action
from envs.task.observations import observation_layout
from envs.task.terminations import ENDS
from wildrobot_torch.evaluation.evaluate import run, without
from wildrobot_torch.evaluation.ladder import Rung, climb, rungs
from wildrobot_torch.evaluation.measures import Walks, measured
from wildrobot_torch.evaluation.statistics import Estimate, mean, rate, rate_difference
from wildrobot_torch.evaluation.suites import Entry, Suite
from wildrobot_torch.motion.metrics import Limit, measure
from wildrobot_torch.ppo.policy_file import load_policy

HOME_HOLD = "home hold"
"""Name of the column of the robot that holds its home pose, without any policy."""
MOST_ROBOTS = 256
"""Most robots side by side; more episodes are run in rounds."""
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


@dataclass(frozen=True)
class Column:
    """What is tried: a policy, or the robot that holds its home pose."""

    name: str
    task: LocomotionConfig
    """With the settings of its policy."""
    policy: PolicyFunction | None
    """None for the home pose."""
    path: Path | None = None
    """File that the policy is from."""

    def acting(self, env: LocomotionEnv) -> PolicyFunction:
        """What it does in an environment."""
        if self.policy is not None:
            return self.policy
        home = ctrl_to_action(env.robot.joint_home[None], env.robot, env.config.action)
        return lambda observation: home.expand(len(observation), -1)


def columns_of(paths: Sequence[Path]) -> list[Column]:
    """The policy of the first file, home hold with its task, then the policies of the others.

    Raises:
        UserError: a file holds no policy, or one of another layout or robot.
    """
    robot, found = load_robot().robot, []
    for path in paths:
        policy = load_policy(path)
        policy.require(observation_layout(robot, policy.task.observation), robot.digest)
        taken = {column.name for column in found}
        name = path.stem if path.stem not in taken else f"{path} ({len(found)})"
        found.append(Column(name, policy.task, policy, path))
    return [found[0], Column(HOME_HOLD, found[0].task, None), *found[1:]]


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


def run_suite(
    suite: Suite,
    columns: Sequence[Column],
    physics: str = "native",
    num_threads: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> SuiteResult:
    """Every entry with every column.

    Columns get the same robots, starts and disturbances at given times, and, where their tasks read
    the same sensors, the same noise and random pushes. An entry that a column's task cannot have
    (an age of readings that its policy does not observe) is not run, and its target is missed.

    Args:
        suite: what to run.
        columns: the policy first.
        physics: name of the engine.
        num_threads: CPU threads of the native engine; None for all physical cores.
        workers: processes that run entries side by side, with one thread each; more than one for
            columns from files only. They change no number.
        say: gets a line for each entry.

    Raises:
        UserError: an entry's terrain is unknown; nothing has run then.
        PhysicsError: as `record`.
    """
    load = cache(load_robot)
    absent = [_absent(entry, columns, load) for entry in suite.entries]
    work = list(zip(suite.entries, absent, strict=True))
    results = []
    for result in (
        _in_processes(work, columns, physics, workers)
        if min(workers, len(work)) > 1
        else (run_entry(entry, columns, missing, physics, num_threads) for entry, missing in work)
    ):
        results.append(result)
        say(_line(result, columns[0].name))
    return SuiteResult(suite, tuple(column.name for column in columns), tuple(results))


def run_entry(
    entry: Entry,
    columns: Sequence[Column],
    absent: Mapping[str, str],
    physics: str,
    num_threads: int | None,
) -> EntryResult:
    """An entry with every column that is not absent."""
    # The batches are small: threads of torch would wait for each other longer than they work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run_entry(entry, columns, absent, physics, num_threads)
    finally:
        torch.set_num_threads(threads)


_worker_columns: list[Column] = []
"""Columns of a worker process; loaded once there, because policies cannot be sent to it."""


def _begin_worker(paths: Sequence[Path]) -> None:
    _worker_columns[:] = columns_of(paths)


def _work(entry: Entry, absent: Mapping[str, str], physics: str) -> bytes:
    # As bytes, because the pool would send each tensor through an open file.
    return pickle.dumps(run_entry(entry, _worker_columns, absent, physics, 1))


def _in_processes(
    work: Sequence[tuple[Entry, Mapping[str, str]]],
    columns: Sequence[Column],
    physics: str,
    workers: int,
) -> Iterator[EntryResult]:
    """Results in the entries' order; the longest entries are begun first."""
    paths = [column.path for column in columns if column.path is not None]
    pool = ProcessPoolExecutor(
        min(workers, len(work)), get_context("spawn"), _begin_worker, (paths,)
    )
    try:
        longest = sorted(work, key=lambda pair: -pair[0].cost)
        waiting = {
            entry.name: pool.submit(_work, entry, absent, physics) for entry, absent in longest
        }
        for entry, _ in work:
            yield pickle.loads(waiting[entry.name].result())
    finally:
        pool.shutdown(cancel_futures=True)


def _run_entry(
    entry: Entry,
    columns: Sequence[Column],
    absent: Mapping[str, str],
    physics: str,
    num_threads: int | None,
) -> EntryResult:
    begun, outcomes = time.monotonic(), {}
    robots = _robots(entry.scenario.episodes)
    env: LocomotionEnv | None = None
    for column in columns:
        if column.name in absent:
            continue
        task = _task(entry, column)
        if env is None or env.config != task:
            env = LocomotionEnv(task, robots, physics=physics, num_threads=num_threads)
        outcomes[column.name] = _outcome(entry, column, env)
    return EntryResult(entry, outcomes, absent, time.monotonic() - begun)


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
            )
        )
    return tuple(sorted(found, key=lambda fall: -fall.count))


def _robots(episodes: int) -> int:
    """Robots side by side: the most that share the episodes evenly."""
    return max(n for n in range(1, min(episodes, MOST_ROBOTS) + 1) if episodes % n == 0)


def _task(entry: Entry, column: Column) -> LocomotionConfig:
    task = entry.scenario.task(column.task)
    if entry.ladder is None:
        return task
    return replace(task, push=replace(task.push, impulse_min=0.0))


def _absent(
    entry: Entry, columns: Sequence[Column], load: Callable[..., RobotModel]
) -> dict[str, str]:
    """Column -> why its task cannot have the entry."""
    found: dict[str, str] = {}
    for column in columns:
        if column.policy is None and not entry.home_hold:
            found[column.name] = "not asked for"
            continue
        task = _task(entry, column)
        loaded = load(scene=task.terrain, sim_dt=task.sim_dt)
        try:
            require_effects(task, loaded.robot, loaded.model)
            layout = observation_layout(loaded.robot, task.observation)
            if column.policy is not None:
                without(column.policy, entry.scenario.removed, layout)
        except UserError as error:
            found[column.name] = str(error)
    return found


def _outcome(entry: Entry, column: Column, env: LocomotionEnv) -> Outcome:
    scenario, policy = entry.scenario, column.acting(env)
    if entry.ladder is not None:
        return _climbed(entry, policy, env)
    if column.policy is None:  # it observes nothing
        scenario = replace(scenario, removed=())
    return outcome(run(policy, env, scenario), entry, env.robot.to("cpu"))


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
    )


def _climbed(entry: Entry, policy: PolicyFunction, env: LocomotionEnv) -> Outcome:
    """The outcome of the last round of a ladder, with what it found."""
    assert entry.ladder is not None and entry.scenario.disturbances is not None
    robot, last, heights = env.robot.to("cpu"), [], []

    def succeeds(impulses: Tensor) -> Tensor:
        recording = run(policy, env, entry.scenario, impulses)
        found = outcome(recording, entry, robot)
        last[:] = [found]
        assert recording.com_height is not None
        heights.append(float(recording.com_height[0].mean()))
        return found.success

    episodes = entry.scenario.episodes
    survived = climb(succeeds, episodes, entry.ladder)
    plan = entry.scenario.disturbances.schedule(torch.arange(episodes), env.config.ctrl_dt)
    found = rungs(survived, plan.direction, heights[0], robot, entry.ladder)
    return replace(last[0], rungs=tuple(found))


def _line(result: EntryResult, column: str) -> str:
    """An entry on the console."""
    entry = result.entry
    if column in result.absent:
        state = f"not run: {result.absent[column]}"
    elif entry.ladder is not None:
        least = min(min(rung.survived) for rung in result.outcomes[column].rungs)
        state = f"pushes up to {least:.2f} N s survived in every direction and phase"
    else:
        found = result.outcomes[column].rate
        state = f"{found.value:7.1%}  [{found.low:.3f}, {found.high:.3f}]"
    word = {True: "pass", False: "FAIL", None: ""}[result.passed(column)]
    return f"{entry.name:<28}{state:<32}{word:<6}{result.wall_s:6.1f} s"


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
                "falls": [vars(fall) for fall in outcome.falls],
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
