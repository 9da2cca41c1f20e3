"""Recordings of robots: the one form in which motion is measured, judged, drawn and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.errors import UserError
from envs.frames import quat_rotate, roll_pitch, world_to_heading, yaw
from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsState, require_capacities
from envs.robot.spec import FEET, RobotSpec
from envs.thresholds import LOADED

PolicyFunction = Callable[[Tensor], Tensor]
"""From observations (E, O) to actions (E, J) in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What E robots did in T control steps: their state after each step.

    Episode e consists of the steps where `valid[:, e]` is True, one unbroken run; other values mean
    nothing. J joints; feet are left, right. A quantity that was not recorded is None.
    """

    ctrl_dt: float
    """Time between steps [s]."""
    command: Tensor
    """(E,) [m/s]: commanded forward velocity; of a robot that follows a clip, the clip's mean."""
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
    torque: Tensor | None = None
    """(T, E, J) [N m]: of the servos."""
    action: Tensor | None = None
    """(T, E, J): output of the policy, clipped to [-1, 1]."""
    sole_height: Tensor | None = None
    """(T, E, 2) [m]: lowest point of each sole above the floor."""
    com_height: Tensor | None = None
    """(T, E) [m]: centre of mass above the floor."""
    support: Tensor | None = None
    """(T, E, 6): mean force [N] and torque [N m] of the support wrench in the step, world frame;
    None where nothing supports the robot."""
    support_saturated: Tensor | None = None
    """(T, E, 2) bool: the caps limited force, torque of the support at some time in the step."""
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
        """Steps start..stop-1, as views. `terminated` stays that of the whole episodes."""
        return self._map(lambda x: x, lambda x: x[start:stop])

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


_PER_EPISODE = ("command", "terminated")


def record_step(env: LocomotionEnv, following: TensorDict) -> dict[str, Tensor]:
    """One step of a `Recording` (E, ...) by field, in memory of its own.

    Args:
        env: after the step.
        following: what the step returned as "next".
    """
    state, m = env.backend.state().clone(), env.measure()
    step = {
        "qpos": state.qpos,
        "qvel": state.qvel,
        "foot_force": m.foot_force,
        "sole_pos_w": m.sole_pos_w,
        "sole_linvel_w": m.sole_linvel_w,
        "sole_height": lowest_sole_points(state, m.sole_pos_w, env.robot),
        "com_height": state.sensordata[:, env.robot.sensors["com_pos"]][:, 2],
        "torque": m.torque,
        "amp": following["amp"],
    }
    if env.config.harness is not None:
        step |= {"support": env.support.mean, "support_saturated": env.support.saturated}
    return step


def record(
    policy: PolicyFunction,
    env: LocomotionEnv,
    command: Tensor,
    num_steps: int,
    stop_steps: int = 0,
) -> Recording:
    """One deterministic episode of every robot, from home with the environment's reset noise.

    An episode ends at its robot's first `done`. The robot then stands at home until all episodes
    have ended; it draws no random numbers, so its fall does not change the pushes of other robots.

    The environment's start states and commands are overwritten, and drawn at random afterwards.

    Args:
        policy: from observations (E, O) to actions (E, J).
        env: E robots without harness, with episodes of at least `num_steps`.
        command: (E,) [m/s], held throughout.
        num_steps: control steps T.
        stop_steps: last steps of these in which the command is 0 instead.

    Raises:
        UserError: the policy returns another shape or a number that is not finite.
        ValueError: the environment has a harness or shorter episodes.
        PhysicsError: the engine dropped contacts for lack of capacity.
    """
    config, robot, num = env.config, env.robot, env.num_envs
    if config.harness is not None:
        raise ValueError("the environment supports the robots by a harness; record without one")
    if config.episode_steps < num_steps:
        raise ValueError(
            f"cannot record {num_steps} steps: the environment ends episodes after "
            f"{config.episode_steps}; raise its episode_length_s"
        )
    home = robot.home_qpos.expand(num, -1)
    still = torch.zeros(num, robot.home_qpos.shape[0] - 1, device=home.device)
    command = command.to(home.device, torch.float32).clone()
    env.set_start_states(home[:1], still[:1], command[:1], probability=0.0)
    env.set_commands(command)
    running = torch.ones(num, dtype=torch.bool, device=home.device)
    terminated = torch.zeros_like(running)
    steps: list[dict[str, Tensor]] = []
    try:
        observation = env.reset()["observation"]
        while len(steps) < num_steps and bool(running.any()):
            if stop_steps and len(steps) == num_steps - stop_steps:
                env.set_commands(torch.zeros_like(command))
                # A simulation that failed has no numbers, and its episode has ended.
                observation = env.observe(env.measure())["observation"].nan_to_num()
            action = _act(policy, observation, (num, robot.num_joints))
            following = env.step(TensorDict({"action": action}, batch_size=[num]))["next"]
            step = record_step(env, following)
            # Nothing can be measured of a simulation that failed.
            known = torch.isfinite(torch.cat([step["qpos"], step["qvel"]], dim=-1)).all(-1)
            steps.append({**step, "action": action, "valid": running & known})
            done = following["done"][:, 0]
            terminated = terminated | (running & following["terminated"][:, 0])
            running = running & ~done
            observation = following["observation"]
            if bool(done.any()):
                env.set_state(done, home, still)
    finally:
        env.set_commands(None)
    require_capacities(env.backend)
    after = {**steps[-1], "valid": torch.zeros_like(running)}
    steps += [after] * (num_steps - len(steps))
    return Recording(
        ctrl_dt=config.ctrl_dt, command=command, terminated=terminated, **stacked(steps)
    )


def stacked(steps: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Series (T, E, ...) by field of T steps (E, ...), as `record_step` returns them."""
    return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}


def lowest_sole_points(state: PhysicsState, sole_pos_w: Tensor, robot: RobotSpec) -> Tensor:
    """Height of each sole's lowest corner (E, 2) [m], from the sole centres (E, 2, 3) [m]."""
    leg, half = robot.leg, robot.leg.sole_width / 2
    corners = torch.tensor(
        [[x, y, 0.0] for x in (leg.heel, leg.toe) for y in (-half, half)], device=sole_pos_w.device
    )
    quat = torch.stack([state.sensordata[:, robot.sensors[f"{f}_quat"]] for f in FEET], dim=1)
    shape = (*quat.shape[:2], corners.shape[0])
    turned = quat_rotate(quat[:, :, None].expand(*shape, 4), corners.expand(*shape, 3))
    return sole_pos_w[..., 2] + turned[..., 2].amin(-1)


def _act(policy: PolicyFunction, observation: Tensor, shape: tuple[int, int]) -> Tensor:
    with torch.no_grad():
        action = policy(observation)
    if action.shape != shape:
        raise UserError(f"the policy returned shape {tuple(action.shape)}; expected {shape}")
    if not bool(torch.isfinite(action).all()):
        raise UserError("the policy returned an action that is not finite")
    return action.detach().to(observation).clamp(-1.0, 1.0)
