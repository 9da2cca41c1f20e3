"""A suite run: every entry with every policy, on the same robots, noise and disturbances."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.lint import require_effects
from envs.recorder import PolicyFunction
from envs.robot.model import RobotModel, load_robot
from envs.task.actions import ctrl_to_policy_action
from envs.task.observations import observation_layout
from wildrobot_torch.evaluation.evaluate import run, without
from wildrobot_torch.evaluation.ladder import climb, rungs
from wildrobot_torch.evaluation.outcomes import (
    HOME_HOLD,
    EntryResult,
    Outcome,
    SuiteResult,
    outcome,
)
from wildrobot_torch.evaluation.suites import Entry, Suite
from wildrobot_torch.ppo.policy_file import load_policy

MOST_ROBOTS = 256
"""Most robots side by side; more episodes are run in rounds."""


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
        home = ctrl_to_policy_action(env.robot.joint_home[None], env.robot, env.config.action)
        return lambda observation: home.expand(len(observation), -1)


def columns_of(paths: Sequence[Path], robot: str | None = None) -> list[Column]:
    """The policy of the first file, home hold with its task, then the policies of the others.

    `robot` is the name or folder of the robot they drive; None for the one of the first.

    Raises:
        UserError: a file holds no policy, or one of another layout or robot.
    """
    driven, found = robot or load_policy(paths[0]).robot, []
    described = load_robot(driven).robot
    for path in paths:
        policy = load_policy(path, driven)
        policy.require(observation_layout(described, policy.task.observation), described.digest)
        taken = {column.name for column in found}
        name = path.stem if path.stem not in taken else f"{path} ({len(found)})"
        found.append(Column(name, policy.task, policy, path))
    return [found[0], Column(HOME_HOLD, found[0].task, None), *found[1:]]


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
    robot = load_robot(columns[0].task.robot).robot
    suite = replace(suite, entries=tuple(entry.for_robot(robot) for entry in suite.entries))
    load = cache(load_robot)
    absent = [_absent(entry, columns, load) for entry in suite.entries]
    work = list(zip(suite.entries, absent, strict=True))
    results: dict[str, EntryResult] = {}
    for result in (
        _in_processes(work, columns, physics, workers)
        if min(workers, len(work)) > 1
        else (run_entry(entry, columns, missing, physics, num_threads) for entry, missing in work)
    ):
        results[result.entry.name] = result
        say(_line(result, columns[0].name))
    in_order = tuple(results[entry.name] for entry in suite.entries)
    return SuiteResult(suite, tuple(column.name for column in columns), in_order)


def run_entry(
    entry: Entry,
    columns: Sequence[Column],
    absent: Mapping[str, str],
    physics: str,
    num_threads: int | None,
) -> EntryResult:
    """An entry with every column that is not absent."""
    begun, outcomes = time.monotonic(), {}
    # The batches are small: threads of torch would wait for each other longer than they work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    robots = _robots(entry.scenario.episodes)
    env: LocomotionEnv | None = None
    try:
        for column in columns:
            if column.name in absent:
                continue
            task = _task(entry, column)
            if env is None or env.config != task:
                env = LocomotionEnv(task, robots, physics=physics, num_threads=num_threads)
            outcomes[column.name] = _outcome(entry, column, env)
    finally:
        torch.set_num_threads(threads)
    return EntryResult(entry, outcomes, absent, time.monotonic() - begun)


_worker_columns: list[Column] = []
"""Columns of a worker process; loaded once there, because policies cannot be sent to it."""


def _begin_worker(paths: Sequence[Path], robot: str) -> None:
    _worker_columns[:] = columns_of(paths, robot)


def _work(entry: Entry, absent: Mapping[str, str], physics: str) -> bytes:
    # As bytes, because the pool would send each tensor through an open file.
    return pickle.dumps(run_entry(entry, _worker_columns, absent, physics, 1))


def _in_processes(
    work: Sequence[tuple[Entry, Mapping[str, str]]],
    columns: Sequence[Column],
    physics: str,
    workers: int,
) -> Iterator[EntryResult]:
    """Results as they are found; the longest entries are begun first."""
    paths = [column.path for column in columns if column.path is not None]
    pool = ProcessPoolExecutor(
        min(workers, len(work)), get_context("spawn"), _begin_worker, (paths, columns[0].task.robot)
    )
    try:
        longest = sorted(work, key=lambda pair: -pair[0].cost)
        waiting = [pool.submit(_work, entry, absent, physics) for entry, absent in longest]
        for found in as_completed(waiting):
            yield pickle.loads(found.result())
    finally:
        pool.shutdown(cancel_futures=True)


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
        loaded = load(task.robot, scene=task.terrain, sim_dt=task.sim_dt)
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
