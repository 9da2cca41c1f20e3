"""Settings of the task."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from envs.errors import UserError
from envs.reality.disturbances import PushConfig
from envs.task.actions import ActionConfig
from envs.task.commands import CommandConfig
from envs.task.observations import ObservationConfig
from envs.task.rewards import RewardConfig
from envs.task.starts import ResetConfig
from envs.task.support import SupportConfig
from envs.task.terminations import TerminationConfig


@dataclass(frozen=True, kw_only=True)
class LocomotionConfig:
    """Settings of the task."""

    sim_dt: float = 0.002
    """Physics step [s]."""
    ctrl_dt: float = 0.02
    """Control step [s]; an integer multiple of `sim_dt`."""
    episode_length_s: float = 10.0
    """Time after which an episode is truncated [s]."""
    action: ActionConfig = field(default_factory=ActionConfig)
    """From policy output to joint targets."""
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    """Fields of the observation."""
    command: CommandConfig = field(default_factory=CommandConfig)
    """Commanded velocities."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Terms of the task reward."""
    termination: TerminationConfig = field(default_factory=TerminationConfig)
    """When a robot counts as fallen."""
    reset: ResetConfig = field(default_factory=ResetConfig)
    """Noise on start states."""
    push: PushConfig = field(default_factory=PushConfig)
    """Random pushes."""
    support: SupportConfig | None = None
    """Wrench on the root that helps the robot through a clip; null for none."""
    auto_reset: bool = True
    """Whether an episode ends when its robot falls or its time is up. If not, falls are recorded in
    the key `fallen` and the episode goes on."""

    def __post_init__(self) -> None:
        if self.sim_dt <= 0 or self.ctrl_dt <= 0 or self.episode_length_s < self.ctrl_dt:
            raise ValueError(
                f"sim_dt {self.sim_dt} s, ctrl_dt {self.ctrl_dt} s, episode_length_s "
                f"{self.episode_length_s} s: all must be positive, an episode at least one step"
            )
        ratio = self.ctrl_dt / self.sim_dt
        if abs(ratio - round(ratio)) > 1e-6 or round(ratio) < 1:
            raise ValueError(
                f"ctrl_dt {self.ctrl_dt} s is {ratio:.6g} times sim_dt {self.sim_dt} s; "
                "it must be an integer multiple"
            )
        if self.command.resample_s < self.ctrl_dt:
            raise UserError(
                f"command.resample_s is {self.command.resample_s} s; allowed: at least one control "
                f"step, ctrl_dt {self.ctrl_dt} s"
            )
        if self.support is not None and self.decimation % self.support.updates_per_step:
            raise ValueError(
                f"support.updates_per_step {self.support.updates_per_step} does not divide the "
                f"decimation {self.decimation}"
            )

    @property
    def decimation(self) -> int:
        """Physics steps per control step."""
        return round(self.ctrl_dt / self.sim_dt)

    @property
    def episode_steps(self) -> int:
        """Control steps per episode."""
        return round(self.episode_length_s / self.ctrl_dt)


POLICY_SETTINGS = ("sim_dt", "ctrl_dt", "action", "observation")
"""Settings a policy's behaviour depends on. Its file holds them and no others, so it stays readable
when a reward term or a termination gets another name; an evaluation brings its own."""


def policy_settings(config: LocomotionConfig) -> dict[str, Any]:
    """The `POLICY_SETTINGS` of a task, as plain containers."""
    return {name: value for name, value in asdict(config).items() if name in POLICY_SETTINGS}
