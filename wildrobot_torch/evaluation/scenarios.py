"""What an evaluation asks of a policy: commands, episodes, time, disturbance, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.reality.faults import FaultConfig
from envs.reality.randomization import RandomizationConfig
from envs.reality.servo import ServoConfig
from envs.task.starts import ResetConfig
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit

DIRECTORY = CONFIGS / "evaluation"
"""Where the scenarios of this project lie, one YAML file each."""

_TASK_SETTINGS = ("servo", "randomization", "faults", "reset")
"""Settings of the task that a scenario may replace."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One evaluation; a UserError for values that none can have."""

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
    servo: ServoConfig | None = None
    """Which servo is simulated; None for the task's."""
    randomization: RandomizationConfig | None = None
    """What differs from robot to robot; None for the task's."""
    faults: FaultConfig | None = None
    """Faults that come and go within an episode; None for the task's."""
    reset: ResetConfig | None = None
    """Noise on start states; None for the task's."""
    seed: int = 0
    """Of start noise, robots, faults and pushes."""
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """Metric name -> what it may be."""

    def __post_init__(self) -> None:
        if not self.commands or not all(map(math.isfinite, self.commands)):
            fault = f"commands are {list(self.commands)}; at least one finite velocity is needed"
        elif self.episodes < len(self.commands):
            fault = f"{self.episodes} episodes, but each of {len(self.commands)} commands needs one"
        elif not 0.0 <= self.settle_s < self.seconds < math.inf:
            fault = f"settle_s is {self.settle_s} s and must end within the {self.seconds} s"
        elif self.push_impulse is not None and not 0.0 <= self.push_impulse < math.inf:
            fault = f"push_impulse is {self.push_impulse} N s; it must be 0 or more"
        else:
            return
        raise UserError(f"scenario {self.name!r}: {fault}")

    def task(self, config: LocomotionConfig) -> LocomotionConfig:
        """The task `config` with what this scenario sets, and without support."""
        push = config.push
        if self.push_impulse is not None:
            least = min(push.impulse_min, self.push_impulse)
            push = replace(push, impulse_min=least, impulse_max=self.push_impulse)
        own = {name: getattr(self, name) for name in _TASK_SETTINGS}
        return replace(
            config,
            **{name: value for name, value in own.items() if value is not None},
            episode_length_s=self.seconds,
            push=push,
            support=None,
            auto_reset=True,
        )


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios in `DIRECTORY`, sorted."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.yaml")))


def load_scenario(name_or_path: str | Path) -> Scenario:
    """The scenario of that name in `DIRECTORY`, or in the YAML file of that path.

    Raises:
        UserError: there is none, or the file says something no scenario can.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = DIRECTORY / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UserError(
                f"scenario {str(name_or_path)!r} is unknown; allowed: "
                f"{', '.join(scenario_names())}, or the path of a .yaml file"
            )
    content = read_yaml(path)
    if not isinstance(content, dict) or "name" in content:
        raise UserError(f"{path}: it must hold the keys of a scenario; its name is the file's")
    limits = content.get("limits", {})
    if not isinstance(limits, dict):
        raise UserError(f"{path}: limits must map metrics to {{max: value}} or {{min: value}}")
    for name, limit in limits.items():
        if name not in EPISODE_METRICS:
            raise UserError(
                f"{path}: limits.{name}: no such metric; allowed: {', '.join(EPISODE_METRICS)}"
            )
        Limit.parse(limit, f"{path}: limits.{name}")
    return from_mapping(Scenario, {"name": path.stem, **content}, str(path))
