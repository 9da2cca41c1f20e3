"""A policy that tracks clips: its environment, its training, its corrections."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.physics.base import require_capacities
from envs.reality.disturbances import PushConfig
from envs.robot.model import RobotModel
from envs.step import Episode
from envs.task.terminations import fall_causes
from wildrobot_torch.files import atomic_write, load_tensors
from wildrobot_torch.ppo.finite import require_finite_weights
from wildrobot_torch.ppo.learner import PPOLearner, Transitions
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.rollout import Rollout, Task, clip_env, perform
from wildrobot_torch.reference.follow.tracking import (
    ARRIVAL_S,
    COSTS,
    IMITATION,
    MAX_DISTANCE,
    MAX_JOINT_ERROR,
    STOP_ROOM,
    ClipStates,
    TrackingConfig,
    clip_observation,
    fall_limits,
    tracking_layout,
    tracking_reward,
)

SAVE_EVERY_S = 30.0
"""Time between two checkpoints of a training [s]."""
FORMAT = 2
"""Version of the files of trainings; it changes with what they hold."""
Progress = Callable[[str], None]


class TrackingTask:
    """E robots that each follow a clip; ends and restarts of episodes are decided here."""

    def __init__(self, env: LocomotionEnv, clips: ClipStates, config: TrackingConfig) -> None:
        """Uses `env`, without `auto_reset`, with full-range actions without filter."""
        num, device = env.num_envs, env.backend.device
        self.env, self.clips, self.config = env, clips.to(device), config
        self._generator = torch.Generator(device).manual_seed(config.seed)
        self.clip = torch.zeros(num, dtype=torch.long, device=device)
        self.frame = torch.zeros(num, dtype=torch.long, device=device)
        self._residual = torch.zeros(num, env.robot.num_joints, device=device)
        env.reset()
        self._restart(torch.ones(num, dtype=torch.bool, device=device))

    def _restart(self, mask: Tensor) -> None:
        """Begin episodes of the masked robots in random frames of random clips."""
        num, clips = self.env.num_envs, self.clips
        drawn: dict[str, Any] = {"generator": self._generator, "device": mask.device}
        clip = torch.randint(clips.length.shape[0], (num,), **drawn)
        arrival = round(ARRIVAL_S / self.env.config.ctrl_dt)
        last = (clips.length[clip] - arrival).clamp(min=1)
        frame = (torch.rand(num, **drawn) * last).long()
        self.clip = torch.where(mask, clip, self.clip)
        self.frame = torch.where(mask, frame, self.frame)
        self._residual = self._residual.masked_fill(mask[:, None], 0.0)
        self.env.set_commands(clips.speed[self.clip])
        start = clips.index(self.clip, self.frame)
        self.env.set_state(mask, clips.qpos[start], clips.qvel[start])
        self.seen = self.observe(self.env.measure())
        """Observations before the next step, as `observe` returns them."""

    def state_dict(self) -> dict[str, Any]:
        """All that the robots' future depends on, on the CPU."""
        return {
            **{name: getattr(self, name).cpu() for name in ("clip", "frame", "_residual")},
            "seen": [x.cpu() for x in self.seen],
            "generator": self._generator.get_state(),
            "simulation": {key: x.cpu() for key, x in self.env.get_sim_state().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        device = self.env.backend.device
        for name in ("clip", "frame", "_residual"):
            setattr(self, name, state[name].to(device))
        observation, critic_observation = state["seen"]
        self.seen = observation.to(device), critic_observation.to(device)
        self._generator.set_state(state["generator"])
        self.env.set_sim_state(state["simulation"])
        self.env.set_commands(self.clips.speed[self.clip])

    def observe(self, m: Measurements) -> tuple[Tensor, Tensor]:
        """Observations of tracker (E, O) and critic (E, C) in the present state."""
        seen, root = self.env.observe(m), self.env.backend.state().qpos[:, :3]
        of_clip = clip_observation(m, root, self.clips, self.clip, self.frame, self.env.robot)
        actor, critic = (
            torch.cat([seen[key], of_clip], -1) for key in ("observation", "critic_observation")
        )
        return actor, critic

    def step(self, residual: Tensor) -> dict[str, Tensor]:
        """Advance all robots by one control step, then restart those whose episode has ended.

        `residual` (E, J) is the action, in [-1, 1]. Returns reward, terminated, done (E,) and
        next_critic_observation (E, C), before any restart.
        """
        env, clips, config = self.env, self.clips, self.config
        residual = residual.clamp(-1.0, 1.0)
        target = clips.servo[clips.index(self.clip, self.frame + 1)]
        target = target + config.residual_scale * residual
        action = env.joint_targets_to_action(target)
        env.step(TensorDict({"action": action}, batch_size=[env.num_envs]))
        self.frame = self.frame + 1
        m = env.measure()
        now = clips.index(self.clip, self.frame)
        qpos, qvel = clips.qpos[now], clips.qvel[now]
        root = env.backend.state().qpos[:, :3]
        reward = tracking_reward(
            m, root, qpos, qvel, clips.stands[now], residual, self._residual, env.robot
        )
        error = (qpos[:, env.robot.joint_qpos_adr] - m.joint_pos).square().sum(-1)
        distance = torch.linalg.vector_norm(qpos[:, :2] - root[:, :2], dim=-1)
        failed = env.backend.health() != 0
        robot = env.robot
        most = MAX_JOINT_ERROR * robot.num_joints / 8
        lost = (error > most) | (distance > MAX_DISTANCE * robot.scale)
        terminated = fall_causes(m, failed, robot, fall_limits(robot)).any(-1) | lost
        done = terminated | (self.frame >= clips.length[self.clip] - 1)
        self._residual = residual
        result = {
            "reward": reward.masked_fill(failed, 0.0),
            "terminated": terminated,
            "done": done,
            "next_critic_observation": self.observe(m)[1].masked_fill(failed[:, None], 0.0),
        }
        self._restart(done)
        return result


def train_tracker(
    clips: ClipStates,
    config: TrackingConfig,
    *,
    physics: str = "native",
    robot: str = LocomotionConfig.robot,
    checkpoint: Path | None = None,
    progress: Progress = lambda line: None,
) -> Policy:
    """A policy that follows all clips at once, trained by PPO on the engine's device.

    Args:
        clips: what to follow, at the control rate.
        config: task and length of training.
        physics: name of the engine.
        robot: name or folder of the robot that follows.
        checkpoint: file the training is kept in: the same training goes on from there, one of
            other clips or settings replaces it.
        progress: called with a line now and then.

    Raises:
        UserError: the checkpoint cannot be read.
        PhysicsError: the engine dropped contacts for want of room.
    """
    push = PushConfig(impulse_max=config.push_impulse)
    env = clip_env(
        config.num_envs,
        push=push,
        servo=config.servo,
        physics=physics,
        robot=robot,
        seed=config.seed,
    )
    device = env.backend.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        training = _Training(TrackingTask(env, clips, config))
        key = training_key(clips, config, env, _layout(env, "observation"))
        saved = None if checkpoint is None else load_training(checkpoint, key)
        if saved is not None:
            training.load_state_dict(saved)
            progress(f"tracker goes on at {training.iteration}/{training.iterations}")
        elif checkpoint is not None and checkpoint.is_file():
            progress(f"{checkpoint} is of other clips or settings: the tracker is trained anew")
        training.run(
            None if checkpoint is None else partial(save_training, checkpoint, key), progress
        )
        return training.policy


def _layout(env: LocomotionEnv, key: str) -> Layout:
    return tracking_layout(env.layouts[key], env.robot)


class _Training:
    """PPO on a tracking task, which can be put aside between two iterations."""

    def __init__(self, task: TrackingTask) -> None:
        env, config, device = task.env, task.config, task.env.backend.device
        self.task = task
        self.policy = Policy(
            _layout(env, "observation").size, env.robot.num_joints, config.hidden,
            init_std=config.init_std,
        ).to(device)  # fmt: skip
        critic_size = _layout(env, "critic_observation").size
        self.critic = Critic(critic_size, config.hidden, "silu").to(device)
        parameters = [*self.policy.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=config.ppo.learning_rate)
        self.learner = PPOLearner(self.policy, self.critic, config.ppo, self.optimizer)
        self.parts: dict[str, Any] = {
            "policy": self.policy,
            "critic": self.critic,
            "optimizer": self.optimizer,
            "task": task,
        }
        """What is saved beside the random state."""
        self.iterations = -(-config.env_steps // (config.num_envs * config.num_steps))
        self.iteration = 0
        """Iterations done."""

    def run(self, save: Callable[[dict[str, Any]], None] | None, progress: Progress) -> None:
        """Train to the end; `save` is called with the state now and then, and at the end."""
        begin = saved = time.perf_counter()
        while self.iteration < self.iterations:
            with self.policy.fixed_weights():
                rollout = _collect(self.task, self.policy)
            require_capacities(self.task.env.backend)
            self.iteration += 1
            self.learner.update(rollout, self.iteration)
            last = self.iteration == self.iterations
            if save is not None and (last or time.perf_counter() - saved > SAVE_EVERY_S):
                for module in (self.policy, self.critic):
                    require_finite_weights(module, self.iteration)
                save(self.state_dict())
                saved = time.perf_counter()
            if self.iteration % 10 == 0 or last:
                ends = rollout.done.sum().clamp(min=1)
                progress(
                    f"tracker {self.iteration}/{self.iterations}  "
                    f"{time.perf_counter() - begin:.0f} s  "
                    f"reward {10 * rollout.reward.mean():.3f}  "
                    f"falls {rollout.terminated.sum() / ends:.0%} of {int(ends)} ends"
                )

    def state_dict(self) -> dict[str, Any]:
        """All that the training's future depends on, on the CPU."""
        device = self.task.env.backend.device
        return {
            "iteration": self.iteration,
            **{name: part.state_dict() for name, part in self.parts.items()},
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.iteration = state["iteration"]
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.task.env.backend.device)


@torch.no_grad()
@one_torch_thread()
def _collect(task: TrackingTask, policy: Policy) -> Transitions:
    """A rollout of the sampling policy."""
    steps = []
    log_noise = task.config.ppo.log_noise(task.env.num_envs, task.env.backend.device)
    log_std = policy.log_std + log_noise
    for _ in range(task.config.num_steps):
        observation, critic_observation = task.seen
        mean = policy(observation)
        action = mean + log_std.exp() * torch.randn_like(mean)
        steps.append(
            {
                "observation": observation,
                "critic_observation": critic_observation,
                "action": action,
                "mean": mean,
                "log_prob": gaussian_log_prob(action, mean, log_std),
                "log_noise": log_noise,
                **task.step(action),
            }
        )
    return Transitions(**{key: torch.stack([step[key] for step in steps], 1) for key in steps[0]})


def training_key(
    clips: ClipStates, config: TrackingConfig, env: LocomotionEnv, seen: Layout
) -> str:
    """64 hex digits over all that a training's result depends on, the code apart.

    `seen` is the layout of what the tracker observes.
    """
    about = {
        "tracking": asdict(config),
        "imitation": IMITATION,
        "costs": COSTS,
        "ends": (asdict(fall_limits(env.robot)), MAX_JOINT_ERROR, MAX_DISTANCE),
        "stop_room": STOP_ROOM,
        "arrival_s": ARRIVAL_S,
        "env": asdict(env.config),
        "engine": type(env.backend).__name__,
        "device": env.backend.device.type,
        "robot": env.robot.digest,
        "layout": seen.digest,
        # The training's file holds these parts of the running episodes.
        "episode": [f.name for f in fields(Episode)],
    }
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, values in sorted(vars(clips).items()):
        array = values.detach().cpu().contiguous().numpy()
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def save_training(path: Path, key: str, state: dict[str, Any]) -> None:
    """Write a training's state, whole or not at all."""
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "key": key, "state": state}, file)


def load_training(path: Path, key: str) -> dict[str, Any] | None:
    """The state in a file; None without a file, or where it is of another training.

    Raises:
        UserError: the file cannot be read, or another version wrote it.
    """
    if not path.is_file():
        return None
    remedy = "remove it to train anew"
    content = load_tensors(path, "tracker", remedy)
    if content.get("format") != FORMAT:
        raise UserError(
            f"tracker {path} was written by another version of wildrobot_torch (0.3 or older, or a "
            f"newer one); {remedy}"
        )
    return content["state"] if content["key"] == key else None


def track(
    env: LocomotionEnv,
    tasks: list[Task],
    tracker: Policy,
    scale: float,
    robot_model: RobotModel,
) -> list[Rollout]:
    """Rollouts of all tasks by a tracking policy, deterministic, in a `clip_env` for as many.

    One unit of the tracker's action adds the angle `scale` [rad] to the clips' servo targets.
    """
    device = env.backend.device
    variants = {id(task.clip): task.clip for task in tasks}
    clips = ClipStates.of(list(variants.values()), robot_model).to(device)
    each = torch.tensor([list(variants).index(id(task.clip)) for task in tasks], device=device)
    first = torch.tensor([task.first_frame for task in tasks], device=device)
    env.set_commands(clips.speed[each])

    @torch.no_grad()
    def correct(m: Measurements, step: int, qpos: Tensor, qvel: Tensor) -> Tensor:
        seen, root = env.observe(m)["observation"], env.backend.state().qpos[:, :3]
        of_clip = clip_observation(m, root, clips, each, first + step, env.robot)
        servo = clips.servo[clips.index(each, first + step + 1)]
        action = tracker.act(torch.cat([seen, of_clip], -1))
        return servo - qpos[:, env.robot.joint_qpos_adr] + scale * action

    return perform(env, tasks, correct, "tracker")
