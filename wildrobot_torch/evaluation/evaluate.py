"""An evaluation: episodes run, measured overall and per command, and held against limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError, closest
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.recorder import PolicyFunction, record
from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.task.observations import HISTORY
from envs.task.terminations import ENDS
from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit, measure

BEST_SCORE = 2.5
"""The most that `score` can be."""


@dataclass(frozen=True)
class Verdict:
    """A metric held against its limit."""

    metric: str
    value: float
    limit: Limit
    note: str = ""
    """Why the limit is not applied; empty where it is."""

    @property
    def passed(self) -> bool | None:
        """Whether the limit holds, of an undefined value never; None where it is not applied."""
        return None if self.note else self.limit.holds(self.value)

    @property
    def word(self) -> str:
        """The verdict in words."""
        if self.note:
            return f"not applied: {self.note}"
        return "pass" if self.passed else "FAIL"

    def as_dict(self) -> dict[str, Any]:
        """The verdict for a report in JSON."""
        return {**vars(self), "limit": str(self.limit), "passed": self.passed}


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found."""

    scenario: Scenario
    metrics: dict[str, float]
    """Every metric over all episodes; NaN where undefined."""
    per_command: list[dict[str, float]]
    """The same per command, with `command` [m/s] and `episodes`, the number of its episodes."""
    recording: Recording
    """All episodes, on the CPU."""

    @classmethod
    def of(cls, recording: Recording, scenario: Scenario, robot: RobotSpec) -> EvaluationResult:
        """The result of recorded episodes of a scenario; recording and robot on the CPU."""
        settle_s = scenario.settle_s
        per_command = []
        for command in dict.fromkeys(scenario.commands):
            mine = recording.select(recording.command == torch.tensor(command))
            values = measure(mine, robot, settle_s, EPISODE_METRICS)
            per_command.append({"command": command, "episodes": float(mine.num_episodes), **values})
        metrics = measure(recording, robot, settle_s, EPISODE_METRICS)
        return cls(scenario, metrics, per_command, recording)

    @property
    def ends(self) -> dict[str, int]:
        """Cause of an end -> number of episodes that ended by it."""
        causes = self.recording.end_cause
        assert causes is not None, "an evaluation records how episodes end"
        return dict(zip(ENDS, causes.bincount(minlength=len(ENDS)).tolist(), strict=True))

    @property
    def ends_in_words(self) -> str:
        """The same, without causes that nothing ended by."""
        return ", ".join(f"{cause} {count}" for cause, count in self.ends.items() if count)

    @property
    def score(self) -> float:
        """Ranks policies; bigger is better."""
        return score(self.metrics, self.scenario.commands)

    @property
    def verdicts(self) -> list[Verdict]:
        """The metrics that the scenario limits, held against their limits."""
        return [
            Verdict(name, self.metrics[name], limit) for name, limit in self.scenario.limits.items()
        ]

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return all(verdict.passed for verdict in self.verdicts)


def evaluate(policy: PolicyFunction, env: LocomotionEnv, scenario: Scenario) -> EvaluationResult:
    """What `policy` does in `scenario`, see `run`, measured and held against its limits."""
    scenario = scenario.for_robot(env.robot)
    return EvaluationResult.of(run(policy, env, scenario), scenario, env.robot.to("cpu"))


def run(
    policy: PolicyFunction,
    env: LocomotionEnv,
    scenario: Scenario,
    impulses: Tensor | None = None,
) -> Recording:
    """Episodes of `policy` in `scenario`, on the CPU; deterministic for a given number of robots.

    `impulses` (E,) [N s] take the place of those of the scenario's disturbances, in an environment
    whose task has them in its range.

    Episodes run side by side, in as many rounds as they need. The environment has the task of
    `scenario.task(config)`; it is reseeded, and its start states and commands are overwritten.

    Raises:
        UserError: the number of robots does not divide that of the episodes, the environment's
            pushes are not the scenario's, or as `record`.
        PhysicsError: as `record`.
    """
    scenario = scenario.for_robot(env.robot)
    num, episodes = env.num_envs, scenario.episodes
    if episodes % num:
        raise UserError(
            f"scenario {scenario.name!r} has {episodes} episodes, which {num} robots cannot share "
            "evenly; use a number of environments that divides it"
        )
    impulse = env.config.push.impulse_max
    if scenario.push_impulse is not None and abs(scenario.push_impulse - impulse) > 1e-5:
        raise UserError(
            f"scenario {scenario.name!r} pushes with {scenario.push_impulse} N s, the environment "
            f"with {impulse} N s; build it with scenario.task(config)"
        )
    dt, device = env.config.ctrl_dt, env.backend.device
    steps = round(scenario.seconds / dt)
    if scenario.removed:
        policy = without(policy, scenario.removed, env.layouts["observation"])
    env.set_seed(scenario.seed)
    parts = []
    for start in range(0, episodes, num):
        numbers = torch.arange(start, start + num)
        plan = scenario.disturbances and scenario.disturbances.schedule(numbers, dt).to(device)
        if plan is not None and impulses is not None:
            plan = replace(plan, impulse=impulses[numbers].to(device))
        commands = scenario.commanded(numbers, steps, dt)
        parts.append(record(policy, env, commands, steps, schedule=plan).to("cpu"))
    return Recording.concatenate(parts)


def without(policy: PolicyFunction, removed: Sequence[str], layout: Layout) -> PolicyFunction:
    """The policy, which reads the fields of these names, and their history, as 0.

    Raises:
        UserError: it does not observe one of them.
    """
    hidden = torch.zeros(layout.size, dtype=torch.bool)
    for name in removed:
        if name not in layout.slices:
            known = [field.name for field in layout.fields]
            raise UserError(
                f"removed names {name!r}{closest(name, known)}; the policy observes "
                f"{', '.join(known)}"
            )
        for field in (name, name + HISTORY):
            hidden[layout.slices.get(field, slice(0, 0))] = True

    def act(observation: Tensor) -> Tensor:
        return policy(observation.masked_fill(hidden.to(observation.device), 0.0))

    return act


def score(metrics: dict[str, float], commands: tuple[float, ...]) -> float:
    """One number that ranks policies, bigger is better, at most `BEST_SCORE`.

    score = (1 - fall_rate) + survival - velocity_error / 0.2 m/s + alternation / 2. An undefined
    velocity error (all fell before settling) counts as that of standing still, an undefined
    alternation as 0. Falls weigh twice, as such and by the time they cost, so that early in
    training, when all robots fall, policies that fall later rank higher.
    """
    error, alternation = metrics["velocity_error"], metrics["alternation"]
    if math.isnan(error):
        error = sum(abs(command) for command in commands) / len(commands)
    alternation = 0.0 if math.isnan(alternation) else alternation
    return (1.0 - metrics["fall_rate"]) + metrics["survival"] - error / 0.2 + alternation / 2.0
