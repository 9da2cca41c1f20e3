"""The locomotion environment: wires robot, physics and pure functions into a TorchRL EnvBase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from envs.config import LocomotionConfig
from envs.layout import Layout
from envs.measurements import Measurements, measure
from envs.physics.base import PhysicsState
from envs.physics.engines import make_physics
from envs.physics.graph import recorded
from envs.robot.model import ROBOT_DIRECTORY, load_robot
from envs.specs import action_spec, done_spec, observation_spec, reward_spec
from envs.step import (
    METRICS,
    Episode,
    Start,
    Verdict,
    act,
    begin,
    begin_seen,
    judge,
    observations,
    start_at,
    start_drawn,
)
from envs.task.actions import ctrl_to_action
from envs.task.features import amp_layout
from envs.task.harness import Support, supporting_wrench
from envs.task.observations import critic_layout, observation_layout
from envs.task.rewards import RewardWeights, term_weights
from envs.task.starts import StartDraws, StartStates


class LocomotionEnv(EnvBase):
    """Many robots asked to walk at commanded velocities.

    Root keys hold what is after a reset, `("next", ...)` what was before it, so a pair
    (amp, next amp) never straddles a reset and a time-out keeps its true last observation:

    | key | shape | meaning |
    |---|---|---|
    | observation | (E, 39) | `layouts["observation"]` |
    | critic_observation | (E, C) | `layouts["critic_observation"]` |
    | amp | (E, F) | `layouts["amp"]`, style features |
    | start | (E, 1) long | in the root an episode begins with: the number of the given state it
    begins in, -1 at home; -2 in all others |
    | action | (E, J) | policy output in [-1, 1] |
    | next reward | (E, 1) | sum of the terms |
    | next terms/<name> | (E, 1) | weighted reward terms |
    | next metrics/<name> | (E, 1) | episode_return, episode_length [steps], velocity_error [m/s],
    physics_failure |
    | terminated, truncated, done | (E, 1) bool | fallen; time is up; either |
    | next fallen | (E, 1) bool | harness mode only: ends recorded, not enforced |
    """

    def __init__(
        self,
        config: LocomotionConfig,
        num_envs: int,
        *,
        physics: str = "native",
        num_threads: int | None = None,
        seed: int = 0,
        robot_dir: Path | str | None = None,
        scene: str = "flat",
    ) -> None:
        """Loads the robot and allocates its simulations.

        Args:
            config: the task.
            num_envs: number of robots E.
            physics: name of the engine.
            num_threads: CPU threads of the native engine; None for all physical cores.
            seed: of commands, starts and pushes.
            robot_dir: folder of a robot description; None for the one in this package.
            scene: which of the robot's scenes.

        Raises:
            ValueError: a description, scene, engine or number that cannot be used.
        """
        loaded = load_robot(robot_dir or ROBOT_DIRECTORY, scene, config.sim_dt)
        self.backend = make_physics(physics, loaded, num_envs, num_threads)
        device = self.backend.device
        super().__init__(device=device, batch_size=torch.Size([num_envs]))
        self.config = config
        self.robot = loaded.robot.to(device)
        self.num_envs = num_envs
        self.layouts: dict[str, Layout] = {
            "observation": observation_layout(self.robot, config.observation),
            "critic_observation": critic_layout(self.robot, config.observation),
            "amp": amp_layout(self.robot),
        }
        self.term_names = tuple(vars(RewardWeights()))
        self.observation_spec = observation_spec(
            self.layouts, num_envs, device, config.harness is not None
        )
        self.action_spec = action_spec(self.robot.num_joints, num_envs, device)
        self.reward_spec = reward_spec(self.term_names, METRICS, num_envs, device)
        self.done_spec = done_spec(num_envs, device)
        self._generator = torch.Generator(device=device)
        self._starts: StartStates | None = None
        self._fixed_command: Tensor | None = None
        self._harness_target: tuple[Tensor, Tensor] | None = None
        self._root: dict[str, Tensor] | None = None  # of the next step, to save with the state
        self._restored_root: dict[str, Tensor] | None = None  # for the next `reset`
        self.support = Support.none(num_envs, device)
        self._set_seed(seed)
        self._episode = Episode.blank(num_envs, self.robot.num_joints, device)
        self._record()

    def _record(self) -> None:
        """The pure parts of a step as they are called: recorded where that pays."""
        config, device = self.config, self.backend.device
        # Made from lists, so before the first step: in one they would be copied from the host.
        factors, _ = term_weights(config.reward).to(device), self.robot.sensor_columns
        task: dict[str, Any] = {"robot": self.robot, "config": config}
        self._act = recorded(partial(act, **task), device)
        self._judge = recorded(partial(judge, factors=factors, **task), device)
        self._begin_seen = recorded(partial(begin_seen, **task), device)
        if config.harness is not None:
            held = {
                "config": config.harness,
                "dt": config.ctrl_dt / config.harness.updates_per_step,
            }
            self._supporting = recorded(partial(supporting_wrench, **held), device)
        self._record_start()

    def _record_start(self) -> None:
        """Apart from the rest, because the start states are in what is recorded."""
        start = partial(start_drawn, robot=self.robot, config=self.config, starts=self._starts)
        self._start_drawn = recorded(start, self.backend.device)

    def _set_seed(self, seed: int | None) -> None:
        self._generator.manual_seed(0 if seed is None else seed)

    # Settings between steps

    def set_start_states(
        self,
        qpos: Tensor,
        qvel: Tensor,
        velocity_command: Tensor,
        probability: float,
        number: Tensor | None = None,
        air_time: Tensor | None = None,
    ) -> None:
        """Let resets start in one of N given states (reference state initialisation).

        Args:
            qpos: (N, nq).
            qvel: (N, nv).
            velocity_command: (N,) [m/s], asked for after such a start.
            probability: share of the resets that use them; the others start at home.
            number: (N,) long, >= 0: what the key `start` calls them; None counts them from 0.
            air_time: (N, 2) [s], how long each foot has been unloaded; None for feet on the floor.

        Raises:
            ValueError: shapes do not fit the robot, or the probability is not in [0, 1].
        """
        self._starts = StartStates.checked(
            qpos, qvel, velocity_command, probability, self.robot, number, air_time
        )
        self._record_start()

    def set_commands(self, velocity: Tensor | None) -> None:
        """Hold fixed velocity commands (E,) [m/s] from now on; None draws them again."""
        if velocity is not None and velocity.shape != (self.num_envs,):
            raise ValueError(
                f"velocity commands have shape {tuple(velocity.shape)}, expected ({self.num_envs},)"
            )
        command = self._episode.command
        self._fixed_command = None if velocity is None else velocity.to(command, copy=True)
        if self._fixed_command is not None:
            self._episode = replace(self._episode, command=self._fixed_command)

    def set_state(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Begin an episode of the masked (E,) simulations in a given state (E, nq), (E, nv)."""
        start = start_at(qpos, qvel, self._episode.command, self.robot, self.config)
        self._root = self._restored_root = None
        self._episode = begin(self._episode, mask, start, self._placed(mask, start))

    def set_harness_targets(self, height: Tensor, quat: Tensor) -> None:
        """Root height (E,) [m] and orientation (E, 4) the harness holds from now on.

        Raises:
            ValueError: the environment has no harness.
        """
        if self.config.harness is None:
            raise ValueError("harness targets without a harness; set `harness` in the environment")
        self._harness_target = (height, quat)

    def joint_targets_to_action(self, joint_target: Tensor) -> Tensor:
        """Filtered action (E, J) whose position targets are `joint_target` (E, J) [rad]."""
        return ctrl_to_action(joint_target, self.robot, self.config.action)

    @property
    def velocity_command(self) -> Tensor:
        """Present commands (E,) [m/s]; a copy."""
        return self._episode.command.clone()

    def measure(self) -> Measurements:
        """Measured quantities of the present state."""
        return measure(self.backend.state(), self.robot)

    def observe(self, m: Measurements) -> dict[str, Tensor]:
        """Entries of `layouts` (E, ...) for measurements of the present state."""
        return observations(m, self._episode, self.robot, self.config)

    # Episodes

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, device=self.backend.device)

    def _placed(self, mask: Tensor, start: Start) -> PhysicsState:
        """Physics of all simulations, the masked ones at their start."""
        self.backend.reset(mask, start.qpos, start.qvel, start.ctrl)
        if self.config.harness is not None:
            self.support = self.support.let_go(mask)
        return self.backend.state()

    def _restart(self, mask: Tensor) -> TensorDict:
        """Begin episodes of the masked simulations at random; root of the next step."""
        velocity_draws = self._uniform(2, self.num_envs)
        draws = StartDraws.from_generator(self.num_envs, self.robot, self._starts, self._generator)
        start = self._start_drawn(velocity_draws, draws, self._fixed_command)
        state = self._placed(mask, start)
        self._episode, observed = self._begin_seen(self._episode, mask, start, state)
        off = torch.zeros(self.num_envs, 1, dtype=torch.bool, device=self.backend.device)
        flags = {"done": off, "terminated": off.clone(), "truncated": off.clone()}
        if self.config.harness is not None:
            flags["fallen"] = off.clone()
        return self._as_root({**observed, **flags})

    def _as_root(self, values: dict[str, Tensor]) -> TensorDict:
        self._root, self._restored_root = values, None
        return TensorDict(values, batch_size=self.batch_size)

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        if tensordict is not None and "_reset" in tensordict:
            mask = tensordict.get("_reset").reshape(self.num_envs).clone()
        elif self._restored_root is not None:
            return self._as_root(self._restored_root)
        else:
            mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.backend.device)
        return self._restart(mask)

    # Steps

    def _simulate(self, ctrl: Tensor) -> None:
        """One control step of physics under pushes and harness."""
        config, root = self.config, self.robot.root_body
        xfrc = None
        if config.push.force_max > 0.0:
            xfrc = self._no_wrench()
            xfrc[:, root, :2] = self._episode.push
        if config.harness is None or self._harness_target is None:
            self.backend.step(ctrl, xfrc, config.decimation)
            return
        updates, wrench = config.harness.updates_per_step, self.support.wrench
        total, saturated = torch.zeros_like(wrench), torch.zeros_like(self.support.saturated)
        for _ in range(updates):
            wrench, capped = self._supporting(wrench, self.backend.state(), *self._harness_target)
            applied = self._no_wrench() if xfrc is None else xfrc.clone()
            applied[:, root] += wrench
            self.backend.step(ctrl, applied, config.decimation // updates)
            total += wrench / updates
            saturated |= capped
        self.support = Support(wrench, total, saturated)

    def _no_wrench(self) -> Tensor:
        bodies = self.backend.model.nbody
        return torch.zeros(self.num_envs, bodies, 6, device=self.backend.device)

    def _advance(self, action: Tensor) -> TensorDict:
        """One control step; what is before any reset."""
        self._root = self._restored_root = None
        prev_action, pushes = self._episode.action, self.config.push.force_max > 0.0
        push_draws = self._uniform(3, self.num_envs) if pushes else None
        self._episode, ctrl = self._act(self._episode, action, push_draws)
        self._simulate(ctrl)
        velocity_draws = self._uniform(2, self.num_envs) if self._fixed_command is None else None
        self._episode, verdict = self._judge(
            self._episode, prev_action, self.backend.state(), self.backend.health(), velocity_draws
        )
        return self._told(verdict)

    def _told(self, verdict: Verdict) -> TensorDict:
        values: dict[str, Any] = {
            **verdict.observed,
            "reward": verdict.reward[:, None],
            "terms": _named(self.term_names, verdict.terms),
            "metrics": _named(METRICS, verdict.metrics),
            "terminated": verdict.terminated[:, None],
            "truncated": verdict.truncated[:, None],
            "done": verdict.done[:, None],
        }
        if self.config.harness is not None:
            values["fallen"] = verdict.fell[:, None]
        # Without `device`: naming it would cast each of the tensors, which are there already.
        return TensorDict(values, batch_size=self.batch_size)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._advance(tensordict.get("action"))

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """Step all simulations and restart those that are done, without host synchronisation.

        Returns:
            The given tensordict with ("next", ...) filled, and the root of the next step.
        """
        following = self._advance(tensordict.get("action"))
        tensordict.set("next", following)
        return tensordict, self._restart(following.get("done")[:, 0])

    # Resume

    def stagger(self) -> None:
        """Give the running episodes random ages, so that their time limits are spread over time.

        Otherwise robots that do not fall are all reset in the same step, for ever.
        """
        steps = torch.randint(
            self.config.episode_steps, (self.num_envs,), generator=self._generator,
            device=self.backend.device,
        )  # fmt: skip
        self._episode.steps.copy_(steps)

    def get_sim_state(self) -> dict[str, Tensor]:
        """Everything the environment's future depends on, for an exact resume.

        The root of the next step is in it if the last call was `reset` or `step_and_maybe_reset`.
        """
        return {
            **{_saved_as(f.name): getattr(self._episode, f.name) for f in fields(Episode)},
            "generator": self._generator.get_state(),
            **({} if self.config.harness is None else {"support": self.support.wrench}),
            **{f"root/{key}": value for key, value in (self._root or {}).items()},
            **{f"physics/{key}": value for key, value in self.backend.snapshot().items()},
        }

    def set_sim_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `get_sim_state` returned.

        The next `reset` returns the saved root, if there is one, and draws no random numbers: a
        collector that begins with it goes on where the saved one was. Later ones begin new episodes.

        Tensors may be on any device, but a generator's state suits generators of its own kind of
        device only.

        Raises:
            ValueError: it is of another number of environments, or of another version.
            RuntimeError: the generator's state is of another kind of device; nothing has changed.
        """
        require_sim_state(state)
        self._generator.set_state(state["generator"])  # bytes, which torch wants on the CPU
        self.backend.restore(_under("physics/", state))
        root = {
            key: value.to(self.backend.device, copy=True)
            for key, value in _under("root/", state).items()
        }
        self._root = self._restored_root = root or None
        self._episode = Episode(
            **{
                f.name: state[_saved_as(f.name)].to(self.backend.device, copy=True)
                for f in fields(Episode)
            }
        )
        if self.config.harness is not None:
            wrench = state["support"].to(self.backend.device, copy=True)
            self.support = replace(self.support, wrench=wrench)


def require_sim_state(state: Mapping[str, Tensor]) -> None:
    """Refuse a saved state that lacks what an episode has in this version.

    Raises:
        ValueError: names what is missing.
    """
    if lacking := {_saved_as(f.name) for f in fields(Episode)} - set(state):
        raise ValueError(
            f"the saved simulations lack {', '.join(sorted(lacking))}: another version saved "
            "them; begin a new training, with the old one's checkpoint as model.warm_start"
        )


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries whose key begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _saved_as(field: str) -> str:
    """Key of an episode's field in a saved state."""
    return {"total": "return"}.get(field, field)


def _named(names: Iterable[str], values: Tensor) -> TensorDict:
    """Columns (E, 1) of `values` (E, K) by name."""
    columns = zip(names, values.split(1, dim=-1), strict=True)
    return TensorDict(dict(columns), batch_size=values.shape[:1])
