"""What a diagnosis knows of a policy and of its training; rules read nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.training.health.alarms import Metrics


@dataclass(frozen=True, kw_only=True)
class Acts:
    """What E robots did under a policy; NaN for a robot that fell before anything was measured."""

    commands: Tensor
    """(E, 3): held throughout, see `Episode.command`."""
    velocities: Tensor
    """(E, 3): mean velocity ahead and to the left [m/s], mean yaw rate [rad/s]."""
    lasted: Tensor
    """(E,) [s]: until the fall or the end."""
    ends: Mapping[str, int]
    """Cause of an end -> number of episodes that ended by it."""
    swinging: float
    """Share of the time in which exactly one foot is loaded; NaN if nothing was measured."""
    saturation: Mapping[str, float]
    """Servo -> share of the time at its torque limit."""
    at_limit: Mapping[str, float]
    """Joint -> share of the time in which its action is at -1 or 1."""
    terms: Mapping[str, float]
    """Reward term -> what it earned per control step, weighted; `style` is that of a motion
    prior."""

    @property
    def reward(self) -> float:
        """Sum of the terms, per control step."""
        return sum(self.terms.values())

    @property
    def falls(self) -> float:
        """Share of the episodes that ended in a fall."""
        ended = sum(self.ends.values())
        return (ended - self.ends.get("time", 0)) / max(ended, 1)


@dataclass(frozen=True, kw_only=True)
class Input:
    """One field of what the policy observes, together with its history."""

    name: str
    size: int
    """Number of its values, history included."""
    constant: int
    """Number of them that never changed, for any robot, beside those of what nobody commands."""
    effect: float
    """RMS change of the action when the field is that of another moment, over the action's RMS
    variation: 0 where the policy does not read it."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Reference motion of a run."""

    file: str
    speeds: Sequence[float]
    """Mean forward speed of each segment that is trained on [m/s]."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run's directory says of its training."""

    folder: Path
    ppo: PPOConfig
    amp: AMPConfig | None
    data: Mapping[str, object]
    """Settings of `data` but for the task."""
    env_steps: int
    """Environment steps done."""
    budget: int
    """Environment steps asked for."""
    history: Sequence[Metrics] = ()
    """Metrics of each iteration, without those that are not numbers."""
    ranks: Sequence[tuple[float, float]] = ()
    """Environment steps and rank of each evaluation."""
    best: Path | None = None
    """Checkpoint of the best evaluation."""
    diverged: str | None = None
    """Why it ended with numbers that are not finite; None where it did not."""

    def series(self, name: str) -> list[float]:
        """Values of a metric, of the iterations that have it."""
        return [metrics[name] for metrics in self.history if name in metrics]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known; None for what is not."""

    task: LocomotionConfig
    """That the policy was trained in, or as much of it as its file says."""
    policy: Acts
    inputs: Sequence[Input] = ()
    standing: Acts | None = None
    """Home hold (action 0) at the same commands in an ideal world, under the same reward."""
    walk: Acts | None = None
    """The walk that ships with the project, at the same commands and in the same world."""
    drawn: Tensor = field(default_factory=lambda: torch.empty(0, 3))
    """(N, 3): commands as the task draws them."""
    idle: str | None = None
    """Randomisation or fault that changes nothing, in the words of the task's check."""
    std: Sequence[float] = ()
    """Standard deviation of each action in training, by the checkpoint."""
    reference: Reference | None = None
    run: Run | None = None
    unchecked: Sequence[str] = ()
    """What was not looked at, and why."""


def progress(acts: Acts) -> Tensor:
    """(E,): velocity along the commanded one over its size; 1 obeys, 0 stands, -1 goes back.

    NaN for robots that are commanded to stand or to turn alone.
    """
    asked, moved = acts.commands[:, :2].double(), acts.velocities[:, :2].double()
    along = (asked * moved).sum(-1) / asked.square().sum(-1)
    return torch.where(asked.any(-1), along, math.nan)
