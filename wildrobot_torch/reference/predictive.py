"""Following clips without training: sampling-based predictive control on the batched physics.

Before every few control steps copies of each robot's present state are simulated ahead, every one
under another sequence of corrections around the clip's servo targets, and paid as the tracking
policy is in its training. The centre of the next sequences moves towards those that earned more
(MPPI, Williams et al. 2017, "Information theoretic MPC for model-based reinforcement learning",
ICRA); executed is the best sequence simulated (predictive sampling, Howell et al. 2022,
arXiv:2212.00541), so a plan is never worse, by the model's account, than no correction at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.locomotion import LocomotionEnv
from envs.measurements import Measurements
from envs.reality.disturbances import PushConfig
from envs.robot.model import RobotModel
from envs.task.actions import action_to_ctrl
from envs.task.terminations import fallen
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.reference.follow.rollout import Goal, Rollout, Task, perform
from wildrobot_torch.reference.follow.tracker import tracking_env
from wildrobot_torch.reference.follow.tracking import ClipStates, TrackingConfig, tracking_reward

GIVEN = 3
"""Sequences of an iteration that are not drawn: the best known, the centre, no correction."""
FALL_REWARD = -0.1
"""Reward of each step from a fall on: what the best step earns, lost."""


@dataclass(frozen=True, kw_only=True)
class PredictiveConfig:
    """Sampling-based predictive tracking."""

    samples: int = 64
    """Sequences simulated per robot in each iteration."""
    iterations: int = 1
    """Rounds of sampling per plan."""
    horizon: int = 20
    """Length of a sequence [control steps]."""
    replan: int = 2
    """Control steps of a plan that are executed."""
    knots: int = 5
    """Points of a sequence that are drawn; between them it is linear."""
    noise: float = 0.12
    """Standard deviation of a drawn point, in units of the tracker's action."""
    temperature: float = 0.3
    """Return, in units of the best one's lead over the median, that makes a sequence's share in the
    next centre e times larger."""
    seed: int = 0
    """Of the samples."""

    def __post_init__(self) -> None:
        if self.samples <= GIVEN:
            raise ValueError(
                f"predictive.samples is {self.samples}; allowed: {GIVEN + 1} or more, {GIVEN} of "
                "them are not drawn"
            )
        if not 1 <= self.replan <= self.horizon:
            raise ValueError(
                f"predictive.replan is {self.replan}; allowed: 1 to horizon ({self.horizon})"
            )
        if not 2 <= self.knots <= self.horizon:
            raise ValueError(
                f"predictive.knots is {self.knots}; allowed: 2 to horizon ({self.horizon})"
            )
        for name in ("iterations", "noise", "temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"predictive.{name} is {getattr(self, name)}; it must be positive")


def knot_weights(horizon: int, knots: int) -> Tensor:
    """Weights (horizon, knots) of evenly spaced points in the straight lines between them."""
    place = torch.linspace(0.0, knots - 1.0, horizon)
    return (1.0 - (place[:, None] - torch.arange(knots)).abs()).clamp(min=0.0)


def sequence_return(reward: Tensor, fell: Tensor) -> Tensor:
    """Return (...) of a sequence: its rewards up to a fall, `FALL_REWARD` from there on.

    Args:
        reward: (..., H); what it is after a fall does not matter.
        fell: (..., H) bool.
    """
    down = fell.long().cumsum(-1) > 0
    return torch.where(down, torch.full_like(reward, FALL_REWARD), reward).sum(-1)


def weighted_mean(sequences: Tensor, returns: Tensor, temperature: float) -> Tensor:
    """Mean (E, H, J) of sequences (E, N, H, J), those of higher return (E, N) weighing more."""
    best = returns.amax(1, keepdim=True)
    lead = (best - returns.median(1, keepdim=True).values).clamp(min=1e-9)
    weights = torch.softmax((returns - best) / (temperature * lead), dim=1)
    return torch.einsum("en,enhj->ehj", weights, sequences)


def shifted(sequence: Tensor, steps: int) -> Tensor:
    """Sequence (E, H, J) `steps` later: its end is held."""
    index = torch.arange(sequence.shape[1], device=sequence.device) + steps
    return sequence[:, index.clamp(max=sequence.shape[1] - 1)]


@dataclass(frozen=True)
class Plan:
    """What E robots are about to do."""

    sequence: Tensor
    """(E, H, J) in [-1, 1]: corrections, in units of the tracker's action."""
    predicted: Tensor
    """(E,): the return the model says it earns."""
    uncorrected: Tensor
    """(E,): the return it says the clip's servo targets alone earn."""


class Planner:
    """E robots' plans, each made from the one before."""

    def __init__(
        self,
        num_robots: int,
        clips: ClipStates,
        task: TrackingConfig,
        config: PredictiveConfig,
        *,
        physics: str = "native",
    ) -> None:
        """Allocates `config.samples` simulations for each robot.

        Args:
            num_robots: E.
            clips: what they follow.
            task: what they are paid for; its `residual_scale` is the corrections' unit.
            config: how plans are made.
            physics: name of the engine.
        """
        self.config, self.task = config, task
        self.model = tracking_env(num_robots * config.samples, PushConfig(), physics=physics)
        device = self.model.backend.device
        self.clips = clips.to(device)
        self._weights = knot_weights(config.horizon, config.knots).to(device)
        self._generator = torch.Generator(device).manual_seed(config.seed)
        shape = (num_robots, config.horizon, self.model.robot.num_joints)
        self._best = torch.zeros(shape, device=device)
        self._centre = torch.zeros(shape, device=device)
        self._executed = self._best[:, 0]
        self._age = config.replan

    @torch.no_grad()
    @one_torch_thread()
    def act(self, snapshot: dict[str, Tensor], clip: Tensor, frame: Tensor) -> Tensor:
        """Corrections (E, J) of the next control step; a new plan is made when it is time.

        Args:
            snapshot: the robots' present physics, `PhysicsBackend.snapshot`.
            clip: (E,) clip each robot follows.
            frame: (E,) frame it is at.
        """
        if self._age == self.config.replan:
            self.plan(snapshot, clip, frame)
            self._age = 0
        self._executed = self._best[:, 0]
        self._best, self._centre = shifted(self._best, 1), shifted(self._centre, 1)
        self._age += 1
        return self._executed

    @torch.no_grad()
    def plan(self, snapshot: dict[str, Tensor], clip: Tensor, frame: Tensor) -> Plan:
        """A plan from the present on; arguments as of `act`."""
        config = self.config
        returns = best = torch.empty(0)
        for _ in range(config.iterations):
            sequences = self._drawn()
            returns = self.simulate(snapshot, clip, frame, sequences)
            best = returns.argmax(1)
            self._best = sequences[torch.arange(len(best), device=best.device), best]
            self._centre = weighted_mean(sequences, returns, config.temperature)
        return Plan(self._best, returns.amax(1), returns[:, GIVEN - 1])

    def _drawn(self) -> Tensor:
        """Sequences (E, N, H, J) to try: those that are given, then others around the centre."""
        config = self.config
        num, _, joints = self._centre.shape
        noise = torch.randn(
            (num, config.samples - GIVEN, config.knots, joints),
            generator=self._generator,
            device=self._centre.device,
        )
        bent = torch.einsum("hk,enkj->enhj", self._weights, config.noise * noise)
        given = [self._best, self._centre, torch.zeros_like(self._centre)]
        drawn = self._centre[:, None] + bent
        return torch.cat([torch.stack(given, dim=1), drawn], dim=1).clamp(-1.0, 1.0)

    def simulate(
        self, snapshot: dict[str, Tensor], clip: Tensor, frame: Tensor, sequences: Tensor
    ) -> Tensor:
        """Returns (E, N) of sequences (E, N, H, J) from the present; the rest as of `act`."""
        env, clips, samples = self.model, self.clips, self.config.samples
        backend, robot = env.backend, env.robot

        def each(rows: Tensor) -> Tensor:
            return rows.repeat_interleave(samples, dim=0)

        backend.restore({name: each(rows) for name, rows in snapshot.items()})
        clip, frame, before = each(clip), each(frame), each(self._executed)
        rewards, falls = [], []
        for step, action in enumerate(sequences.flatten(0, 1).unbind(1), start=1):
            now = clips.index(clip, frame + step)
            target = clips.servo[now] + self.task.residual_scale * action
            wanted = env.joint_targets_to_action(target)
            ctrl = action_to_ctrl(wanted, robot, env.config.action)
            backend.step(ctrl, None, env.config.decimation)
            m = env.measure()
            reward = tracking_reward(
                m,
                backend.state().qpos[:, :3],
                clips.qpos[now],
                clips.qvel[now],
                clips.stands[now],
                action,
                before,
                robot,
                self.task,
            )
            rewards.append(reward)
            falls.append(fallen(m, self.task.termination) | (backend.health() != 0))
            before = action
        returns = sequence_return(torch.stack(rewards, dim=-1), torch.stack(falls, dim=-1))
        return returns.unflatten(0, (-1, samples))


def predict(
    env: LocomotionEnv,
    tasks: list[Task],
    task: TrackingConfig,
    config: PredictiveConfig,
    robot_model: RobotModel,
    *,
    physics: str = "native",
) -> list[Rollout]:
    """Rollouts of all tasks by predictive control, in an environment as of `track`.

    The planner knows the robot's exact state and model, but nothing of pushes.

    Args:
        env: with as many simulations as tasks.
        tasks: clips sampled at the environment's control rate.
        task: what plans are judged by.
        config: how they are made.
        robot_model: with the masses that the servos' needs are computed from.
        physics: name of the engine that `env` and the planner's copies run on.
    """
    device = env.backend.device
    variants = {id(one.clip): one.clip for one in tasks}
    clips = ClipStates.of(list(variants.values()), robot_model).to(device)
    clip = torch.tensor([list(variants).index(id(one.clip)) for one in tasks], device=device)
    start = torch.tensor([one.start for one in tasks], device=device)
    joints = env.robot.joint_qpos_adr
    planner = Planner(len(tasks), clips, task, config, physics=physics)

    def correct(env: LocomotionEnv, m: Measurements, goal: Goal) -> Tensor:
        frame = start + goal.step
        action = planner.act(env.backend.snapshot(), clip, frame)
        servo = clips.servo[clips.index(clip, frame + 1)]
        return servo - goal.qpos[:, joints] + task.residual_scale * action

    return perform(env, tasks, correct)
