"""What an evaluation asks of a policy: commands, episodes, time, disturbance, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.reality.disturbances import PushConfig, Schedule
from envs.reality.faults import FaultConfig
from envs.reality.randomization import RandomizationConfig
from envs.reality.servo import ServoConfig
from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, PositiveFloat, check
from envs.sizing import SIZED
from envs.task.commands import FORWARD, LATERAL, YAW
from envs.task.starts import ResetConfig
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit

DIRECTORY = CONFIGS / "evaluation"
"""Where the scenarios of this project lie, one YAML file each."""

SIZED_UNITS = {"m/s": "speed", "N": "force"}
"""Unit of a limit -> the robot's scale that it grows with."""

PHASES = 8
"""Different times at which the disturbances of a spread begin."""

_TASK_SETTINGS = ("sim_dt", "terrain", "servo", "randomization", "faults", "reset", "push")
"""Settings of the task that a scenario may replace."""


@dataclass(frozen=True, kw_only=True)
class Wave:
    """What is added to a command as time goes by; 0 at the start."""

    kind: Literal["sine", "step"]
    """sine: amplitude x sin(2 pi t / period_s); step: the amplitude in the second half of each
    period."""
    amplitude: float
    """[m/s], of a yaw rate [rad/s]."""
    period_s: PositiveFloat
    """[s]."""
    axis: Literal["forward", "lateral", "yaw"] = "forward"
    """Which command it is added to."""

    def __post_init__(self) -> None:
        check(self)

    def values(self, time: Tensor) -> Tensor:
        """What is added at times (T,) [s]."""
        phase = torch.remainder(time / self.period_s, 1.0)
        shape = torch.sin(2.0 * math.pi * phase) if self.kind == "sine" else (phase >= 0.5).float()
        return self.amplitude * shape


@dataclass(frozen=True, kw_only=True)
class Disturbances:
    """Pushes and passing faults at given times, in place of random ones."""

    at_s: tuple[NonNegativeFloat, ...]
    """Times in an episode at which they begin [s]."""
    spread_s: NonNegativeFloat = 0.0
    """The times of an episode are later by up to this [s], evenly over `PHASES` of it: a stride's
    duration makes every phase of the stride be met."""
    impulses: tuple[NonNegativeFloat, ...] = ()
    """Of the pushes [N s]; () for no pushes. Episode i has impulses[i % len]."""
    directions: tuple[float, ...] = (0.0,)
    """Where they go [rad], from the robot's heading: 0 forwards, pi / 2 to its left. All impulses
    are met in each direction before the next one."""

    def __post_init__(self) -> None:
        check(self)
        if not self.at_s or not self.directions:
            raise UserError("disturbances: at_s and directions need at least one value each")

    def schedule(self, episodes: Tensor, ctrl_dt: float) -> Schedule:
        """The schedule of the episodes of these numbers (E,) long."""
        impulses, directions = self.impulses or (0.0,), self.directions
        pairs = len(impulses) * len(directions)
        phase = episodes // pairs % PHASES / PHASES
        times = torch.tensor(self.at_s) + self.spread_s * phase[:, None]
        return Schedule(
            torch.round(times / ctrl_dt).long(),
            torch.tensor(impulses)[episodes % len(impulses)],
            torch.tensor(directions)[episodes // len(impulses) % len(directions)],
        )


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One evaluation; a UserError for values that none can have."""

    name: str
    commands: tuple[float, ...]
    """Forward velocities [m/s]; episode i is given commands[i % len] from start to end."""
    lateral: float | tuple[float, ...] = 0.0
    """Velocity to the left [m/s]. Of several, all forward velocities are met with each one before
    the next one."""
    yaw: float | tuple[float, ...] = 0.0
    """Yaw rate to the left [rad/s]; of several, as for `lateral`, after it."""
    wave: Wave | None = None
    """What is added to one of the three as time goes by; None for constant commands."""
    episodes: int
    """Number of episodes in all."""
    seconds: float
    """Duration of an episode [s]."""
    settle_s: float = 2.0
    """Time at the start of an episode that tracking and gait are not measured in [s]."""
    push_impulse: float | None = None
    """Largest impulse of random pushes [N s], at the task's times; None for the task's pushes."""
    push: PushConfig | None = None
    """Random pushes in full, in place of `push_impulse`; None for the task's."""
    disturbances: Disturbances | None = None
    """Pushes and faults at given times; None for random ones."""
    removed: tuple[str, ...] = ()
    """Observation fields that the policy reads as 0, with their history."""
    sim_dt: PositiveFloat = 0.002
    """Physics step [s]: whichever a policy was trained with, it is judged by the same one."""
    terrain: str | None = None
    """The ground; None for the task's."""
    servo: ServoConfig | None = None
    """Which servo is simulated; None for the one that the policy was, or is being, trained with."""
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
    is_sized: bool = False
    """Whether its speeds and impulses are those of the robot at hand, see `for_robot`; otherwise
    they are those of a robot of the WildRobot's size."""

    def __post_init__(self) -> None:
        if not self.commands or not all(map(math.isfinite, self.commands)):
            fault = f"commands are {list(self.commands)}; at least one finite velocity is needed"
        elif not all(map(math.isfinite, (*_several(self.lateral), *_several(self.yaw)))):
            fault = f"lateral is {self.lateral} m/s, yaw {self.yaw} rad/s; both must be finite"
        elif not _several(self.lateral) or not _several(self.yaw):
            fault = "lateral and yaw need at least one value each"
        elif self.episodes < len(self.commands):
            fault = f"{self.episodes} episodes, but each of {len(self.commands)} commands needs one"
        elif not 0.0 <= self.settle_s < self.seconds < math.inf:
            fault = f"settle_s is {self.settle_s} s and must end within the {self.seconds} s"
        elif self.push_impulse is not None and not 0.0 <= self.push_impulse < math.inf:
            fault = f"push_impulse is {self.push_impulse} N s; it must be 0 or more"
        elif (self.push_impulse is not None) + (self.push is not None) + self._pushes_at_times > 1:
            fault = "push_impulse, push and impulses of disturbances exclude each other; give one"
        elif (
            self.disturbances
            and not self._pushes_at_times
            and not (self.faults and self.faults.active)
        ):
            fault = "disturbances have no impulses, and there are no faults to begin; give either"
        else:
            return
        raise UserError(f"scenario {self.name!r}: {fault}")

    @property
    def _pushes_at_times(self) -> bool:
        return self.disturbances is not None and bool(self.disturbances.impulses)

    def commanded(self, episodes: Tensor, steps: int, ctrl_dt: float) -> Tensor:
        """Commands of the episodes of these numbers (E,) long, as `record` takes them.

        (E,) where nothing else is commanded, (E, 3) for constant commands, (T, E, 3) with a wave.
        """
        grids = (self.commands, _several(self.lateral), _several(self.yaw))
        columns, rest = [], episodes
        for values in grids:
            grid = torch.tensor(values, dtype=torch.float32)
            columns.append(grid[rest % len(grid)])
            rest = rest // len(grid)
        if not any(map(any, grids[1:])) and self.wave is None:
            return columns[FORWARD]
        command = torch.stack(columns, dim=-1)
        if self.wave is None:
            return command
        column = {"forward": FORWARD, "lateral": LATERAL, "yaw": YAW}[self.wave.axis]
        series = command.repeat(steps, 1, 1)
        series[..., column] += self.wave.values(ctrl_dt * torch.arange(steps))[:, None]
        return series

    def for_robot(self, robot: RobotSpec) -> Scenario:
        """The same for a robot of another size: speeds by Froude number, impulses by mass, too.

        Yaw rates and times stay. A robot of the WildRobot's size has the scenario itself.
        """
        if self.is_sized or robot.is_standard:
            return self
        speed, impulse = robot.speed_scale, robot.mass_scale * robot.speed_scale

        def times(values: Any, factor: float, digits: int = 6) -> Any:
            if isinstance(values, tuple):
                return tuple(round(value * factor, digits) for value in values)
            return None if values is None else round(values * factor, digits)

        wave, push, told = self.wave, self.push, self.disturbances
        if wave is not None and wave.axis != "yaw":
            wave = replace(wave, amplitude=times(wave.amplitude, speed))
        if push is not None:
            push = replace(
                push,
                impulse_min=times(push.impulse_min, impulse),
                impulse_max=times(push.impulse_max, impulse),
            )
        if told is not None:
            told = replace(told, impulses=times(told.impulses, impulse))
        factors = {unit: getattr(robot, f"{name}_scale") for unit, name in SIZED_UNITS.items()}
        factors["m"] = robot.scale
        limits = {
            name: limit.times(factors.get(EPISODE_METRICS[name].unit, 1.0))
            for name, limit in self.limits.items()
        }
        return replace(
            self, commands=times(self.commands, speed, 3), lateral=times(self.lateral, speed, 3),
            wave=wave, push=push, push_impulse=times(self.push_impulse, impulse),
            disturbances=told, limits=limits, is_sized=True,
        )  # fmt: skip

    def task(self, config: LocomotionConfig) -> LocomotionConfig:
        """The task `config` with what this scenario sets, and without support."""
        push = config.push
        if self.push_impulse is not None:
            least = min(push.impulse_min, self.push_impulse)
            push = replace(push, impulse_min=least, impulse_max=self.push_impulse)
        if self.disturbances is not None:
            impulses = self.disturbances.impulses or (0.0,)
            push = PushConfig(impulse_min=min(impulses), impulse_max=max(impulses))
        own = {name: getattr(self, name) for name in _TASK_SETTINGS}
        own = {name: value for name, value in own.items() if value is not None}
        ours = set(own) | ({"push"} if push is not config.push else set())
        if self.is_sized:
            written = (*config.as_written, *sorted(ours & set(SIZED)))
        else:  # what the scenario brings is of the WildRobot's size
            written = tuple(name for name in config.as_written if name not in ours)
        return replace(
            config,
            **{"push": push, **own},
            as_written=tuple(dict.fromkeys(written)),
            episode_length_s=self.seconds,
            support=None,
            auto_reset=True,
        )


def _several(values: float | tuple[float, ...]) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (values,)


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
