"""The protocol of a physics engine, and the state it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from envs.errors import RunError, UserError

MEASURE_CAPACITIES = "python tools/measure_capacities.py"
"""The command that measures the room for contacts and writes it to the robot's folder."""


@dataclass(frozen=True)
class PhysicsState:
    """State of all simulations; float32 tensors on the engine's device.

    The tensors may be views of engine memory, so they are valid until the next call on the engine;
    clone them to keep them.
    """

    qpos: Tensor
    """(num_envs, nq): root position [m] and orientation (wxyz), then joints [rad]."""
    qvel: Tensor
    """(num_envs, nv): root velocity in world [m/s], its rates in body, joints [rad/s]."""
    sensordata: Tensor
    """(num_envs, nsensordata): all MJCF sensors; slices by name are in `RobotSpec.sensors`."""

    def clone(self) -> PhysicsState:
        """A copy in new memory."""
        return PhysicsState(self.qpos.clone(), self.qvel.clone(), self.sensordata.clone())


class PhysicsError(RunError):
    """The engine cannot continue; the message names the simulation and the remedy."""


@runtime_checkable
class PhysicsBackend(Protocol):
    """Many simulations of one model, stepped together.

    Position- and velocity-dependent sensors are those of the state reported; contact forces,
    actuator forces and accelerations are those of the last substep before it.
    """

    model: Any
    """The compiled MjModel all simulations share."""
    num_envs: int
    device: torch.device

    def step(
        self, ctrl: Tensor, xfrc_applied: Tensor | None, decimation: int, refresh: bool = True
    ) -> None:
        """Advance every simulation by `decimation` substeps.

        Args:
            ctrl: (num_envs, n) position targets [rad] of the first n actuators, held over the
                substeps; the others keep theirs.
            xfrc_applied: (num_envs, nbody, 6) force [N] and torque [N m] on each body's centre of
                mass, world frame, held over the substeps; None for none.
            decimation: number of substeps, >= 1.
            refresh: whether sensors are computed at the new state; if not, only qpos and qvel of
                `state` are new.
        """
        ...

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor, ctrl: Tensor) -> None:
        """Set the masked simulations to a state; the others are untouched.

        Args:
            mask: (num_envs,) bool.
            qpos: (num_envs, nq); only masked rows are read.
            qvel: (num_envs, nv); only masked rows are read.
            ctrl: (num_envs, n), likewise; position targets the reset state's forces are computed
                with.
        """
        ...

    def state(self) -> PhysicsState:
        """The present state of all simulations."""
        ...

    def expand(self, field: str) -> Any:
        """Per-simulation values (num_envs, ...) of a model field; writes take effect at once.

        Raises:
            ValueError: the engine has no such field.
        """
        ...

    def output(self, field: str) -> Tensor:
        """Values (num_envs, ...) of an `mjData` field after the last substep, float32.

        Valid until the next call on the engine, as `state` is; read only. An engine may begin to
        keep a field at the first call that names it: name it before the steps you need it of.

        Raises:
            ValueError: the engine has no such field.
        """
        ...

    def set_const(self, mask: Tensor | None = None) -> None:
        """Recompute the constants that depend on expanded fields, for example after new masses.

        `mask` (num_envs,) bool are the simulations whose fields changed; None for all.
        """
        ...

    def health(self) -> Tensor:
        """(num_envs,) int32 bit mask of failures in the last step; see `HEALTH_BITS`."""
        ...

    def capacity_overflow(self) -> tuple[str, ...]:
        """Names of the capacities that were too small at any time since construction.

        What did not fit was dropped, so nothing computed since can be trusted. Waits for the
        device: call it once per rollout, not per step. Empty for engines that allocate as they go.
        """
        ...

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of everything that later steps depend on, for an exact resume."""
        ...

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """Restore a `snapshot`; the steps that follow are those that followed it."""
        ...


def require_capacities(backend: PhysicsBackend) -> None:
    """Raise an error if contacts were dropped.

    Raises:
        PhysicsError: a capacity was too small; names it and the remedy.
    """
    names = backend.capacity_overflow()
    if names:
        raise PhysicsError(
            f"the physics engine had too little room ({', '.join(names)}) and dropped what did not "
            f"fit; measure again: {MEASURE_CAPACITIES}"
        )


SNAPSHOT_FIELDS = ("time", "qpos", "qvel", "act", "qacc_warmstart", "ctrl", "xfrc_applied")
"""Entries of a snapshot, (num_envs, ...) each; the same for all engines, so that a snapshot of one
engine can be restored in another."""


def check_snapshot(snapshot: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a snapshot of other simulations.

    Raises:
        UserError: an entry is missing or of another shape.
    """
    for name, shape in shapes.items():
        saved = tuple(snapshot[name].shape) if name in snapshot else None
        if saved != tuple(shape):
            raise UserError(
                f"the saved simulation state has {name} of shape {saved}, this environment "
                f"{tuple(shape)}; resume with the same num_envs and robot"
            )


HEALTH_BITS = {"nonfinite": 1, "engine": 2, "overflow": 4}
"""Names of the bits `PhysicsBackend.health` sets."""
