"""What an evaluation asks of a policy: commands, episodes, time, disturbance, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.yaml_files import read_yaml
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit, require_number

DIRECTORY = CONFIGS / "evaluation"
"""Where the scenarios of this project lie, one YAML file each."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One evaluation.

    Raises:
        UserError: a value no evaluation can have.
    """

    name: str
    commands: tuple[float, ...]
    """Forward velocities [m/s]; episode i is given commands[i % len] from start to end."""
    episodes: int
    """Number of episodes in all."""
    seconds: float
    """Duration of an episode [s]."""
    settle_s: float = 2.0
    """Time at the start of an episode that tracking and gait are not measured in [s]."""
    push_impulse: float | None = None
    """Largest impulse of random pushes [N s], at the task's times; None for the task's pushes."""
    seed: int = 0
    """Of start noise and pushes."""
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """Metric name -> what it may be."""

    def __post_init__(self) -> None:
        def refuse(what: str, allowed: str) -> None:
            raise UserError(f"scenario {self.name!r}: {what}; {allowed}")

        if not self.commands or not all(math.isfinite(c) for c in self.commands):
            refuse(f"commands are {list(self.commands)}", "at least one finite velocity is needed")
        if self.episodes < len(self.commands):
            refuse(
                f"{self.episodes} episodes for {len(self.commands)} commands",
                "each command needs an episode",
            )
        if not 0.0 <= self.settle_s < self.seconds:
            refuse(
                f"settle_s is {self.settle_s} s of {self.seconds} s",
                "it must end within an episode",
            )
        if self.push_impulse is not None and self.push_impulse < 0.0:
            refuse(f"push_impulse is {self.push_impulse} N s", "it must not be negative")

    def task(self, config: LocomotionConfig) -> LocomotionConfig:
        """The task `config` with this scenario's duration and pushes, and without support."""
        push = config.push
        if self.push_impulse is not None:
            least = min(push.impulse_min, self.push_impulse)
            push = replace(push, impulse_min=least, impulse_max=self.push_impulse)
        return replace(
            config, episode_length_s=self.seconds, push=push, support=None, auto_reset=True
        )


def scenario_names(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """Names of the scenarios in `directory`, sorted."""
    return tuple(sorted(path.stem for path in directory.glob("*.yaml")))


def load_scenario(name_or_path: str | Path, directory: Path = DIRECTORY) -> Scenario:
    """The scenario of that name in `directory`, or in the YAML file of that path.

    Raises:
        UserError: there is none, or the file says something no scenario can.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = directory / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UserError(
                f"scenario {str(name_or_path)!r} is unknown; allowed: "
                f"{', '.join(scenario_names(directory))}, or the path of a .yaml file"
            )
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: it must hold the keys of a scenario")
    return _scenario(path, content)


def _scenario(path: Path, content: dict[str, Any]) -> Scenario:
    known = [f.name for f in fields(Scenario) if f.name != "name"]
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise UserError(f"{path}: unknown key(s) {', '.join(unknown)}; allowed: {', '.join(known)}")
    missing = [key for key in ("commands", "episodes", "seconds") if key not in content]
    if missing:
        raise UserError(f"{path}: key(s) {', '.join(missing)} missing")
    values: dict[str, Any] = {"name": path.stem}
    for key, value in content.items():
        if key == "limits":
            values[key] = _limits(path, value)
        elif key == "commands":
            entries = value if isinstance(value, list) else [value]
            values[key] = tuple(require_number(entry, f"{path}: {key}") for entry in entries)
        elif key in ("episodes", "seed"):
            if not isinstance(value, int) or isinstance(value, bool):
                raise UserError(f"{path}: {key} is {value!r}; it must be a whole number")
            values[key] = value
        else:
            values[key] = require_number(value, f"{path}: {key}")
    return Scenario(**values)


def _limits(path: Path, content: Any) -> dict[str, Limit]:
    if not isinstance(content, dict):
        raise UserError(f"{path}: limits must map metrics to {{max: value}} or {{min: value}}")
    limits: dict[str, Limit] = {}
    for name, limit in content.items():
        if name not in EPISODE_METRICS:
            raise UserError(
                f"{path}: limits.{name}: no such metric; allowed: {', '.join(EPISODE_METRICS)}"
            )
        limits[name] = Limit.parse(limit, f"{path}: limits.{name}")
    return limits
