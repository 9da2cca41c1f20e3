"""What a running episode remembers, and what reward terms and observation fields read of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from envs.frames import wrap_angle
from envs.measurements import Measurements
from envs.reality.sensors import SensorState
from envs.robot.spec import RobotSpec
from envs.task.commands import YAW
from envs.thresholds import LOADED, MOVING, TURNING

if TYPE_CHECKING:
    from envs.config import LocomotionConfig


@dataclass(frozen=True)
class Episode:
    """State of E running episodes besides the physics."""

    action: Tensor
    """(E, J): filtered action of the last step."""
    prev_action: Tensor
    """(E, J): filtered action of the step before."""
    command: Tensor
    """(E, 3): commanded velocity forward and to the left [m/s], and yaw rate [rad/s]."""
    heading: Tensor
    """(E,) [rad]: the heading to hold, yaw at the episode's start plus the commanded turn since."""
    steps: Tensor
    """(E,) long: control steps so far."""
    episode_return: Tensor
    """(E,): sum of the rewards so far."""
    air_time: Tensor
    """(E, 2) [s]: how long each foot has been unloaded."""
    stance_time: Tensor
    """(E,) [s]: how long both feet have been loaded while walking was commanded."""
    mean_velocity: Tensor
    """(E,) [m/s]: forward velocity, averaged over the reward's `tracking_time`."""
    mean_height: Tensor
    """(E,) [m]: height of the root, averaged over a second; held where no reward reads it."""
    drift: Tensor
    """(E,) [m]: how far the robot is to the left of its path: of a line along the heading to hold,
    or what was commanded to the side of it; 0 where no reward reads it."""
    push: Tensor
    """(E, 2) [N]: horizontal force of the present push, world."""
    push_steps: Tensor
    """(E,) long: control steps for which the push still acts."""
    frames: Tensor
    """(E, N, F): what the policy remembers of the last N control steps, the newest first."""
    frame: Tensor
    """(E, F): what it will remember of the present one."""

    @classmethod
    def blank(
        cls, num: int, num_joints: int, device: torch.device, history: tuple[int, int] = (0, 0)
    ) -> Episode:
        """Zeros for `num` simulations; `history` is (N, F)."""

        def zeros(*columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(num, *columns, dtype=dtype, device=device)

        return cls(
            action=zeros(num_joints),
            prev_action=zeros(num_joints),
            command=zeros(3),
            heading=zeros(),
            steps=zeros(dtype=torch.long),
            episode_return=zeros(),
            air_time=zeros(2),
            stance_time=zeros(),
            mean_velocity=zeros(),
            mean_height=zeros(),
            drift=zeros(),
            push=zeros(2),
            push_steps=zeros(dtype=torch.long),
            frames=zeros(*history),
            frame=zeros(history[1]),
        )


@dataclass(frozen=True)
class StepContext:
    """All that a reward term or an observation field may read, of E robots at one instant."""

    m: Measurements
    """Of the state after the step."""
    episode: Episode
    """Reward terms read the `air_time` and `stance_time` from before the step, so that a touchdown
    still knows its swing; all else is that after the step."""
    terminated: Tensor
    """(E,) bool: the robot fell, or its simulation failed, and its episode ends by that."""
    robot: RobotSpec
    config: LocomotionConfig
    sensors: SensorState | None = None
    """None where nothing reads them."""
    drawn: Mapping[str, Tensor] = field(default_factory=dict)
    """Value (E, columns) of each randomisation term that the task has, see
    `envs.reality.randomization`."""

    @property
    def sensed(self) -> SensorState:
        """What the sensors say."""
        assert self.sensors is not None
        return self.sensors

    @cached_property
    def heading_error(self) -> Tensor:
        """(E,) [rad]: heading minus the heading to hold, in [-pi, pi]; 0 where none is held."""
        return self.off_heading(self.m.yaw)

    def off_heading(self, yaw: Tensor) -> Tensor:
        """(E,) [rad]: a heading, true or measured, minus the one to hold; 0 where none is held."""
        if not self.config.command.heading_hold:
            return torch.zeros_like(yaw)
        return wrap_angle(yaw - self.episode.heading)

    @cached_property
    def walking(self) -> Tensor:
        """(E,) bool: walking in any direction or turning is commanded, not standing."""
        size = self.episode.command.abs()
        moving = MOVING * self.robot.speed_scale
        return (size[:, :2] >= moving).any(-1) | (size[:, YAW] >= TURNING)

    @cached_property
    def loaded(self) -> Tensor:
        """(E, 2) bool: the foot carries more than `LOADED` of the robot's weight."""
        return self.m.foot_force > LOADED * self.robot.weight

    @cached_property
    def single_support(self) -> Tensor:
        """(E,) bool: exactly one foot is loaded, and walking is commanded."""
        return (self.loaded.sum(-1) == 1) & self.walking
