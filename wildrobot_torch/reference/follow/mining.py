"""Mining a policy: what it does by itself at a grid of commands, recorded as rollouts.

There is no clip to follow. A rollout's clip is the motion itself, so that it can be cut, drawn and
played as others are; joint errors against a clip are undefined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import require_capacities
from envs.reality.disturbances import PushConfig
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.ppo.policy_file import LoadedPolicy, PolicyFileError, load_policy
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.rollout import Rollout, Task, cut_rollout, record_step
from wildrobot_torch.reference.follow.tracker import NO_HARNESS


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """What policies are asked for, each speed in a rollout of its own from standing at home."""

    speeds: tuple[float, ...] = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    """Velocities asked for [m/s]; 0 asks for standing."""
    seconds: float = 10.0
    """Length of each rollout [s]."""
    settle_s: float = 0.0
    """Time at the start that is left out [s]; 0 keeps the start from standing."""
    stop_s: float = 0.0
    """Time at the end in which standing is asked for [s]; for policies that learned to stand
    (`env.command.standing_probability`)."""

    def __post_init__(self) -> None:
        names = [_named(speed) for speed in self.speeds]
        if not names or min(self.speeds) < 0.0 or len(set(names)) < len(names):
            raise ValueError(
                f"mining.speeds is {self.speeds}; allowed: one or more, none negative, none twice"
            )
        if self.settle_s < 0.0 or self.stop_s < 0.0 or self.settle_s + self.stop_s >= self.seconds:
            raise ValueError(
                f"mining.settle_s is {self.settle_s}, mining.stop_s {self.stop_s}; neither may be "
                f"negative, and they must leave something of mining.seconds ({self.seconds})"
            )


@dataclass(frozen=True)
class PolicySource:
    """A policy to be mined, and what its clips are called after."""

    name: str
    policy: LoadedPolicy
    sha256: str
    """Of its file."""

    def clip_name(self, speed: float) -> str:
        """Name of its rollout at a commanded speed [m/s]."""
        return f"{self.name}_{_named(speed)}"

    def about(self, config: MiningConfig) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "name": self.name,
            "file": self.policy.path.name,
            "sha256": self.sha256,
            "env_steps": self.policy.env_steps,
            "clips": [{"name": self.clip_name(v), "command": v} for v in config.speeds],
        }


def load_sources(paths: Sequence[Path | str]) -> list[PolicySource]:
    """Policies of checkpoints (.ckpt) or exported files (.onnx), called policy, policy2, ...

    Raises:
        PolicyFileError: a file cannot be read, holds no policy, or the same as another.
    """
    sources: list[PolicySource] = []
    for path in map(Path, paths):
        policy = load_policy(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if twin := next((s for s in sources if s.sha256 == sha256), None):
            raise PolicyFileError(
                f"{path} holds the same as {twin.policy.path}; give each policy once"
            )
        name = f"policy{len(sources) + 1}" if sources else "policy"
        sources.append(PolicySource(name, policy, sha256))
    return sources


def mining_env(policy: LoadedPolicy, num_envs: int, *, physics: str = "native") -> LocomotionEnv:
    """The task a policy was trained on, without pushes, support or enforced ends.

    Raises:
        PolicyFileError: the policy is one of another robot or of another control rate.
        LayoutMismatch: it observes something else.
    """
    task, rate = policy.task, LocomotionConfig().ctrl_dt
    if task.ctrl_dt != rate:
        raise PolicyFileError(
            f"{policy.path} acts every {task.ctrl_dt:g} s, reference is made at {rate:g} s; train "
            f"with --env.ctrl_dt {rate:g}"
        )
    config = replace(task, push=PushConfig(), harness=NO_HARNESS)
    env = LocomotionEnv(config, num_envs, physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    return env


@torch.no_grad()
@one_torch_thread()
def mine(
    source: PolicySource, config: MiningConfig, *, physics: str = "native"
) -> tuple[Rollout, ...]:
    """Rollouts of a policy, deterministic and without support, one for each speed asked for.

    Raises:
        ValueError: the policy does not fit, or returns something that is no action.
        PhysicsError: the engine dropped contacts for want of room.
    """
    num = len(config.speeds)
    env = mining_env(source.policy, num, physics=physics)
    robot, dt, device = env.robot, env.config.ctrl_dt, env.backend.device
    everyone = torch.ones(num, dtype=torch.bool, device=device)
    home = robot.home_qpos.expand(num, -1)
    env.set_commands(torch.tensor(config.speeds, device=device))
    env.set_state(everyone, home, torch.zeros(num, home.shape[1] - 1, device=device))
    seen = env.observe(env.measure())["observation"]
    steps, settle = round(config.seconds / dt), round(config.settle_s / dt)
    stop = steps - round(config.stop_s / dt)
    recorded: list[dict[str, Tensor]] = []
    for step in range(steps):
        if step == stop:
            env.set_commands(torch.zeros(num, device=device))
            # A simulation that failed has no numbers to show, and has ended anyway.
            seen = env.observe(env.measure())["observation"].nan_to_num()
        action = _action(source, seen, (num, robot.num_joints))
        following = env.step(TensorDict({"action": action}, batch_size=[num]))["next"]
        recorded.append(record_step(env, following))
        seen = following["observation"]
    require_capacities(env.backend)
    series = {name: torch.stack([r[name] for r in recorded], dim=1).cpu() for name in recorded[0]}
    series["fallen"] = series["fallen"].int().cummax(dim=1).values.bool()
    qpos = torch.cat([home[:, None].cpu(), series["qpos"]], dim=1)[:, settle:]
    series = {name: values[:, settle:] for name, values in series.items()}
    standing = int(series["fallen"].shape[1]) - series["fallen"].sum(dim=1)
    rollouts = []
    for i, speed in enumerate(config.speeds):
        clip = Clip(
            name=source.clip_name(speed),
            fps=1.0 / dt,
            **_executed(qpos[i], int(standing[i]), robot.to("cpu")),
            source=f"policy {source.policy.path.name} ({source.sha256[:16]}); asked for {speed:g} "
            "m/s",
        )
        rollouts.append(cut_rollout(Task(clip, 0, speed), i, series, dt))
    return tuple(rollouts)


def _action(source: PolicySource, observation: Tensor, shape: tuple[int, int]) -> Tensor:
    action = source.policy(observation)
    if action.shape != shape or not bool(torch.isfinite(action).all()):
        raise PolicyFileError(
            f"{source.policy.path} returned actions of shape {tuple(action.shape)}, or some that "
            f"are not finite; expected finite ones of shape {shape}"
        )
    return action


def _executed(qpos: Tensor, standing: int, robot: RobotSpec) -> dict[str, Any]:
    """Arrays of a clip of states (T + 1, nq), the last one before a fall held to the end."""
    held = qpos[torch.arange(len(qpos)).clamp(max=standing)].double()
    joints = held[:, robot.joint_qpos_adr]
    return {
        "root_pos": held[:, :3].numpy(),
        "root_quat": held[:, 3:7].numpy(),
        "joint_pos": joints.numpy(),
    }


def _named(speed: float) -> str:
    """A speed with two decimals, or as many as it has."""
    return max(f"{speed:.2f}", f"{speed:g}", key=len)
