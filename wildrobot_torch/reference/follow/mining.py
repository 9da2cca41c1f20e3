"""Mining a policy: rollouts of its motion at a grid of commands.

The clip of such a rollout is the motion itself, so that it can be cut, drawn and played as others
are; joint errors against a clip are undefined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.disturbances import PushConfig
from envs.recorder import record
from envs.robot.spec import RobotSpec
from envs.settings import NonNegativeFloat, PositiveFloat, check
from envs.task.starts import ResetConfig
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.ppo.policy_file import LoadedPolicy, PolicyFileError, load_policy
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.rollout import Rollout, Task


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """Commands of the rollouts; each begins standing at home and has one speed."""

    speeds: tuple[NonNegativeFloat, ...] = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    """Commanded velocities [m/s], each once; 0 commands standing."""
    seconds: PositiveFloat = 10.0
    """Length of each rollout [s]."""
    settle_s: NonNegativeFloat = 0.0
    """Time at the start that is left out [s]; 0 keeps the start from standing."""
    stop_s: NonNegativeFloat = 0.0
    """Time at the end in which the command is 0 [s], for policies that were trained to stand
    (`env.command.standing_probability`)."""

    def __post_init__(self) -> None:
        check(self)
        names = [_named(speed) for speed in self.speeds]
        if not names or len(set(names)) < len(names):
            raise UserError(f"mining.speeds is {self.speeds}; allowed: one or more, each once")
        if self.settle_s + self.stop_s >= self.seconds:
            raise UserError(
                f"mining.settle_s {self.settle_s} and mining.stop_s {self.stop_s} leave nothing of "
                f"mining.seconds {self.seconds}; allowed: a smaller sum"
            )


@dataclass(frozen=True)
class PolicySource:
    """A policy to be mined; its name begins the names of its clips."""

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
            "servo": asdict(self.policy.task.servo),
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


@one_torch_thread()
def mine(
    source: PolicySource, config: MiningConfig, *, physics: str = "native"
) -> tuple[Rollout, ...]:
    """Rollouts of a policy, deterministic, one for each commanded speed.

    The task is the one it was trained on, servo included, without pushes, support or reset noise.

    Raises:
        PolicyFileError: the policy is one of another robot or of another control rate, or returns
            something that is no action.
        LayoutMismatch: it observes something else.
        PhysicsError: the engine dropped contacts for want of room.
    """
    policy, rate = source.policy, LocomotionConfig().ctrl_dt
    if policy.task.ctrl_dt != rate:
        raise PolicyFileError(
            f"{policy.path} acts every {policy.task.ctrl_dt:g} s, reference is made at {rate:g} s; "
            f"train with --data.env.ctrl_dt {rate:g}"
        )
    task = replace(
        policy.task,
        episode_length_s=config.seconds,
        push=PushConfig(),
        reset=ResetConfig(joint_noise=0.0, velocity_noise=0.0),
        support=None,
        auto_reset=True,
    )
    env = LocomotionEnv(task, len(config.speeds), physics=physics)
    policy.require(env.layouts["observation"], env.robot.digest)
    robot, dt = env.robot.to("cpu"), env.config.ctrl_dt
    steps, settle, stop = (round(s / dt) for s in (config.seconds, config.settle_s, config.stop_s))
    try:
        recording = record(policy, env, torch.tensor(config.speeds), steps, stop)
    except UserError as error:
        raise PolicyFileError(f"{policy.path}: {error}") from error
    recording = recording.to("cpu")
    # The step in which the robot falls is left out.
    lengths = (recording.valid.sum(0) - recording.terminated.long()).clamp(min=settle) - settle
    start = robot.home_qpos.expand(1, len(config.speeds), -1)
    qpos = torch.cat([start, recording.qpos])[settle:]
    recording = recording.cut(settle, steps)
    rollouts = []
    for i, speed in enumerate(config.speeds):
        length = int(lengths[i])
        clip = Clip(
            name=source.clip_name(speed),
            fps=1.0 / dt,
            **_executed(qpos[:, i], length, robot),
            source=f"policy {policy.path.name} ({source.sha256[:16]}); command {speed:g} m/s",
        )
        rollouts.append(Rollout.of(Task(clip, 0, speed), recording, i, length, "policy"))
    return tuple(rollouts)


def _executed(qpos: Tensor, standing: int, robot: RobotSpec) -> dict[str, Any]:
    """Arrays of a clip of states (T + 1, nq), the last one before a fall held to the end."""
    held = qpos[torch.arange(len(qpos)).clamp(max=standing)].double()
    return {
        "root_pos": held[:, :3].numpy(),
        "root_quat": held[:, 3:7].numpy(),
        "joint_pos": held[:, robot.joint_qpos_adr].numpy(),
    }


def _named(speed: float) -> str:
    """A speed with two decimals, or as many as it has."""
    return max(f"{speed:.2f}", f"{speed:g}", key=len)
