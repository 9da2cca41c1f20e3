"""The locomotion environment: wires robot, physics and the episode's arithmetic into an EnvBase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.envs import EnvBase

from envs.config import LocomotionConfig
from envs.episode import Episode
from envs.errors import UserError, closest
from envs.frames import yaw
from envs.layout import Layout
from envs.measurements import Measurements, measure
from envs.physics.base import PhysicsState
from envs.physics.engines import make_physics
from envs.physics.graph import recorded
from envs.reality.disturbances import Schedule
from envs.reality.lint import require_effects
from envs.reality.reality import Reality
from envs.reality.sensors import SensorState
from envs.reality.servo import UPDATES_PER_STEP
from envs.robot.model import load_robot
from envs.robot.terrain import ground_of
from envs.shares import Shares
from envs.sizing import sized
from envs.step import (
    METRICS,
    StepResult,
    act,
    observations,
    observing,
    reset_and_observe,
    step,
    time_limit,
)
from envs.task.actions import ctrl_to_policy_action
from envs.task.commands import as_command
from envs.task.features import amp_layout
from envs.task.observations import critic_layout, frame_size, observation_layout
from envs.task.rewards import term_factors
from envs.task.starts import Start, StartDraws, StartStates, sample_start, start_from
from envs.task.support import SupportState, supporting_wrench


class LocomotionEnv(EnvBase):
    """Many robots that walk at commanded velocities.

    Root keys hold what is after a reset, `("next", ...)` what was before it, so a pair
    (amp, next amp) never straddles a reset and a time-out keeps its true last observation:

    | key | shape | meaning |
    |---|---|---|
    | observation | (E, O) | `layouts["observation"]` |
    | critic_observation | (E, C) | `layouts["critic_observation"]` |
    | amp | (E, F) | `layouts["amp"]`, style features |
    | rsi_index | (E, 1) long | in the root an episode begins with: the index of the reference state
    it starts in, -1 for home; -2 in all other roots |
    | action | (E, J) | policy output in [-1, 1] |
    | next reward | (E, 1) | sum of the terms |
    | next terms/<name> | (E, 1) | weighted reward terms |
    | next metrics/<name> | (E, 1) | episode_return, episode_length [steps], velocity_error [m/s];
    end_<cause>: 1 where an episode ends by it, see `envs.task.terminations.ENDS` |
    | terminated, truncated, done | (E, 1) bool | fallen; time is up; either |
    | next fallen | (E, 1) bool | only without `auto_reset`: the robot has fallen |
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
    ) -> None:
        """Loads the robot and allocates its simulations.

        Args:
            config: the task.
            num_envs: number of robots E.
            physics: name of the engine.
            num_threads: CPU threads of the native engine; None for all physical cores.
            seed: of commands, starts, robots, faults and pushes.
            robot_dir: folder of a robot description; None for that of the task's robot.

        Raises:
            ValueError: a description, terrain, engine or number that cannot be used.
        """
        loaded = load_robot(robot_dir or config.robot, config.terrain, config.sim_dt)
        config = sized(config, loaded.robot)
        require_effects(config, loaded.robot, loaded.model)
        self.backend = make_physics(physics, loaded, num_envs, num_threads)
        device = self.backend.device
        super().__init__(device=device, batch_size=torch.Size([num_envs]))
        self.config = config
        self.robot = loaded.robot.to(device)
        self.ground = ground_of(loaded.model, self.robot)
        self.num_envs = num_envs
        self._pushed_body = self._body(config.push.body)
        self._observed = (
            observation_layout(self.robot, config.observation),
            critic_layout(self.robot, config.observation),
        )
        self.layouts: dict[str, Layout] = {
            layout.name: layout for layout in (*self._observed, amp_layout(self.robot))
        }
        self.term_names = tuple(vars(config.reward.weights))
        self._make_specs()
        self._generator = torch.Generator(device=device)
        # Apart, so that a robot that falls does not change the pushes and noise of the others.
        self._robot_generator = torch.Generator(device=device)
        self._starts: StartStates | None = None
        self._fixed_command: Tensor | None = None
        self._shares: Shares | None = None
        self._schedule: Schedule | None = None
        self._support_target: tuple[Tensor, Tensor] | None = None
        self._root: dict[str, Tensor] | None = None  # of the next step, to save with the state
        self._restored_root: dict[str, Tensor] | None = None  # for the next `reset`
        self.support = SupportState.none(num_envs, device)
        self._set_seed(seed)
        observed = config.observation
        history = (observed.past, frame_size(self.robot, observed))
        self._episode = Episode.blank(num_envs, self.robot.num_joints, device, history)
        self.reality = Reality(
            config,
            self.robot,
            self.backend,
            observed.readers,
            uniform=self._uniform,
            uniform_at_start=self._uniform_at_start,
        )
        self._record()

    @property
    def servo(self) -> str:
        """The servos' law: ideal, envelope or bam."""
        return self.config.servo.of(self.robot.servo).model

    def _body(self, name: str | None) -> int:
        """Number of a body of the model; the root's for None.

        Raises:
            UserError: there is none of that name.
        """
        model = self.backend.model
        names = [model.body(number).name for number in range(1, model.nbody)]
        if name is not None and name not in names:
            raise UserError(
                f"push.body is {name!r}{closest(name, names)}; allowed: {', '.join(names)}, or "
                "null for the root"
            )
        return self.robot.root_body if name is None else 1 + names.index(name)

    def _make_specs(self) -> None:
        """TorchRL specs: which keys there are, their shapes and types."""
        values = {key: self._floats(layout.size) for key, layout in self.layouts.items()}
        shape = torch.Size([self.num_envs, 1])
        index = Unbounded(shape=shape, device=self.device, dtype=torch.int64)
        fallen = {} if self.config.auto_reset else {"fallen": self._flag()}
        self.observation_spec = self._composite({**values, "rsi_index": index, **fallen})
        joints = torch.Size([self.num_envs, self.robot.num_joints])
        self.action_spec = Bounded(low=-1.0, high=1.0, shape=joints, device=self.device)
        # Terms and metrics belong to a transition, so they are declared as rewards: TorchRL keeps
        # those under "next" alone and does not carry them to the next root.
        self.reward_spec = self._composite(
            {
                "reward": self._floats(1),
                "terms": self._composite({name: self._floats(1) for name in self.term_names}),
                "metrics": self._composite({name: self._floats(1) for name in METRICS}),
            }
        )
        self.done_spec = self._composite(
            {key: self._flag() for key in ("done", "terminated", "truncated")}
        )

    def _composite(self, specs: Mapping[str, Any]) -> Composite:
        return Composite(dict(specs), shape=(self.num_envs,), device=self.device)

    def _floats(self, size: int) -> Unbounded:
        shape = torch.Size([self.num_envs, size])
        return Unbounded(shape=shape, device=self.device, dtype=torch.float32)

    def _flag(self) -> Binary:
        shape = torch.Size([self.num_envs, 1])
        return Binary(n=1, shape=shape, device=self.device, dtype=torch.bool)

    def _record(self) -> None:
        """Make the functions of a step: CUDA graphs on a GPU, plain functions elsewhere."""
        config, device = self.config, self.backend.device
        # Made here because they come from lists: within a step they would be copied from the host.
        factors = term_factors(config.reward).to(device)
        _ = self.robot.sensor_columns, self.robot.swinging_joints
        task: dict[str, Any] = {"robot": self.robot, "config": config}
        seen = {**task, "layouts": self._observed, "ground": self.ground}
        self._act = recorded(partial(act, **task), device)
        self._step_result = recorded(partial(step, factors=factors, **seen), device)
        self._reset_and_observe = recorded(partial(reset_and_observe, **seen), device)
        if (support := config.support) is not None:
            dt = config.ctrl_dt / UPDATES_PER_STEP
            self._supporting_wrench = recorded(
                partial(supporting_wrench, config=support, dt=dt), device
            )
        self._record_start()

    def _record_start(self) -> None:
        """Separate from the rest: the recording holds the start states, which may change."""
        start = partial(sample_start, robot=self.robot, config=self.config, starts=self._starts)
        self._sample_start = recorded(start, self.backend.device)

    def _set_seed(self, seed: int | None) -> None:
        self._generator.manual_seed(0 if seed is None else seed)
        self._robot_generator.manual_seed(0 if seed is None else seed)

    # Settings between steps

    def set_start_states(
        self,
        qpos: Tensor,
        qvel: Tensor,
        velocity_command: Tensor,
        probability: float,
        rsi_index: Tensor | None = None,
        air_time: Tensor | None = None,
    ) -> None:
        """Let resets start in one of N reference states (reference state initialisation, RSI).

        Args:
            qpos: (N, nq).
            qvel: (N, nv).
            velocity_command: (N,) [m/s], the command after such a start.
            probability: share of the resets that use them; the others start at home.
            rsi_index: (N,) long, >= 0: their values of the key `rsi_index`; None for 0 to N - 1.
            air_time: (N, 2) [s], how long each foot has been unloaded; None for feet on the floor.

        Raises:
            ValueError: shapes do not fit the robot, or the probability is not in [0, 1].
        """
        self._starts = StartStates.checked(
            qpos, qvel, velocity_command, probability, self.robot, rsi_index, air_time
        )
        self._record_start()

    def set_commands(self, command: Tensor | None) -> None:
        """Hold fixed commands from now on; None draws them again.

        Args:
            command: (E,) forward velocities [m/s], or (E, 3) with lateral velocities [m/s] and yaw
                rates [rad/s].
        """
        if command is None:
            self._fixed_command = None
            return
        num = self.num_envs
        if command.shape not in ((num,), (num, 3)):
            raise ValueError(
                f"commands have shape {tuple(command.shape)}; expected ({num},) or ({num}, 3)"
            )
        held = as_command(command) if command.dim() == 1 else command
        self._fixed_command = held.to(self._episode.command, copy=True)
        self._episode = replace(self._episode, command=self._fixed_command)

    def set_shares(self, shares: Shares | None) -> None:
        """Use so much of the task's ranges from now on; None for the whole of them."""
        self._shares = shares
        self.reality.set_shares(shares)

    def set_schedule(self, schedule: Schedule | None) -> None:
        """Let pushes and passing faults begin at given times from now on; None for random ones."""
        self._schedule = schedule
        if schedule is None:
            self.reality.begins = None

    def set_state(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Begin an episode of the masked (E,) simulations in a given state (E, nq), (E, nv)."""
        start = start_from(qpos, qvel, self._episode.command, self.robot, self.config)
        self._root = self._restored_root = None
        state = self._set_physics(mask, start)
        self._episode, _ = self._reset_and_observe(
            self._episode, mask, start, state, *self._reality
        )

    def set_support_targets(self, height: Tensor, quat: Tensor) -> None:
        """Height of the root above the ground (E,) [m] and orientation (E, 4) to hold from now on.

        Raises:
            ValueError: the environment has no support.
        """
        if self.config.support is None:
            raise ValueError("support targets without a support; set `support` in the environment")
        self._support_target = (height, quat)

    def joint_targets_to_action(self, joint_target: Tensor) -> Tensor:
        """Filtered action (E, J) whose position targets are `joint_target` (E, J) [rad]."""
        return ctrl_to_policy_action(joint_target, self.robot, self.config.action)

    @property
    def command(self) -> Tensor:
        """Present commands (E, 3), see `Episode.command`; a copy."""
        return self._episode.command.clone()

    @property
    def disturbed(self) -> Tensor:
        """(E,) bool: a push, a limp servo or a displacement acted on the robot in the last step."""
        return (self._episode.push != 0.0).any(-1) | self.reality.disturbed

    def measure(self) -> Measurements:
        """Measured quantities of the present state."""
        return measure(self.backend.state(), self.robot, self.ground)

    def observe(self, m: Measurements) -> dict[str, Tensor]:
        """Entries of `layouts` (E, ...) for measurements of the present state."""
        step = observing(m, self._episode, *self._reality, self.robot, self.config)
        return observations(step, self._observed)

    # Episodes

    @property
    def _reality(self) -> tuple[SensorState | None, dict[str, Tensor]]:
        """Sensors and drawn terms, which fields observe."""
        return self.reality.state.sensors, self.reality.state.drawn

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, device=self.backend.device)

    def _uniform_at_start(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._robot_generator, device=self.backend.device)

    def _set_physics(self, mask: Tensor, start: Start) -> PhysicsState:
        """Put the masked simulations at their start; the state of all simulations.

        Starts are for the plane z = 0; on other ground they are raised by what is under the feet.
        """
        self.reality.draw(mask)
        self.backend.reset(mask, start.qpos, start.qvel, start.ctrl)
        if self.ground is not None:
            raised = self.ground.carry(start.qpos, self.backend.state(), self.robot)
            self.backend.reset(mask, raised, start.qvel, start.ctrl)
        if self.config.support is not None:
            self.support = self.support.let_go(mask)
        self.reality.begin(mask, self.backend.state(), start.ctrl)
        return self.backend.state()

    def _reset_masked(self, mask: Tensor) -> TensorDict:
        """Start new episodes in the masked simulations; the root of the next step."""
        reset = self.config.reset
        draws = StartDraws.from_generator(
            self.num_envs,
            self.robot,
            self.config.command,
            self._starts,
            self._generator,
            lean=reset.lean > 0.0 or reset.lean_rate > 0.0,
        )
        start = self._sample_start(draws, self._fixed_command, self._shares)
        if self.ground is not None:
            places = self._uniform_at_start(self.num_envs, 2)
            start = replace(start, qpos=self.ground.scattered(start.qpos, places))
        state = self._set_physics(mask, start)
        self._episode, observed = self._reset_and_observe(
            self._episode, mask, start, state, *self._reality
        )
        off = torch.zeros(self.num_envs, 1, dtype=torch.bool, device=self.backend.device)
        flags = {"done": off, "terminated": off.clone(), "truncated": off.clone()}
        if not self.config.auto_reset:
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
        return self._reset_masked(mask)

    # Steps

    def _simulate(self, ctrl: Tensor) -> None:
        """One control step of physics under pushes and support."""
        config, root = self.config, self.robot.root_body
        xfrc = None
        if config.push.impulse_max > 0.0:
            xfrc = self._no_wrench()
            push = self._episode.push
            if self._shares is not None:
                push = self._shares.push * push
            xfrc[:, self._pushed_body, :2] = push
        targets = self.reality.send(ctrl)
        supported = config.support is not None and self._support_target is not None
        if targets is None and not supported:
            self.backend.step(ctrl, xfrc, config.decimation)
            return
        updates, wrench = UPDATES_PER_STEP, self.support.wrench
        total, saturated = torch.zeros_like(wrench), torch.zeros_like(self.support.saturated)
        for update in range(updates):
            state, applied = self.backend.state(), xfrc
            if supported and self._support_target is not None:
                height, quat = self._support_target
                if self.ground is not None:
                    height = height + self.ground.height(state.qpos)
                wrench, capped = self._supporting_wrench(wrench, state, height, quat)
                applied = self._no_wrench() if xfrc is None else xfrc.clone()
                applied[:, root] += wrench
                total += wrench / updates
                saturated |= capped
            if targets is not None:
                ctrl = self.reality.drive(targets[update], state)
            last = update == updates - 1
            self.backend.step(ctrl, applied, config.decimation // updates, refresh=last)
            self.reality.update_friction()
        if supported:
            self.support = SupportState(wrench, total, saturated)

    def _no_wrench(self) -> Tensor:
        bodies = self.backend.model.nbody
        return torch.zeros(self.num_envs, bodies, 6, device=self.backend.device)

    def _control_step(self, action: Tensor) -> TensorDict:
        """One control step; the entries of "next", before any reset."""
        self._root = self._restored_root = None
        draws = quat = None
        begins = None
        if self._schedule is not None:
            begins = self.reality.begins = self._schedule.begins(self._episode.steps)
        if self.config.push.impulse_max > 0.0:
            draws, quat = self._uniform(3, self.num_envs), self.backend.state().qpos[:, 3:7]
            if self._schedule is not None and begins is not None:
                draws = self._schedule.push_draws(begins, yaw(quat), self.config.push)
        self._episode, ctrl = self._act(self._episode, action, draws, quat)
        self._simulate(ctrl)
        state = self.backend.state()
        self.reality.sense(state)
        command_draws = None
        if self._fixed_command is None:
            command_draws = self._uniform(self.config.command.num_draws, self.num_envs)
        self._episode, result = self._step_result(
            self._episode,
            state,
            self.backend.health(),
            command_draws,
            self.reality.state.sensors,
            self._shares,
            self.reality.state.drawn,
        )
        return self._pack(result)

    def _pack(self, result: StepResult) -> TensorDict:
        values: dict[str, Any] = {
            **result.observations,
            "reward": result.reward[:, None],
            "terms": _named(self.term_names, result.terms),
            "metrics": _named(METRICS, result.metrics),
            "terminated": result.terminated[:, None],
            "truncated": result.truncated[:, None],
            "done": result.done[:, None],
        }
        if not self.config.auto_reset:
            values["fallen"] = result.fallen[:, None]
        # Without `device`: naming it would cast each of the tensors, which are there already.
        return TensorDict(values, batch_size=self.batch_size)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._control_step(tensordict.get("action"))

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """Step all simulations and restart those that are done, without host synchronisation.

        Returns:
            The given tensordict with ("next", ...) filled, and the root of the next step.
        """
        following = self._control_step(tensordict.get("action"))
        tensordict.set("next", following)
        done, fallen = following.get("done")[:, 0], following.get("terminated")[:, 0]
        self.reality.count_ends(done, fallen)
        return tensordict, self._reset_masked(done)

    # Resume

    def stagger(self) -> None:
        """Give the running episodes random ages, so that their time limits are spread over time.

        Otherwise robots that do not fall are all reset in the same step, for ever.
        """
        steps = torch.randint(
            int(time_limit(self.config, self._shares)), (self.num_envs,),
            generator=self._generator, device=self.backend.device,
        )  # fmt: skip
        self._episode.steps.copy_(steps)

    def get_sim_state(self) -> dict[str, Tensor]:
        """Everything the environment's future depends on, for an exact resume.

        The root of the next step is in it if the last call was `reset` or `step_and_maybe_reset`.
        """
        return {
            **{f.name: getattr(self._episode, f.name) for f in fields(Episode)},
            "generator": self._generator.get_state(),
            "robot_generator": self._robot_generator.get_state(),
            **({} if self.config.support is None else {"support": self.support.wrench}),
            **{f"root/{key}": value for key, value in (self._root or {}).items()},
            **{f"physics/{key}": value for key, value in self.backend.snapshot().items()},
            **{f"reality/{key}": value for key, value in self.reality.saved().items()},
        }

    def set_sim_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `get_sim_state` returned.

        The next `reset` returns the saved root, if there is one, and draws no random numbers, so a
        collector that begins with a reset continues the saved rollout.

        Tensors may be on any device, but a generator's state suits generators of its own kind of
        device only.

        Raises:
            ValueError: it is of another number of environments, or of another version.
            RuntimeError: the generator's state is of another kind of device; nothing has changed.
        """
        require_sim_state(state)
        self.backend.restore(_under("physics/", state))
        self.reality.restore(_under("reality/", state))
        self._generator.set_state(state["generator"])  # bytes, which torch wants on the CPU
        self._robot_generator.set_state(state["robot_generator"])
        root = {
            key: value.to(self.backend.device, copy=True)
            for key, value in _under("root/", state).items()
        }
        self._root = self._restored_root = root or None
        self._episode = Episode(
            **{f.name: state[f.name].to(self.backend.device, copy=True) for f in fields(Episode)}
        )
        if self.config.support is not None:
            wrench = state["support"].to(self.backend.device, copy=True)
            self.support = replace(self.support, wrench=wrench)


def require_sim_state(state: Mapping[str, Tensor]) -> None:
    """Refuse a saved state that lacks what an episode has in this version.

    Raises:
        UserError: names what is missing or of another shape.
    """
    if lacking := {*(f.name for f in fields(Episode)), "robot_generator"} - set(state):
        raise UserError(
            f"the saved simulations lack {', '.join(sorted(lacking))}: another version saved "
            "them; begin a new training, with the old one's checkpoint as model.warm_start"
        )
    if state["command"].dim() != 2:
        raise UserError(
            "the saved simulations have commands of one value; this version's have three. Begin a "
            "new training, with the old one's checkpoint as model.warm_start"
        )


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries whose key begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _named(names: Iterable[str], values: Tensor) -> TensorDict:
    """Columns (E, 1) of `values` (E, K) by name."""
    columns = zip(names, values.split(1, dim=-1), strict=True)
    return TensorDict(dict(columns), batch_size=values.shape[:1])
