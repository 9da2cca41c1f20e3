"""An evaluation: episodes run, measured overall and per command, and judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from envs.locomotion import LocomotionEnv
from envs.recorder import PolicyFunction, record
from envs.recording import Recording
from wildrobot_torch.evaluation.metrics import measure, score
from wildrobot_torch.evaluation.scenarios import Limit, Scenario, ScenarioError


@dataclass(frozen=True)
class Verdict:
    """A metric held against its limit."""

    metric: str
    value: float
    limit: Limit

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit; an undefined one is not."""
        return self.limit.holds(self.value)


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found."""

    scenario: Scenario
    metrics: dict[str, float]
    """Every metric over all episodes; NaN where undefined."""
    per_command: list[dict[str, float]]
    """The same per command, with `command` [m/s] and `episodes`, the number of its episodes."""
    score: float
    """Ranks policies; bigger is better."""
    recording: Recording
    """Everything that was recorded, on the CPU."""

    @property
    def verdicts(self) -> list[Verdict]:
        """The scenario's limits, judged."""
        return [
            Verdict(name, self.metrics[name], limit) for name, limit in self.scenario.limits.items()
        ]

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return all(verdict.passed for verdict in self.verdicts)


def evaluate(policy: PolicyFunction, env: LocomotionEnv, scenario: Scenario) -> EvaluationResult:
    """What `policy` does in `scenario`, deterministic for a given number of robots.

    Episodes run side by side, in as many rounds as it takes. The environment is reseeded, and its
    start states and commands are overwritten: give it one of its own, with the task of
    `scenario.task(config)`.

    Args:
        policy: from observations (E, O) to actions (E, J).
        env: E robots.
        scenario: what is asked.

    Raises:
        ScenarioError: E does not divide the number of episodes, or the environment's pushes are not
            the scenario's.
        ValueError: see `record`.
        PhysicsError: likewise.
    """
    num, episodes = env.num_envs, scenario.episodes
    if episodes % num:
        raise ScenarioError(
            f"scenario {scenario.name!r} has {episodes} episodes, which {num} robots cannot share "
            "evenly; use a number of environments that divides it"
        )
    force = env.config.push.force_max
    if scenario.push_force is not None and scenario.push_force != force:
        raise ScenarioError(
            f"scenario {scenario.name!r} pushes with {scenario.push_force} N, the environment with "
            f"{force} N; build it with scenario.task(config)"
        )
    grid = torch.tensor(scenario.commands, dtype=torch.float32)
    commands = grid.repeat(episodes // len(grid) + 1)[:episodes]
    steps = round(scenario.seconds / env.config.ctrl_dt)
    env.set_seed(scenario.seed)
    parts = [
        record(policy, env, commands[start : start + num], steps).to("cpu")
        for start in range(0, episodes, num)
    ]
    recording = Recording.concatenate(parts)
    robot = env.robot.to("cpu")
    metrics = measure(recording, robot, scenario.settle_s)
    per_command = []
    for command in dict.fromkeys(scenario.commands):
        mine = recording.select(recording.command == torch.tensor(command))
        values = measure(mine, robot, scenario.settle_s)
        per_command.append({"command": command, "episodes": float(mine.num_episodes), **values})
    return EvaluationResult(
        scenario, metrics, per_command, score(metrics, scenario.commands), recording
    )
