"""The locomotion environment: wires robot, physics and pure functions into a TorchRL EnvBase."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from envs.actions import action_to_ctrl, ctrl_to_action, filter_action
from envs.commands import sample_velocity
from envs.disturbances import push_force
from envs.features import amp_layout, style_features
from envs.frames import wrap_angle, yaw
from envs.harness import harness_wrench
from envs.layout import Layout
from envs.measurements import Measurements, measure
from envs.model import load_robot
from envs.observations import (
    critic_layout,
    observation_layout,
    observe,
    observe_privileged,
)
from envs.physics.base import PhysicsState
from envs.physics.engines import make_physics
from envs.rewards import RewardWeights, loaded_feet, reward_terms, weighted_terms
from envs.specs import action_spec, done_spec, observation_spec, reward_spec
from envs.starts import StartStates, noisy_start
from envs.task import LocomotionConfig
from envs.terminations import fallen


class LocomotionEnv(EnvBase):
    """Many robots asked to walk at commanded velocities.

    Root keys hold what is after a reset, `("next", ...)` what was before it, so a pair
    (amp, next amp) never straddles a reset and a time-out keeps its true last observation:

    | key | shape | meaning |
    |---|---|---|
    | observation | (E, 39) | `layouts["observation"]` |
    | critic_observation | (E, C) | `layouts["critic_observation"]` |
    | amp | (E, F) | `layouts["amp"]`, style features |
    | action | (E, J) | policy output in [-1, 1] |
    | next reward | (E, 1) | sum of the terms |
    | next terms/<name> | (E, 1) | weighted reward terms |
    | next metrics/<name> | (E, 1) | episode_return, episode_length [steps], velocity_error [m/s],
    physics_failure |
    | terminated, truncated, done | (E, 1) bool | fallen; time is up; either |
    | next fallen | (E, 1) bool | harness mode only: ends recorded, not enforced |
    """

    METRICS = ("episode_return", "episode_length", "velocity_error", "physics_failure")
    _EPISODE_BUFFERS = (
        "action",
        "command",
        "heading",
        "steps",
        "return",
        "air_time",
        "push",
        "push_steps",
    )

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
        loaded = load_robot(scene=scene) if robot_dir is None else load_robot(robot_dir, scene)
        loaded.model.opt.timestep = config.sim_dt
        self.backend = make_physics(physics, loaded.model, num_envs, num_threads)
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
        self.reward_spec = reward_spec(self.term_names, self.METRICS, num_envs, device)
        self.done_spec = done_spec(num_envs, device)
        self._generator = torch.Generator(device=device)
        self._starts: StartStates | None = None
        self._fixed_command: Tensor | None = None
        self._harness_target: tuple[Tensor, Tensor] | None = None
        self.harness_wrench = torch.zeros(num_envs, 6, device=device)
        self._set_seed(seed)
        self._allocate()

    def _allocate(self) -> None:
        num, device = self.num_envs, self.backend.device
        self._action = torch.zeros(num, self.robot.num_joints, device=device)
        self._command = torch.zeros(num, device=device)
        self._heading = torch.zeros(num, device=device)
        self._steps = torch.zeros(num, dtype=torch.long, device=device)
        self._return = torch.zeros(num, device=device)
        self._air_time = torch.zeros(num, 2, device=device)
        self._push = torch.zeros(num, 2, device=device)
        self._push_steps = torch.zeros(num, dtype=torch.long, device=device)

    def _set_seed(self, seed: int | None) -> None:
        self._generator.manual_seed(0 if seed is None else seed)

    # Settings between steps

    def set_start_states(
        self, qpos: Tensor, qvel: Tensor, velocity_command: Tensor, probability: float
    ) -> None:
        """Let resets start in one of N given states (reference state initialisation).

        Args:
            qpos: (N, nq).
            qvel: (N, nv).
            velocity_command: (N,) [m/s], asked for after such a start.
            probability: share of the resets that use them; the others start at home.

        Raises:
            ValueError: shapes do not fit the robot, or the probability is not in [0, 1].
        """
        self._starts = StartStates.checked(qpos, qvel, velocity_command, probability, self.robot)

    def set_commands(self, velocity: Tensor | None) -> None:
        """Hold fixed velocity commands (E,) [m/s] from now on; None draws them again."""
        if velocity is not None and velocity.shape != (self.num_envs,):
            raise ValueError(
                f"velocity commands have shape {tuple(velocity.shape)}, expected ({self.num_envs},)"
            )
        self._fixed_command = None if velocity is None else velocity.to(self._command)
        if self._fixed_command is not None:
            self._command = self._fixed_command.clone()

    def set_state(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Begin an episode of the masked (E,) simulations in a given state (E, nq), (E, nv)."""
        self._begin(mask, qpos, qvel, self._command)

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
        return self._command.clone()

    def measure(self) -> Measurements:
        """Measured quantities of the present state."""
        return measure(self.backend.state(), self.robot)

    # Episodes

    def _begin(self, mask: Tensor, qpos: Tensor, qvel: Tensor, command: Tensor) -> PhysicsState:
        """Start episodes of the masked simulations; returns the state of all."""
        joints = qpos[:, self.robot.joint_qpos_adr]
        action = ctrl_to_action(joints, self.robot, self.config.action)
        ctrl = action_to_ctrl(action, self.robot, self.config.action)
        self.backend.reset(mask, qpos, qvel, ctrl)
        state = self.backend.state()
        self._action = torch.where(mask[:, None], action, self._action)
        self._command = torch.where(mask, command, self._command)
        self._heading = torch.where(mask, yaw(state.qpos[:, 3:7]), self._heading)
        self._steps = self._steps.masked_fill(mask, 0)
        self._return = self._return.masked_fill(mask, 0.0)
        self._air_time = self._air_time.masked_fill(mask[:, None], 0.0)
        self._push_steps = self._push_steps.masked_fill(mask, 0)
        return state

    def _begin_drawn(self, mask: Tensor) -> PhysicsState:
        command = sample_velocity(self.num_envs, self.config.command, self._generator)
        qpos, qvel, command = noisy_start(
            self.num_envs, self.robot, self.config.reset, self._starts, command, self._generator
        )
        if self._fixed_command is not None:
            command = self._fixed_command
        return self._begin(mask, qpos, qvel, command)

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        mask = torch.ones(self.num_envs, dtype=torch.bool, device=self.backend.device)
        if tensordict is not None and "_reset" in tensordict:
            mask = tensordict.get("_reset").reshape(self.num_envs).clone()
        return self._root(self._begin_drawn(mask))

    def _root(self, state: PhysicsState) -> TensorDict:
        observed = self.observe(measure(state, self.robot))
        off = torch.zeros(self.num_envs, 1, dtype=torch.bool, device=self.backend.device)
        observed |= {"done": off, "terminated": off.clone(), "truncated": off.clone()}
        if self.config.harness is not None:
            observed["fallen"] = off.clone()
        return TensorDict(observed, batch_size=self.batch_size)

    def _heading_error(self, m: Measurements) -> Tensor:
        return wrap_angle(m.yaw - self._heading)

    def observe(self, m: Measurements) -> dict[str, Tensor]:
        """Entries of `layouts` (E, ...) for measurements of the present state."""
        observation = observe(
            m,
            self.robot,
            self.config.observation,
            self._action,
            self._command,
            self._heading_error(m),
        )
        return {
            "observation": observation,
            "critic_observation": observe_privileged(m, self.robot, observation),
            "amp": style_features(m, self.robot),
        }

    # Steps

    def _simulate(self, ctrl: Tensor) -> None:
        """One control step of physics under pushes and harness."""
        config = self.config
        xfrc = None
        if config.push.force_max > 0.0:
            self._push, self._push_steps = push_force(
                self._push, self._push_steps, config.push, config.ctrl_dt, self._generator
            )
            xfrc = self._no_wrench()
            xfrc[:, self.robot.root_body, :2] = self._push
        if config.harness is None or self._harness_target is None:
            self.backend.step(ctrl, xfrc, config.decimation)
            return
        updates = config.harness.updates_per_step
        total = torch.zeros_like(self.harness_wrench)
        for _ in range(updates):
            wrench = harness_wrench(self.backend.state(), *self._harness_target, config.harness)
            applied = self._no_wrench() if xfrc is None else xfrc.clone()
            applied[:, self.robot.root_body] += wrench
            self.backend.step(ctrl, applied, config.decimation // updates)
            total += wrench / updates
        self.harness_wrench = total

    def _no_wrench(self) -> Tensor:
        bodies = self.backend.model.nbody
        return torch.zeros(self.num_envs, bodies, 6, device=self.backend.device)

    def _advance(self, tensordict: TensorDictBase) -> TensorDict:
        """One control step; what is before any reset."""
        config, prev_action = self.config, self._action
        self._action = filter_action(tensordict.get("action"), prev_action, config.action)
        self._simulate(action_to_ctrl(self._action, self.robot, config.action))
        state = self.backend.state()
        failed = self.backend.health() != 0
        self._steps = self._steps + 1

        m = measure(state, self.robot)
        fell = fallen(m, config.termination) | failed
        terminated = torch.zeros_like(fell) if config.harness is not None else fell
        truncated = (self._steps >= config.episode_steps) & ~terminated
        if config.harness is not None:
            truncated = torch.zeros_like(truncated)
        heading_error = self._heading_error(m)
        terms = reward_terms(
            m,
            self.robot,
            config.reward,
            action=self._action,
            prev_action=prev_action,
            velocity_command=self._command,
            heading_error=heading_error,
            air_time=self._air_time,
            terminated=terminated,
        )
        swing = ~loaded_feet(m, config.reward)
        self._air_time = (self._air_time + config.ctrl_dt) * swing
        # A simulation that failed ends here; its values are cut off so that no NaN gets further.
        weighted = weighted_terms(terms, config.reward).masked_fill(failed[:, None], 0.0)
        reward = weighted.sum(-1)
        self._return = self._return + reward
        observed = {
            key: value.masked_fill_(failed[:, None], 0.0) for key, value in self.observe(m).items()
        }
        metrics = {
            "episode_return": self._return,
            "episode_length": self._steps.to(reward.dtype),
            "velocity_error": (m.linvel_h[:, 0] - self._command).abs().masked_fill(failed, 0.0),
            "physics_failure": failed.to(reward.dtype),
        }
        values: dict[str, Any] = {
            **observed,
            "reward": reward[:, None],
            "terms": _named(terms, weighted),
            "metrics": _named(metrics, torch.stack(list(metrics.values()), dim=-1)),
            "terminated": terminated[:, None],
            "truncated": truncated[:, None],
            "done": (terminated | truncated)[:, None],
        }
        if config.harness is not None:
            values["fallen"] = fell[:, None]
        self._resample_commands()
        # Without `device`: naming it would cast each of the tensors, which are there already.
        return TensorDict(values, batch_size=self.batch_size)

    def _resample_commands(self) -> None:
        """Draw new commands where their time is up; they are seen from the next step's root on."""
        if self._fixed_command is not None:
            return
        interval = round(self.config.command.resample_s / self.config.ctrl_dt)
        due = (self._steps % interval) == 0
        drawn = sample_velocity(self.num_envs, self.config.command, self._generator)
        self._command = torch.where(due, drawn, self._command)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._advance(tensordict)

    def step_and_maybe_reset(
        self, tensordict: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase]:
        """Step all simulations and restart those that are done, without host synchronisation.

        Returns:
            The given tensordict with ("next", ...) filled, and the root of the next step.
        """
        following = self._advance(tensordict)
        tensordict.set("next", following)
        return tensordict, self._root(self._begin_drawn(following.get("done")[:, 0]))

    # Resume

    def get_sim_state(self) -> dict[str, Tensor]:
        """Everything the environment's future depends on, for an exact resume."""
        return {
            **{key: getattr(self, f"_{key}") for key in self._EPISODE_BUFFERS},
            "generator": self._generator.get_state(),
            **{f"physics/{key}": value for key, value in self.backend.snapshot().items()},
        }

    def set_sim_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `get_sim_state` returned.

        Raises:
            ValueError: it is of another number of environments.
        """
        prefix = "physics/"
        self.backend.restore(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        for key in self._EPISODE_BUFFERS:
            setattr(self, f"_{key}", state[key].clone())
        self._generator.set_state(state["generator"])


def _named(names: Iterable[str], values: Tensor) -> TensorDict:
    """Columns (E, 1) of `values` (E, K) by name."""
    columns = zip(names, values.split(1, dim=-1), strict=True)
    return TensorDict(dict(columns), batch_size=values.shape[:1])
