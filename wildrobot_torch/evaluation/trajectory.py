"""What a policy does, step by step: the recording all metrics and pictures are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.frames import world_to_heading, yaw
from envs.locomotion import LocomotionEnv
from envs.physics.base import require_capacities
from envs.robot.spec import RobotSpec

PolicyFunction = Callable[[Tensor], Tensor]
"""From observations (E, O) to actions (E, J) in [-1, 1]."""


@dataclass(frozen=True)
class Trajectory:
    """One episode of each of E robots over T control steps, as it stands after each step.

    Beyond the end of an episode (`valid` False) values mean nothing. J joints; feet left, right.
    """

    ctrl_dt: float
    """Time between steps [s]."""
    command: Tensor
    """(E,) [m/s]: forward velocity asked for, from start to end."""
    qpos: Tensor
    """(T, E, nq)."""
    qvel: Tensor
    """(T, E, nv)."""
    foot_force: Tensor
    """(T, E, 2) [N]: vertical support of each foot."""
    sole_pos_w: Tensor
    """(T, E, 2, 3) [m]: sole centre under the ankle axis."""
    sole_linvel_w: Tensor
    """(T, E, 2, 3) [m/s]."""
    torque: Tensor
    """(T, E, J) [N m]."""
    action: Tensor
    """(T, E, J): what the policy put out, clipped to [-1, 1]."""
    amp: Tensor
    """(T, E, F): style features, the environment's own `amp`."""
    valid: Tensor
    """(T, E) bool: the step belongs to the episode; its last step, the fall included, does."""
    terminated: Tensor
    """(E,) bool: the episode ended in a fall."""

    @property
    def num_steps(self) -> int:
        """T."""
        return self.qpos.shape[0]

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.qpos.shape[1]

    @property
    def velocity(self) -> Tensor:
        """(T, E) [m/s]: forward velocity of the root in the heading frame."""
        return world_to_heading(self.qvel[..., :3], self.qpos[..., 3:7])[..., 0]

    @property
    def yaw(self) -> Tensor:
        """(T, E) [rad]: heading in the world."""
        return yaw(self.qpos[..., 3:7])

    def joint_pos(self, robot: RobotSpec) -> Tensor:
        """(T, E, J) [rad]."""
        return self.qpos[..., robot.joint_qpos_adr]

    def joint_vel(self, robot: RobotSpec) -> Tensor:
        """(T, E, J) [rad/s]."""
        return self.qvel[..., robot.joint_qvel_adr]

    def settled(self, settle_s: float) -> Tensor:
        """(T, E) bool: valid steps after the first `settle_s` seconds."""
        late = torch.arange(self.num_steps, device=self.valid.device) >= round(
            settle_s / self.ctrl_dt
        )
        return self.valid & late[:, None]

    def select(self, episodes: Tensor) -> Trajectory:
        """The episodes where `episodes` (E,) is True."""
        chosen = {
            name: value[episodes] if name in _PER_EPISODE else value[:, episodes]
            for name, value in self._tensors().items()
        }
        return replace(self, **chosen)

    def to(self, device: torch.device | str) -> Trajectory:
        """The same recording on another device."""
        return replace(self, **{name: x.to(device) for name, x in self._tensors().items()})

    @staticmethod
    def concatenate(parts: list[Trajectory]) -> Trajectory:
        """All episodes of recordings of one duration and control step."""
        joined = {
            name: torch.cat(
                [getattr(part, name) for part in parts], dim=0 if name in _PER_EPISODE else 1
            )
            for name in parts[0]._tensors()
        }
        return replace(parts[0], **joined)

    def _tensors(self) -> dict[str, Tensor]:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in named if isinstance(value, Tensor)}


_PER_EPISODE = ("command", "terminated")


def record(
    policy: PolicyFunction, env: LocomotionEnv, command: Tensor, num_steps: int
) -> Trajectory:
    """One deterministic episode of every robot, from home with the environment's reset noise.

    An episode ends at its robot's first `done`; the robot then stands at home until the others are
    through, which draws no random numbers, so that one policy's falls leave another robot's pushes
    as they were.

    The environment's start states and commands are overwritten, and left drawn at random.

    Args:
        policy: from observations (E, O) to actions (E, J).
        env: with E robots, no harness, and episodes of at least `num_steps`.
        command: (E,) [m/s], held throughout.
        num_steps: control steps T.

    Raises:
        ValueError: the environment has a harness or shorter episodes, or the policy returns another
            shape or a number that is not finite.
        PhysicsError: the engine dropped contacts for want of room.
    """
    config, robot, num = env.config, env.robot, env.num_envs
    if config.harness is not None:
        raise ValueError("the environment holds the robot in a harness; evaluate without one")
    if config.episode_steps < num_steps:
        raise ValueError(
            f"{num_steps} steps asked for, but the environment ends episodes after "
            f"{config.episode_steps}; raise its episode_length_s"
        )
    home = robot.home_qpos.expand(num, -1)
    still = torch.zeros(num, robot.home_qpos.shape[0] - 1, device=home.device)
    env.set_start_states(home[:1], still[:1], command[:1], probability=0.0)
    env.set_commands(command)
    try:
        recording = _record(policy, env, command, num_steps, home, still)
    finally:
        env.set_commands(None)
    require_capacities(env.backend)
    return recording


def _record(
    policy: PolicyFunction,
    env: LocomotionEnv,
    command: Tensor,
    num_steps: int,
    home: Tensor,
    still: Tensor,
) -> Trajectory:
    robot, num, device = env.robot, env.num_envs, env.robot.home_qpos.device
    joints = robot.num_joints

    def series(*shape: int) -> Tensor:
        return torch.zeros(num_steps, num, *shape, device=device)

    recording = Trajectory(
        ctrl_dt=env.config.ctrl_dt,
        command=command.to(device, torch.float32).clone(),
        qpos=series(home.shape[1]),
        qvel=series(still.shape[1]),
        foot_force=series(2),
        sole_pos_w=series(2, 3),
        sole_linvel_w=series(2, 3),
        torque=series(joints),
        action=series(joints),
        amp=series(env.layouts["amp"].size),
        valid=series().bool(),
        terminated=torch.zeros(num, dtype=torch.bool, device=device),
    )
    running = torch.ones(num, dtype=torch.bool, device=device)
    observation = env.reset().get("observation")
    for step in range(num_steps):
        action = _act(policy, observation, (num, joints))
        following = env.step(TensorDict({"action": action}, batch_size=[num])).get("next")
        state, m = env.backend.state(), env.measure()
        done = following.get("done")[:, 0]
        terminated = following.get("terminated")[:, 0]
        recording.qpos[step], recording.qvel[step] = state.qpos, state.qvel
        recording.foot_force[step] = m.foot_force
        recording.sole_pos_w[step] = m.sole_pos_w
        recording.sole_linvel_w[step] = m.sole_linvel_w
        recording.torque[step] = m.torque
        recording.action[step] = action
        recording.amp[step] = following.get("amp")
        recording.valid[step] = running
        recording.terminated.logical_or_(running & terminated)
        running = running & ~done
        if not bool(running.any()):
            break
        observation = following.get("observation")
        if bool(done.any()):
            env.set_state(done, home, still)
    return recording


def _act(policy: PolicyFunction, observation: Tensor, shape: tuple[int, int]) -> Tensor:
    with torch.no_grad():
        action = policy(observation)
    if action.shape != shape:
        raise ValueError(f"the policy returned shape {tuple(action.shape)}; expected {shape}")
    if not bool(torch.isfinite(action).all()):
        raise ValueError("the policy returned an action that is not finite")
    return action.detach().to(observation).clamp(-1.0, 1.0)
