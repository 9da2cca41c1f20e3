"""The wiring of this package: between the task's targets and the engine, and back to its readings.

`Reality` belongs to an environment. When episodes begin, the environment calls `draw`, resets the
physics, and calls `begin`. In a control step it calls `send` with the policy's targets, `drive`
before and `update_friction` after each update of the servos, and `sense` after the physics. What
the settings do not need is not computed: an ideal robot is free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from envs.errors import UserError
from envs.ground import make_patches
from envs.physics.base import PhysicsBackend, PhysicsState
from envs.physics.graph import recorded
from envs.reality.faults import FaultState, next_faults
from envs.reality.friction import (
    OUTPUTS,
    Hold,
    friction_budget,
    load_dependent_friction,
)
from envs.reality.randomization import (
    NO_EDGE,
    TERMS,
    columns,
    ends_at_edges,
    model_values,
    new_edges,
    required_fields,
    sliding_geoms,
)
from envs.reality.servo import UPDATES_PER_STEP, Drive, drive, with_motor
from envs.reality.state import RealityState, begin, draw, longest_age, sense, underfoot
from envs.reality.timing import history_depth, send
from envs.shares import Shares
from envs.trees import from_named, named

if TYPE_CHECKING:
    from envs.config import LocomotionConfig
    from envs.robot.spec import RobotSpec


class Reality:
    """Servos, delays, sensors and faults of the robots of one environment."""

    def __init__(
        self,
        config: LocomotionConfig,
        robot: RobotSpec,
        backend: PhysicsBackend,
        observed: set[str],
        uniform: Callable[..., Tensor],
        uniform_at_start: Callable[..., Tensor],
    ) -> None:
        """Expands the model's fields that terms change.

        Args:
            config: the task.
            robot: the robot, on the engine's device.
            backend: its simulations.
            observed: readers of what policy and critic observe; see `ObservationField.reader`.
            uniform: gives random numbers in [0, 1) of a shape, within episodes.
            uniform_at_start: the same, when episodes begin.

        Raises:
            UserError: a term that nothing reads or that the engine cannot change.
        """
        self.robot, self._backend = robot, backend
        self._uniform, self._uniform_at_start = uniform, uniform_at_start
        self._config = replace(config, servo=config.servo.of(robot.servo))
        servo, dt = self._config.servo, config.ctrl_dt
        self._bam = servo.model == "bam"
        self._friction: Tensor | None = None
        self._ranges = config.randomization.active()
        names = set(self._ranges)
        readers = {TERMS[name].reader for name in names}
        self.faults = config.faults
        self._drives = (
            servo.model != "ideal"
            or bool(readers & {"servo", "voltage"})
            or bool(config.faults.dropout_interval_s)
        )
        self._schedules = (
            bool(servo.count or servo.deadband or servo.travel_time) or "command" in readers
        )
        self._senses = bool(observed)
        self._patchy = "patch_friction" in names
        if (self._drives or self._schedules) and config.decimation % UPDATES_PER_STEP:
            raise UserError(
                f"ctrl_dt is {config.decimation} times sim_dt; with this servo it must be a "
                f"multiple of {UPDATES_PER_STEP}"
            )
        bodies = int(backend.model.nbody)
        self._sizes = {name: columns(TERMS[name], robot, bodies) for name in self._ranges}
        self._depth = history_depth(longest_age(self._ranges), dt)
        device = backend.device
        self.widths = torch.ones(len(self._ranges), device=device)
        """(K,), in [0, 1]: share of each term's range that is drawn."""
        self.edge: Tensor | None = None
        """(E,) long: which term of each robot is at its edge, or `NO_EDGE`; see `judge_terms`."""
        self.edge_ends: Tensor | None = None
        """(K, 2) long: see `take_edge_ends`."""
        self.begins: Tensor | None = None
        """(E,) bool: where passing faults begin in the next step; None for random times."""
        self.fault_share: Tensor | None = None
        """Scalar in [0, 1]: factor on the probability with which passing faults begin."""
        if self._bam:
            self._set_bam()
        self._fields = {name: _live(backend.expand(name)) for name in required_fields(names)}
        # In the engine's precision: a factor of 1 then changes nothing.
        defaults = {name: live[0].clone() for name, live in self._fields.items()}
        self._constants = any(TERMS[name].constants for name in names)
        joints = robot.num_joints
        self._limits = (
            _live(backend.expand("actuator_forcerange"))[:, :joints] if self._drives else None
        )
        sliding = sliding_geoms(backend.model).to(device)
        common: dict[str, Any] = {"robot": self.robot, "config": self._config}
        self._draw = recorded(
            partial(draw, sizes=self._sizes, ranges=self._ranges, **common), device
        )
        self._begin = recorded(
            partial(begin, schedules=self._schedules, senses=self._senses, depth=self._depth,
                    **common), device)  # fmt: skip
        if self._patchy:
            self._underfoot = recorded(
                partial(underfoot, defaults["geom_friction"], patches=make_patches(device),
                        robot=robot), device)  # fmt: skip
        self._model_values = recorded(
            partial(model_values, defaults, robot=robot, sliding_geoms=sliding), device
        )
        self._send = recorded(partial(send, servo=servo, ctrl_dt=dt), device)
        self._drive = recorded(
            partial(drive, robot=self.robot, model=servo.model, dt=dt / UPDATES_PER_STEP), device
        )
        self._sense = recorded(partial(sense, **common), device)
        self._next_faults = recorded(
            partial(next_faults, num_joints=robot.num_joints, config=config.faults, ctrl_dt=dt),
            device,
        )
        joints = torch.zeros(backend.num_envs, robot.num_joints, device=device)
        self.state = RealityState({}, None, joints, joints.clone(), None, None, None)
        self._limp: Tensor | None = None
        self._noise: Tensor | None = None
        self._displaced: Tensor | None = None

    def _set_bam(self) -> None:
        """Give the model the motor and the friction of the robot's BAM file."""
        bam, dofs, backend = self.robot.bam, self.robot.joint_qvel_adr, self._backend
        assert bam is not None  # `ServoConfig.of` has seen the file's name
        self.robot = with_motor(self.robot, bam)
        joints = self.robot.num_joints
        _live(backend.expand("actuator_biasprm"))[:, :joints, 2] = -(bam.torque_constant**2) / (
            bam.resistance
        )
        _live(backend.expand("dof_armature"))[:, dofs] = bam.armature
        _live(backend.expand("dof_damping"))[:, dofs] = bam.viscous
        self._friction = _live(backend.expand("dof_frictionloss"))
        still = torch.zeros(1, self.robot.num_joints, device=backend.device)
        self._resting = friction_budget(still, still, still, bam)
        self._friction[:, dofs] = self._resting.to(self._friction.dtype)
        self._inverse_inertia = _live(backend.expand("dof_invweight0"))
        backend.set_const()
        for name in OUTPUTS:
            backend.output(name)  # from now on the engine keeps it
        self._load_dependent_friction = recorded(
            partial(
                load_dependent_friction,
                robot=self.robot,
                hold=Hold.of(backend.model, self.robot),
                dt=float(backend.model.opt.timestep),
            ),
            backend.device,
        )

    def set_shares(self, shares: Shares | None) -> None:
        """Draw terms and faults from so much of their ranges; None for the whole of them."""
        self.fault_share = None if shares is None else shares.faults
        self.widths = torch.ones_like(self.widths) if shares is None else shares.terms

    def judge_terms(self) -> None:
        """Put robots at the edges of terms from now on, and count how their episodes end.

        Call it before the first episode begins.
        """
        robots, terms, device = self._backend.num_envs, len(self._ranges), self._backend.device
        self.edge = torch.full((robots,), NO_EDGE, dtype=torch.long, device=device)
        self.edge_ends = torch.zeros(terms, 2, dtype=torch.long, device=device)

    def count_ends(self, done: Tensor, fallen: Tensor) -> None:
        """Count the episodes that end now (E,) bool, and those of them that end in a fall."""
        if self.edge is not None and self.edge_ends is not None:
            ends = ends_at_edges(self.edge, done, fallen, len(self._ranges))
            self.edge_ends = self.edge_ends + ends

    def take_edge_ends(self) -> Tensor:
        """Ended episodes and falls (K, 2) at each term's edge, since the last call."""
        assert self.edge_ends is not None
        taken, self.edge_ends = self.edge_ends, torch.zeros_like(self.edge_ends)
        return taken

    # Episodes

    def draw(self, mask: Tensor) -> None:
        """New robots for the episodes that begin where `mask` (E,) is set.

        Call it before the physics is reset, whose first forces are then those of the new robots.
        """
        if self.is_ideal or _nobody(mask):
            return
        uniform = self._uniform_at_start(self._backend.num_envs, sum(self._sizes.values()))
        if self.edge is not None:
            draws = self._uniform_at_start(2, self._backend.num_envs)
            self.edge = new_edges(self.edge, mask, draws, len(self._ranges))
        drawn, limits = self._draw(self.state, mask, uniform, self.widths, self.edge)
        self.state = replace(self.state, drawn=drawn)
        if self._limits is not None:
            _write(self._limits, mask, limits)
        if self._fields:
            values = self._model_values(drawn)
            for name, live in self._fields.items():
                _write(live, mask, values[name])
        if self._constants:
            self._backend.set_const(mask)
        if self._friction is not None:
            friction = self._friction[:, self.robot.joint_qvel_adr].float()
            self._set_friction(torch.where(mask[:, None], self._resting, friction))

    def begin(self, mask: Tensor, state: PhysicsState, ctrl: Tensor) -> None:
        """Put servos and sensors at the start of the episodes that begin where `mask` (E,) is set.

        Call it after the physics has been reset; `ctrl` (E, J) [rad] are the targets at the start.
        """
        if self.is_ideal or _nobody(mask):
            return
        num, robot = self._backend.num_envs, self.robot
        starts = self._uniform_at_start(num, robot.num_joints + len(robot.plate_names))
        places = self._uniform_at_start(num, 2) if self._patchy else None
        self.state = self._begin(self.state, mask, state, ctrl, starts, places)
        if self.faults.active and self.state.faults is None:
            none = FaultState.none(num, self._backend.device)
            self.state = replace(self.state, faults=none)

    @property
    def is_ideal(self) -> bool:
        """Whether nothing is between task and engine."""
        return not (
            self._drives or self._schedules or self._senses or self._fields or self.faults.active
        )

    # Steps

    def send(self, ctrl: Tensor) -> Tensor | None:
        """The servos' own targets at each update (U, E, J) [rad] for the policy's `ctrl` (E, J).

        None where the engine's ideal servo gets `ctrl` itself.
        """
        if self.faults.active:
            self._pass_faults()
        if self._patchy:
            self._set_sole_friction()
        if self._schedules:
            missed = None
            if "missed_tick" in self._ranges:
                missed = self._uniform(len(ctrl)) < self.state.drawn["missed_tick"][:, 0]
            assert self.state.commands is not None
            commands, targets = self._send(self.state.commands, ctrl, missed, self.state.drawn)
            self.state = replace(self.state, commands=commands)
            return targets
        return ctrl.expand(UPDATES_PER_STEP, *ctrl.shape) if self._drives else None

    def _pass_faults(self) -> None:
        num = self._backend.num_envs
        assert self.state.faults is not None
        draws = self._uniform(num, 4)
        if self.begins is not None:
            # 0 is below any probability, 1 below none; which servo goes limp stays random.
            start = (~self.begins).to(draws)
            draws = torch.stack([start, draws[:, 1], start, start], dim=-1)
        faults, limp, noise, displaced = self._next_faults(
            self.state.faults, draws, self.fault_share
        )
        self.state = replace(self.state, faults=faults)
        self._limp = limp if self.faults.dropout_interval_s else None
        self._noise = noise if self.faults.burst_interval_s else None
        self._displaced = displaced if self.faults.displacement_interval_s else None
        if self.faults.displacement_interval_s:
            robot, state = self.robot, self._backend.state().clone()
            shift = self.faults.displacement * (2.0 * self._uniform(num, robot.num_joints) - 1.0)
            low, high = robot.joint_range.unbind(-1)
            moved = state.qpos[:, robot.joint_qpos_adr] + shift
            state.qpos[:, robot.joint_qpos_adr] = moved.clamp(low, high)
            joints = state.qpos[:, robot.joint_qpos_adr]
            self._backend.reset(displaced, state.qpos, state.qvel, joints)

    @property
    def disturbed(self) -> Tensor:
        """(E,) bool: in the last step a servo was limp, or the joints were displaced."""
        device = self._backend.device
        found = torch.zeros(self._backend.num_envs, dtype=torch.bool, device=device)
        if self._limp is not None:
            found = found | self._limp.any(-1)
        return found if self._displaced is None else found | self._displaced

    def _set_sole_friction(self) -> None:
        """Let each foot slide as the floor under it does."""
        friction, robot = self._fields["geom_friction"], self.robot
        plates, floor = self._underfoot(self.state, self._backend.state())
        friction[:, robot.plate_geoms, 0] = plates.to(friction.dtype)
        friction[:, robot.floor_geom, 0] = floor.to(friction.dtype)

    def drive(self, target: Tensor, state: PhysicsState) -> Tensor:
        """Targets (E, J) [rad] for the engine until the next update, whose limits are set.

        `target` (E, J) [rad] are the servos' own targets.
        """
        if self._limits is None:
            return target
        joints = state.qpos[:, self.robot.joint_qpos_adr]
        speeds = state.qvel[:, self.robot.joint_qvel_adr]
        driven: Drive = self._drive(
            target, joints, speeds, self.state.motor, self._limp, self.state.drawn
        )
        self.state = replace(self.state, motor=driven.motor, encoder_offset=driven.encoder_offset)
        self._limits.copy_(driven.limits)
        return driven.ctrl

    def update_friction(self) -> None:
        """Let the servos' friction follow their loads; call it after each update."""
        if self._friction is None:
            return
        backend = self._backend
        budget = self._load_dependent_friction(
            tuple(backend.output(name) for name in OUTPUTS),
            backend.state().qvel,
            self._friction.float(),
            self._inverse_inertia.float(),
        )
        self._set_friction(budget)

    def _set_friction(self, friction: Tensor) -> None:
        """Set the joints' dry friction (E, J) [N m]."""
        assert self._friction is not None
        self._friction[:, self.robot.joint_qvel_adr] = friction.to(self._friction.dtype)

    def sense(self, state: PhysicsState) -> None:
        """Let the sensors read the state after a step."""
        if not self._senses:
            return
        num, joints = self._backend.num_envs, self.robot.num_joints
        uniform = self._uniform(num, 9 + 2 * joints)
        sensors = self._sense(self.state, state, uniform, self._noise)
        self.state = replace(self.state, sensors=sensors)

    # Resume

    def saved(self) -> dict[str, Tensor]:
        """Copies of everything that later steps depend on, by name."""
        model = {f"model/{name}": live.clone() for name, live in self._fields.items()}
        limits = {} if self._limits is None else {"limits": self._limits.clone()}
        if self._friction is not None:
            limits["friction"] = self._friction.clone()
        state = {name: value.clone() for name, value in named("state", self.state)}
        edges: dict[str, Tensor] = {}
        if self.edge is not None and self.edge_ends is not None:
            edges = {"edge": self.edge.clone(), "edge_ends": self.edge_ends.clone()}
        return {**state, **model, **limits, **edges}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Put back what `saved` returned."""
        device = self._backend.device
        everyone = torch.ones(self._backend.num_envs, dtype=torch.bool, device=device)
        # An episode of any kind has the right shape; its values are then replaced.
        robot = self.robot
        if self.state.commands is None and self.state.sensors is None:
            home = robot.joint_home.expand(self._backend.num_envs, -1)
            self.draw(everyone)
            self.begin(everyone, self._backend.state(), home)
        if lacking := set(self.saved()) - set(saved):
            raise UserError(
                f"the saved simulations lack {', '.join(sorted(lacking))}: they were saved with "
                "another servo or randomisation; begin a new training with model.warm_start"
            )
        self.state = from_named("state", self.state, saved, device)
        for name, live in self._fields.items():
            live.copy_(saved[f"model/{name}"])
        if self._limits is not None:
            self._limits.copy_(saved["limits"])
        if self._friction is not None:
            self._friction.copy_(saved["friction"])
        if self.edge is not None:
            self.edge = saved["edge"].to(device, copy=True)
            self.edge_ends = saved["edge_ends"].to(device, copy=True)
        if self._constants:
            self._backend.set_const(everyone)


def _nobody(mask: Tensor) -> bool:
    """Whether no episode begins, where this is known without waiting for a device."""
    return mask.device.type == "cpu" and not bool(mask.any())


def _live(values: Any) -> Tensor:
    """A tensor on the engine's memory of a per-simulation field."""
    return values if isinstance(values, Tensor) else torch.from_numpy(values)


def _write(live: Tensor, mask: Tensor, values: Tensor) -> None:
    if mask.device.type == "cpu":
        live[mask] = values[mask].to(live.dtype)
        return
    rows = mask.reshape(-1, *[1] * (live.dim() - 1))
    live.copy_(torch.where(rows, values.to(live.dtype), live))
