"""Curricula of the task: its ranges grow while the robots cope, and shrink when they fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.settings import ClosedUnitInterval, PositiveFloat, PositiveInt, check
from envs.shares import Shares

SHORTEST_S = 10.0
"""Length of an episode before the stage `episode_length` [s]."""

Stage = tuple[ClosedUnitInterval, ClosedUnitInterval] | None


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What grows between which two difficulties, from nothing to all of it; null for always all."""

    velocity: Stage = None
    """Range of forward velocities, from its middle alone."""
    lateral: Stage = None
    """Lateral velocities."""
    yaw_rate: Stage = None
    """Yaw rates."""
    terms: Stage = None
    """Ranges of all randomisation terms."""
    faults: Stage = None
    """How often passing faults begin."""
    push: Stage = None
    """Impulse of pushes."""
    lean: Stage = None
    """Lean and lean rate at the start."""
    episode_length: Stage = None
    """Time after which an episode is truncated, from 10 s."""

    def __post_init__(self) -> None:
        check(self)

    def named(self) -> dict[str, tuple[float, float]]:
        """The stages there are."""
        return {name: stage for name, stage in vars(self).items() if stage is not None}


@dataclass(frozen=True, kw_only=True)
class DifficultyConfig:
    """How the difficulty, a number in [0, 1], follows the share of episodes without a fall.

    Each time so many episodes have ended, their share decides: above `raise_above` the difficulty
    rises, below `lower_below` it falls, in between it stays. The next decision is about other
    episodes, so that chance does not move it to and fro.
    """

    stages: Stages = field(default_factory=Stages)
    """What grows with the difficulty."""
    per_term: bool = False
    """Whether each randomisation term has a width of its own in place of the stage `terms`, which
    follows the robots that have the term at the edge of its range (automatic domain randomisation).
    It takes many robots: half of them are at an edge, each at that of one term."""
    start: ClosedUnitInterval = 0.0
    """Difficulty, and width of each term, at the start."""
    step: PositiveFloat = 0.05
    """Change in a decision."""
    raise_above: ClosedUnitInterval = 0.8
    """Share of episodes without a fall above which the difficulty rises."""
    lower_below: ClosedUnitInterval = 0.6
    """Share of episodes without a fall below which the difficulty falls."""
    episodes: PositiveInt = 200
    """Ended episodes on which a decision rests."""

    def __post_init__(self) -> None:
        check(self)

    def require_effects(self, task: LocomotionConfig) -> None:
        """Refuse limits in the wrong order, a curriculum of nothing, and stages without a range.

        Not in `__post_init__`: the parser would bury the message, because null is allowed as well.

        Raises:
            UserError: names the setting, and what it needs.
        """
        if self.lower_below > self.raise_above:
            raise UserError(
                f"data.difficulty.lower_below {self.lower_below} is above "
                f"data.difficulty.raise_above {self.raise_above}"
            )
        for name, (begin, end) in self.stages.named().items():
            if begin >= end:
                raise UserError(
                    f"data.difficulty.stages.{name} is [{begin}, {end}]; allowed: two numbers in "
                    "[0, 1], the smaller first"
                )
        command, reset = task.command, task.reset
        has = {
            "velocity": (command.velocity_max > command.velocity_min, "command.velocity_max"),
            "lateral": (command.lateral_max > 0.0, "command.lateral_max"),
            "yaw_rate": (command.yaw_rate_max > 0.0, "command.yaw_rate_max"),
            "terms": (bool(task.randomization.active()), "randomization"),
            "faults": (task.faults.active, "faults"),
            "push": (task.push.impulse_max > 0.0, "push.impulse_max"),
            "lean": (reset.lean > 0.0 or reset.lean_rate > 0.0, "reset.lean"),
            "episode_length": (task.episode_length_s > SHORTEST_S, "episode_length_s"),
        }
        if self.per_term and self.stages.terms is not None:
            raise UserError(
                "data.difficulty.stages.terms and data.difficulty.per_term both say how wide the "
                "terms are; leave one out"
            )
        if self.per_term and not has["terms"][0]:
            raise UserError(
                "data.difficulty.per_term would widen nothing: data.env.randomization has no terms"
            )
        if not self.stages.named() and not self.per_term:
            raise UserError(
                "data.difficulty has no stages, so nothing would grow; give data.difficulty.stages "
                f"one of {', '.join(has)}, as in {{terms: [0, 1]}}"
            )
        for name in self.stages.named():
            present, setting = has[name]
            if not present:
                raise UserError(
                    f"data.difficulty.stages.{name} would grow nothing: data.env.{setting} leaves "
                    "no range for it; raise that, or leave the stage out"
                )


@dataclass
class Level:
    """A number in [0, 1] that follows success, and the episodes since its last decision."""

    value: float
    ended: int = 0
    fallen: int = 0

    def follow(self, ended: int, fallen: int, config: DifficultyConfig) -> None:
        """Count episodes that have ended, so many of them in a fall; decide if they suffice."""
        self.ended += ended
        self.fallen += fallen
        if self.ended < config.episodes:
            return
        success = 1.0 - self.fallen / self.ended
        if success > config.raise_above:
            self.value = min(self.value + config.step, 1.0)
        elif success < config.lower_below:
            self.value = max(self.value - config.step, 0.0)
        self.ended = self.fallen = 0


class Difficulty:
    """The difficulty of a training as it is now."""

    def __init__(self, config: DifficultyConfig, task: LocomotionConfig) -> None:
        """At its start.

        Raises:
            UserError: see `DifficultyConfig.require_effects`.
        """
        config.require_effects(task)
        self.config, self._task = config, task
        self._level = Level(config.start)
        terms = tuple(task.randomization.active()) if config.per_term else ()
        self._widths = {name: Level(config.start) for name in terms}

    def follow(self, ended: int, fallen: int, by_term: Sequence[Sequence[int]] = ()) -> None:
        """Count an iteration's ended episodes, so many of them in a fall.

        `by_term` are the same two numbers of the robots at each term's edge, with `per_term`.
        """
        self._level.follow(ended, fallen, self.config)
        for width, counts in zip(self._widths.values(), by_term, strict=True):
            width.follow(counts[0], counts[1], self.config)

    @property
    def metrics(self) -> dict[str, float]:
        """The difficulty and the share of what grows with it, by logged names."""
        values: dict[str, float] = {}
        if stages := self.config.stages.named():
            values = {"difficulty": self._level.value} | {n: self._share(n) for n in stages}
        if widths := {f"width_{name}": width.value for name, width in self._widths.items()}:
            values |= {"terms": sum(widths.values()) / len(widths)} | widths
        return {f"Curriculum/{name}": value for name, value in values.items()}

    def shares(self, device: torch.device) -> Shares:
        """How much of each of the task's ranges is in use."""

        def full(value: float, *shape: int) -> torch.Tensor:
            return torch.full(shape, value, device=device)

        terms = len(self._task.randomization.active())
        shares = {name: self._share(name) for name in vars(self.config.stages)}
        widths = full(shares.pop("terms"), terms)
        if self._widths:
            widths = torch.tensor([width.value for width in self._widths.values()], device=device)
        return Shares(terms=widths, **{name: full(value) for name, value in shares.items()})

    def _share(self, name: str) -> float:
        stage = vars(self.config.stages)[name]
        if stage is None:
            return 1.0
        begin, end = stage
        share = min(max((self._level.value - begin) / (end - begin), 0.0), 1.0)
        if name == "episode_length":
            shortest = SHORTEST_S / self._task.episode_length_s
            return shortest + share * (1.0 - shortest)
        return share

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs."""
        widths = {name: dict(vars(width)) for name, width in self._widths.items()}
        return {"level": dict(vars(self._level)), "widths": widths}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was; terms that it has not begin at their start."""
        self._level = Level(**state["level"])
        saved = {name: Level(**values) for name, values in state["widths"].items()}
        self._widths |= {name: level for name, level in saved.items() if name in self._widths}
