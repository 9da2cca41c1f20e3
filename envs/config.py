"""Settings of the task: timing, action, observation, command, reward, end, start, disturbances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, make_dataclass
from typing import Any

from envs.errors import UserError
from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import RandomizationConfig
from envs.reality.servo import UPDATES_PER_STEP, ServoConfig
from envs.settings import NonNegativeFloat, PositiveFloat, check
from envs.sizing import check_parts
from envs.task.actions import ActionConfig
from envs.task.commands import CommandConfig
from envs.task.observations import ObservationConfig
from envs.task.rewards import TERMS
from envs.task.starts import ResetConfig
from envs.task.support import SupportConfig
from envs.task.terminations import TERMINATIONS


def _settings(of: Any, registry: Mapping[str, Any], default: str) -> type:
    """A config dataclass with one field for each function of a registry.

    Args:
        of: type of the fields.
        registry: name -> entry; the docstring of the entry's function is that of the field.
        default: attribute of the entry that holds the field's default.
    """
    meanings = "".join(
        f"\n    {key}: {' '.join((entry.function.__doc__ or '').split())}"
        for key, entry in registry.items()
    )
    return make_dataclass(
        "Settings",
        [(key, of, field(default=getattr(entry, default))) for key, entry in registry.items()],
        frozen=True,
        kw_only=True,
        namespace={
            "__doc__": f"One setting for each name.\n\nArgs:{meanings}\n",
            "__post_init__": check,
        },
    )


class RewardWeights(_settings(float, TERMS, "weight")):
    """Weight of each reward term; 0 switches it off."""


class TerminationConfig(_settings(PositiveFloat | None, TERMINATIONS, "limit")):
    """Limits beyond which an episode ends; null switches one off."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Weights of the reward terms, and those of their parameters that are worth tuning."""

    weights: RewardWeights = field(default_factory=RewardWeights)
    """Weight of each term; 0 switches it off."""
    scale: PositiveFloat = 0.1
    """Factor on the sum of all weighted terms; a step of a good walk then earns 0.5."""
    tracking_time: NonNegativeFloat = 0.0
    """Time constant of the average of v_x that is compared with the command [s]; 0 for none."""
    swing_time: PositiveFloat = 0.25
    """Time in the air after which a touchdown costs nothing [s]."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class LocomotionConfig:
    """Settings of the task.

    Lengths, times, speeds and forces are those of a robot of the WildRobot's size; for another
    robot they follow from its leg and weight, see `envs.sizing` and `as_written`.
    """

    robot: str = "wildrobot"
    """Name of a robot of this package, or a folder with a robot.yaml."""
    as_written: tuple[str, ...] = ()
    """Parts of the task whose numbers are taken as they are, whatever the robot's size: any of
    observation, command, reward, termination, reset, push, randomization, support."""
    sim_dt: PositiveFloat = 0.002
    """Physics step [s]."""
    ctrl_dt: PositiveFloat = 0.02
    """Control step [s]; an integer multiple of `sim_dt`."""
    episode_length_s: PositiveFloat = 10.0
    """Time after which an episode is truncated [s]."""
    action: ActionConfig = field(default_factory=ActionConfig)
    """From policy output to joint targets."""
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    """What policy and critic observe."""
    terrain: str = "flat"
    """The ground: flat, rough (smooth noise of +-20 mm), steps (tiles of 0 to 6 mm), or another
    scene of the robot's folder; for a slope see randomization.slope."""
    command: CommandConfig = field(default_factory=CommandConfig)
    """Commanded velocities."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Terms of the task reward."""
    termination: TerminationConfig = field(default_factory=TerminationConfig)
    """Limits beyond which an episode ends; null switches one off."""
    reset: ResetConfig = field(default_factory=ResetConfig)
    """Noise on start states."""
    push: PushConfig = field(default_factory=PushConfig)
    """Random pushes."""
    servo: ServoConfig = field(default_factory=ServoConfig)
    """Which servo is simulated."""
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig)
    """What differs from robot to robot; `wildrobot terms` lists it."""
    faults: FaultConfig = field(default_factory=FaultConfig)
    """Faults that come and go within an episode."""
    support: SupportConfig | None = None
    """Wrench on the root that helps the robot through a clip; null for none."""
    auto_reset: bool = True
    """Whether an episode ends when its robot falls or its time is up. If not, falls are recorded in
    the key `fallen` and the episode goes on."""

    def __post_init__(self) -> None:
        check(self)
        check_parts(self.as_written)
        if self.episode_length_s < self.ctrl_dt:
            raise UserError(
                f"episode_length_s is {self.episode_length_s} s; allowed: at least one control "
                f"step, ctrl_dt {self.ctrl_dt} s"
            )
        ratio = self.ctrl_dt / self.sim_dt
        if abs(ratio - round(ratio)) > 1e-6 or round(ratio) < 1:
            raise UserError(
                f"ctrl_dt {self.ctrl_dt} s is {ratio:.6g} times sim_dt {self.sim_dt} s; "
                "it must be an integer multiple"
            )
        if self.command.resample_s < self.ctrl_dt:
            raise UserError(
                f"command.resample_s is {self.command.resample_s} s; allowed: at least one control "
                f"step, ctrl_dt {self.ctrl_dt} s"
            )
        limits = vars(self.termination)
        lowest, highest = limits["min_height"], limits["max_height"]
        if lowest is not None and highest is not None and lowest >= highest:
            raise UserError(
                f"termination.min_height {lowest} m is not below termination.max_height {highest} m"
            )
        if self.support is not None and self.decimation % UPDATES_PER_STEP:
            raise UserError(
                f"ctrl_dt is {self.decimation} times sim_dt; with a support it must be a multiple "
                f"of {UPDATES_PER_STEP}"
            )

    @property
    def decimation(self) -> int:
        """Physics steps per control step."""
        return round(self.ctrl_dt / self.sim_dt)

    @property
    def episode_steps(self) -> int:
        """Control steps per episode."""
        return round(self.episode_length_s / self.ctrl_dt)


POLICY_SETTINGS = ("ctrl_dt", "action", "observation", "command", "servo")
"""Settings that decide what a policy observes and what its actions do. Its file holds them and no
others, so it stays readable when a reward term or a termination gets another name; an evaluation
brings its own. The physics step is none of them: a policy is judged by the fine one, whichever it
was trained with."""


def policy_settings(config: LocomotionConfig) -> dict[str, Any]:
    """The `POLICY_SETTINGS` of a task, as plain containers; its robot where it is another."""
    return _settings_of(config, POLICY_SETTINGS)


def _settings_of(config: LocomotionConfig, names: tuple[str, ...]) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(config).items() if name in names}
    if config.robot != LocomotionConfig.robot:
        kept["robot"] = config.robot
    if written := tuple(name for name in config.as_written if name in names):
        kept["as_written"] = written
    return kept


TRAINED_SETTINGS = (*POLICY_SETTINGS, "sim_dt", "terrain", "push", "randomization", "faults")
"""Settings that say what a policy has met in training. Its checkpoint and its exported file hold
them as facts; nothing that runs the policy depends on them."""


def trained_settings(config: LocomotionConfig) -> dict[str, Any]:
    """The `TRAINED_SETTINGS` of a task, as plain containers; its robot likewise."""
    return _settings_of(config, TRAINED_SETTINGS)
