"""A policy that tracks clips: its environment, its training, its corrections."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.physics.base import require_capacities
from envs.reality.disturbances import PushConfig
from envs.robot.model import RobotModel
from envs.task.actions import ActionConfig
from envs.task.terminations import fall_causes
from wildrobot_torch.ppo.finite import require_finite_weights
from wildrobot_torch.ppo.learner import PPOLearner, Transitions
from wildrobot_torch.ppo.losses import gaussian_log_prob
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.checkpoint import load_training, save_training, training_key
from wildrobot_torch.reference.follow.rollout import Goal, Rollout, Task, perform
from wildrobot_torch.reference.follow.tracking import (
    ARRIVAL_S,
    FALL,
    MAX_JOINT_ERROR,
    MAX_WAY_ERROR,
    ClipStates,
    TrackingConfig,
    tracking_layout,
    tracking_observation,
    tracking_reward,
)

TEST_PUSH = PushConfig(impulse_min=0.36, impulse_max=0.36, interval_s=1.5)
"""Pushes that a tracker is tested with after its training."""
SAVE_EVERY_S = 30.0
"""Time between two checkpoints of a training [s]."""
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
        env = self.env
        seen = env.observe(m)
        root = env.backend.state().qpos[:, :3]

        def with_clip(key: str) -> Tensor:
            return tracking_observation(
                seen[key], m, root, self.clips, self.clip, self.frame, env.robot
            )

        return with_clip("observation"), with_clip("critic_observation")

    def step(self, residual: Tensor) -> dict[str, Tensor]:
        """Advance all robots by one control step, then restart those whose episode has ended.

        Args:
            residual: (E, J) action in [-1, 1].

        Returns:
            reward, terminated, done (E,) and next_critic_observation (E, C), before any restart.
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
        way = torch.linalg.vector_norm(qpos[:, :2] - root[:, :2], dim=-1)
        failed = env.backend.health() != 0
        lost = (error > MAX_JOINT_ERROR) | (way > MAX_WAY_ERROR)
        terminated = fall_causes(m, failed, env.robot, FALL).any(-1) | lost
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


def tracking_env(
    num_envs: int, push: PushConfig, *, physics: str = "native", seed: int = 0
) -> LocomotionEnv:
    """The environment trackers live in: no support, any joint target, random pushes.

    Args:
        num_envs: number of robots.
        push: random pushes.
        physics: name of the engine.
        seed: of the pushes.
    """
    config = LocomotionConfig(
        action=ActionConfig(mapping="full_range", filter=0.0),
        auto_reset=False,
        push=push,
    )
    return LocomotionEnv(config, num_envs, physics=physics, seed=seed)


def train_tracker(
    clips: ClipStates,
    config: TrackingConfig,
    *,
    physics: str = "native",
    checkpoint: Path | None = None,
    progress: Progress = lambda line: None,
) -> Policy:
    """A policy that follows all clips at once, trained by ppo.

    Args:
        clips: what to follow, at the control rate.
        config: task and length of training.
        physics: name of the engine; the policy is trained, and left, on its device.
        checkpoint: file the training is kept in; the same training goes on from there, one of
            other clips or settings begins anew and replaces it; None keeps none.
        progress: called with a line now and then.

    Raises:
        ValueError: the checkpoint cannot be read.
        PhysicsError: the engine dropped contacts for want of room.
    """
    push = PushConfig(impulse_max=config.push_impulse)
    env = tracking_env(config.num_envs, push, physics=physics, seed=config.seed)
    device = env.backend.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        training = _Training(TrackingTask(env, clips, config))
        key = training_key(clips, config, env, _layout(env, "observation"))
        saved = None if checkpoint is None else load_training(checkpoint, key)
        if saved is None and checkpoint is not None and checkpoint.is_file():
            progress(f"{checkpoint} is of other clips or settings: the tracker is trained anew")
        if saved is not None:
            training.load_state_dict(saved)
            progress(f"tracker goes on at {training.iteration}/{training.iterations}")
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
                require_finite_weights(self.policy, self.iteration)
                require_finite_weights(self.critic, self.iteration)
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
            "policy": self.policy.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "task": self.task.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.iteration = state["iteration"]
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.task.load_state_dict(state["task"])
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


def track(
    env: LocomotionEnv,
    tasks: list[Task],
    tracker: Policy,
    scale: float,
    robot_model: RobotModel,
) -> list[Rollout]:
    """Rollouts of all tasks by a tracking policy, deterministic, in a `tracking_env`.

    Args:
        env: with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        tracker: trained on such clips, on the environment's device.
        scale: joint angle one unit of its action adds to the clip's servo targets [rad].
        robot_model: with the masses that the servos' needs are computed from.
    """
    device = env.backend.device
    variants = {id(task.clip): task.clip for task in tasks}
    clips = ClipStates.of(list(variants.values()), robot_model).to(device)
    each = torch.tensor([list(variants).index(id(task.clip)) for task in tasks], device=device)
    joints = env.robot.joint_qpos_adr
    start = torch.tensor([task.start for task in tasks], device=device)
    env.set_commands(clips.speed[each])

    def correct(env: LocomotionEnv, m: Measurements, goal: Goal) -> Tensor:
        seen = tracking_observation(
            env.observe(m)["observation"],
            m,
            env.backend.state().qpos[:, :3],
            clips,
            each,
            start + goal.step,
            env.robot,
        )
        servo = clips.servo[clips.index(each, start + goal.step + 1)]
        with torch.no_grad():
            return servo - goal.qpos[:, joints] + scale * tracker.act(seen)

    return perform(env, tasks, correct, "tracker")
