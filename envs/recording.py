"""Recordings of robots: the one form in which motion is measured, judged, drawn and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from envs.frames import quat_rotate, roll_pitch, world_to_heading, yaw
from envs.robot.spec import RobotSpec
from envs.thresholds import LOADED


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What E robots did in T control steps: their state after each step.

    Episode e consists of the steps where `valid[:, e]` is True, one unbroken run; other values mean
    nothing. J joints; feet are left, right. A quantity that was not recorded is None.
    """

    ctrl_dt: float
    """Time between steps [s]."""
    command: Tensor
    """(E,) [m/s]: commanded forward velocity, the first one where it changes; of a robot that
    follows a clip, the clip's mean."""
    qpos: Tensor
    """(T, E, nq)."""
    qvel: Tensor
    """(T, E, nv)."""
    foot_force: Tensor
    """(T, E, 2) [N]: vertical support of each foot."""
    sole_pos_w: Tensor
    """(T, E, 2, 3) [m]: sole centre under the ankle axis."""
    sole_linvel_w: Tensor
    """(T, E, 2, 3) [m/s]: of the same points."""
    amp: Tensor
    """(T, E, F): style features, the environment's `amp`."""
    valid: Tensor
    """(T, E) bool: the step belongs to the episode; so does the step in which the robot falls."""
    terminated: Tensor
    """(E,) bool: the episode ended in a fall."""
    end_cause: Tensor | None = None
    """(E,) long: index of the cause of its end in `envs.task.terminations.ENDS`."""
    torque: Tensor | None = None
    """(T, E, J) [N m]: of the servos."""
    action: Tensor | None = None
    """(T, E, J): output of the policy, clipped to [-1, 1]."""
    sole_height: Tensor | None = None
    """(T, E, 2) [m]: lowest point of each sole above the floor."""
    ground_height: Tensor | None = None
    """(T, E, 2) [m]: of the ground under each sole's centre; None for a level floor."""
    com_height: Tensor | None = None
    """(T, E) [m]: centre of mass above the floor."""
    support: Tensor | None = None
    """(T, E, 6): mean force [N] and torque [N m] of the support wrench in the step, world frame;
    None where nothing supports the robot."""
    support_saturated: Tensor | None = None
    """(T, E, 2) bool: the caps limited force, torque of the support at some time in the step."""
    commands: Tensor | None = None
    """(T, E, 3): what was commanded in each step, see `Episode.command`; None where that was
    `command` alone."""
    disturbed: Tensor | None = None
    """(T, E) bool: a push, a limp servo or a displacement acted on the robot in the step; None
    where the task has neither."""
    joint_target: Tensor | None = None
    """(T, E, J) [rad]: joint positions of the clip; None where no clip is followed."""

    @property
    def num_steps(self) -> int:
        """T."""
        return self.qpos.shape[0]

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.qpos.shape[1]

    # Quantities that follow from the recorded ones

    @property
    def root_pos_w(self) -> Tensor:
        """(T, E, 3) [m]."""
        return self.qpos[..., :3]

    @property
    def velocity(self) -> Tensor:
        """(T, E) [m/s]: forward velocity of the root, heading frame."""
        return world_to_heading(self.qvel[..., :3], self.qpos[..., 3:7])[..., 0]

    @property
    def lateral_velocity(self) -> Tensor:
        """(T, E) [m/s]: velocity of the root to its left, heading frame."""
        return world_to_heading(self.qvel[..., :3], self.qpos[..., 3:7])[..., 1]

    @property
    def roll_pitch(self) -> tuple[Tensor, Tensor]:
        """(T, E) [rad] each."""
        return roll_pitch(self.qpos[..., 3:7])

    @property
    def yaw(self) -> Tensor:
        """(T, E) [rad]: heading in the world."""
        return yaw(self.qpos[..., 3:7])

    @property
    def yaw_rate(self) -> Tensor:
        """(T, E) [rad/s]: angular velocity of the root about the vertical."""
        return quat_rotate(self.qpos[..., 3:7], self.qvel[..., 3:6])[..., 2]

    @property
    def sole_speed(self) -> Tensor:
        """(T, E, 2) [m/s]: horizontal speed of each sole."""
        return torch.linalg.vector_norm(self.sole_linvel_w[..., :2], dim=-1)

    @property
    def sole_rise(self) -> Tensor:
        """(T, E, 2) [m]: sole centres above the ground under them."""
        height = self.sole_pos_w[..., 2]
        return height if self.ground_height is None else height - self.ground_height

    @property
    def foot_separation(self) -> Tensor:
        """(T, E) [m]: left sole centre minus the right one, to the robot's left; < 0 if crossed."""
        apart = self.sole_pos_w[..., 0, :] - self.sole_pos_w[..., 1, :]
        return world_to_heading(apart, self.qpos[..., 3:7])[..., 1]

    def joint_pos(self, robot: RobotSpec) -> Tensor:
        """(T, E, J) [rad]."""
        return self.qpos[..., robot.joint_qpos_adr]

    def joint_vel(self, robot: RobotSpec) -> Tensor:
        """(T, E, J) [rad/s]."""
        return self.qvel[..., robot.joint_qvel_adr]

    def joint_error(self, robot: RobotSpec) -> Tensor:
        """(T, E, J) [rad]: joints minus those of the clip; NaN where no clip is followed."""
        joints = self.joint_pos(robot)
        return joints - (torch.nan if self.joint_target is None else self.joint_target)

    def load(self, robot: RobotSpec) -> Tensor:
        """(T, E) [m g]: weight on both feet."""
        return self.foot_force.sum(-1) / robot.weight

    def loaded(self, robot: RobotSpec) -> Tensor:
        """(T, E, 2) bool: the foot carries more than `LOADED` of the weight."""
        return self.foot_force > LOADED * robot.weight

    def support_force(self, robot: RobotSpec) -> Tensor:
        """(T, E) [m g]: size of the support force; 0 where nothing supports the robot."""
        if self.support is None:
            return torch.zeros_like(self.qpos[..., 0])
        return torch.linalg.vector_norm(self.support[..., :3], dim=-1) / robot.weight

    def support_torque(self, robot: RobotSpec) -> Tensor:
        """(T, E) [m g h]: size of the support torque over m g h, which topples the robot.

        h is the height of the centre of mass. 0 where nothing supports the robot.
        """
        if self.support is None:
            return torch.zeros_like(self.qpos[..., 0])
        assert self.com_height is not None, "a support is recorded together with com_height"
        moment = robot.weight * self.com_height.clamp(min=1e-6)
        return torch.linalg.vector_norm(self.support[..., 3:], dim=-1) / moment

    def settled(self, settle_s: float) -> Tensor:
        """(T, E) bool: valid steps after the first `settle_s` seconds."""
        late = torch.arange(self.num_steps, device=self.valid.device) >= round(
            settle_s / self.ctrl_dt
        )
        return self.valid & late[:, None]

    def finite(self) -> bool:
        """Whether every number of a valid step is finite."""
        series = {n: x for n, x in self._tensors().items() if n not in _PER_EPISODE}
        return all(bool(torch.isfinite(x)[self.valid].all()) for x in series.values())

    # Parts

    def cut(self, start: int, stop: int) -> Recording:
        """Steps start..stop-1, as views; how the whole episodes ended stays as it is."""
        return self.map_steps(lambda x: x[start:stop])

    def map_steps(self, function: Callable[[Tensor], Tensor]) -> Recording:
        """The recording with every series (T, E, ...) replaced by `function` of it."""
        return self._map(lambda x: x, function)

    def select(self, episodes: Tensor | Sequence[int]) -> Recording:
        """Some episodes: those where a mask (E,) is True, or those of the given numbers."""
        return self._map(lambda x: x[episodes], lambda x: x[:, episodes])

    def to(self, device: torch.device | str) -> Recording:
        """The same recording on another device."""
        return self._map(lambda x: x.to(device), lambda x: x.to(device))

    @staticmethod
    def concatenate(parts: Sequence[Recording]) -> Recording:
        """All episodes of recordings of equal duration and control step."""
        joined = {
            name: torch.cat(
                [getattr(part, name) for part in parts], dim=0 if name in _PER_EPISODE else 1
            )
            for name in parts[0]._tensors()
        }
        return replace(parts[0], **joined)

    def _map(
        self, per_episode: Callable[[Tensor], Tensor], per_step: Callable[[Tensor], Tensor]
    ) -> Recording:
        changed = {
            name: per_episode(x) if name in _PER_EPISODE else per_step(x)
            for name, x in self._tensors().items()
        }
        return replace(self, **changed)

    def _tensors(self) -> dict[str, Tensor]:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in named if isinstance(value, Tensor)}


_PER_EPISODE = ("command", "terminated", "end_cause")
