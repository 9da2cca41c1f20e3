"""MuJoCo Warp: all simulations in one batch of kernels, on a CUDA device or Warp's CPU device.

Stepping and resetting are recorded once as graphs and replayed, on either device: tests without a
GPU run the same code.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import mujoco
import torch
from torch import Tensor

from envs.errors import UserError
from envs.physics.base import (
    HEALTH_BITS,
    SNAPSHOT_FIELDS,
    PhysicsError,
    PhysicsState,
    check_snapshot,
)
from envs.physics.capacities import Capacities

if importlib.util.find_spec("mujoco_warp") is None:
    raise ImportError("MuJoCo Warp is not installed; run: pip install -e '.[warp]'")

import mujoco_warp as mjw
import warp as wp
from mujoco_warp import OverflowType

from envs.physics.plane_box import drop_upper_corners

CAPACITY_BITS = OverflowType.ALL & ~(OverflowType.ITERATIONS | OverflowType.LS_ITERATIONS)
"""Bits of `Data.overflow` which say that something was dropped. The two others say that the solver
reached its iteration limit, which is no fault."""

_LONGEST_RECORDING = 20
"""Substeps recorded as one graph; a longer decimation replays single ones before it."""

# Results of `set_const`: each simulation needs its own once a field it depends on is expanded.
_DERIVED_FIELDS = (
    "body_subtreemass",
    "body_invweight0",
    "dof_invweight0",
    "tendon_invweight0",
    "tendon_length0",
    "actuator_acc0",
    "geom_aabb",
    "geom_rbound",
    "geom_size",
)


@dataclass(frozen=True)
class ContactCounts:
    """Room that each simulation uses; (num_envs,) int64 each."""

    rows: Tensor
    """Constraint rows of the last substep."""
    contacts: Tensor
    """Contacts of the last substep, including those dropped after they were found."""
    pairs: Tensor
    """Pairs of geoms near each other at the present state; they use the room of contacts too."""
    matches: Tensor
    """Contacts that the busiest contact sensor found in the last substep."""


class WarpPhysics:
    """`PhysicsBackend` on MuJoCo Warp; float32 throughout, states are views of engine memory."""

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        capacities: Capacities,
        device: torch.device | str,
    ) -> None:
        """Allocates the simulations at the model's default state and records the graphs.

        Args:
            model: the compiled model; copied by the engine.
            num_envs: number of simulations, >= 1.
            capacities: room for contacts.
            device: torch's name of a CUDA device, or cpu.

        Raises:
            UserError: a count below 1, or a model with a feature that the engine lacks.
            PhysicsError: a driver too old, no memory pool, or not enough memory.
        """
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}; allowed: 1 or more")
        wp.config.log_level = wp.LOG_WARNING
        wp.init()
        self.model = model
        self.num_envs = num_envs
        self.capacities = capacities
        self._wp_device = wp.device_from_torch(torch.device(device))
        self.device = torch.device(wp.device_to_torch(self._wp_device))
        _require_graphs(self._wp_device)
        self._graphs: dict[str, Any] = {}
        self.recordings = 0
        """Graphs recorded since construction."""
        self._expanded: dict[str, Tensor] = {}
        try:
            with self._on_stream():
                self._allocate(model)
        except NotImplementedError as error:
            raise UserError(f"MuJoCo Warp cannot simulate this model: {error}") from error
        except RuntimeError as error:
            raise PhysicsError(
                f"MuJoCo Warp could not allocate {num_envs} simulations on {self.device}: "
                f"{' '.join(str(error).split())}; lower num_envs"
            ) from error

    def _allocate(self, model: mujoco.MjModel) -> None:
        # MuJoCo Warp has no auto-reset and rejects the flag that disables it.
        copied = copy.deepcopy(model)
        copied.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        data = mujoco.MjData(copied)
        mujoco.mj_forward(copied, data)
        self._m = mjw.put_model(copied)
        # Messages from kernels would stop the GPU; the bits are read instead.
        self._m.opt.warn_overflow = 0
        self._m.callback.contactfilter = drop_upper_corners
        self._m.opt.contact_sensor_maxmatch = self.capacities.contact_sensor_maxmatch
        self._d = mjw.put_data(
            copied,
            data,
            nworld=self.num_envs,
            njmax=self.capacities.njmax,
            nconmax=self.capacities.nconmax,
        )
        self._fields = {name: wp.to_torch(getattr(self._d, name)) for name in SNAPSHOT_FIELDS}
        self._sensordata = wp.to_torch(self._d.sensordata)
        self._overflow = wp.to_torch(self._d.overflow)
        self._seen_overflow = torch.zeros_like(self._overflow)
        self._mask = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._wp_mask = wp.from_torch(self._mask)
        self._view = PhysicsState(self._fields["qpos"], self._fields["qvel"], self._sensordata)
        self._warm_up()

    def _warm_up(self) -> None:
        """Run everything once, so that all kernels are compiled before graphs are recorded."""
        initial = self.snapshot()
        self._substeps(1, refresh=True)
        self._clear_masked()
        self.restore(initial)
        mjw.forward(self._m, self._d)

    # What is recorded

    def _substeps(self, decimation: int, refresh: bool) -> None:
        for _ in range(decimation):
            mjw.step(self._m, self._d)
        if not refresh:
            return
        # Position and velocity sensors at the new state; forces stay those of the last substep.
        mjw.fwd_kinematics(self._m, self._d)
        mjw.com_vel(self._m, self._d)
        mjw.sensor_pos(self._m, self._d)
        mjw.sensor_vel(self._m, self._d)

    def _clear_masked(self) -> None:
        mjw.reset_data(self._m, self._d, reset=self._wp_mask)

    def _run(self, name: str, operations: Callable[[], None]) -> None:
        """Replay the launches of `operations`, which are recorded at the first call of `name`."""
        if name not in self._graphs:
            # Freeing an array during a recording would end it.
            enabled = gc.isenabled()
            gc.disable()
            try:
                with wp.ScopedDevice(self._wp_device), wp.ScopedCapture() as capture:
                    operations()
            finally:
                if enabled:
                    gc.enable()
            self._graphs[name] = capture.graph
            self.recordings += 1
        # torch's stream: its kernels before and after this are then in order, without waiting.
        stream = wp.stream_from_torch(self.device) if self._wp_device.is_cuda else None
        wp.capture_launch(self._graphs[name], stream=stream)

    # The protocol

    def step(
        self, ctrl: Tensor, xfrc_applied: Tensor | None, decimation: int, refresh: bool = True
    ) -> None:
        """See `PhysicsBackend.step`."""
        self._fields["ctrl"][:, : ctrl.shape[1]].copy_(ctrl)
        if xfrc_applied is None:
            self._fields["xfrc_applied"].zero_()
        else:
            self._fields["xfrc_applied"].copy_(xfrc_applied)
        recorded = min(decimation, _LONGEST_RECORDING)
        for _ in range(decimation - recorded):
            self._run("substep", lambda: mjw.step(self._m, self._d))
        self._run(f"step {recorded} {refresh}", lambda: self._substeps(recorded, refresh))
        self._seen_overflow |= self._overflow

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor, ctrl: Tensor) -> None:
        """See `PhysicsBackend.reset`; costs a forward pass of all simulations with any mask."""
        self._mask.copy_(mask)
        rows = self._mask[:, None]
        self._run("clear", self._clear_masked)
        for name, given in (("qpos", qpos), ("qvel", qvel), ("ctrl", ctrl)):
            field = self._fields[name][:, : given.shape[1]]
            field.copy_(torch.where(rows, given.to(field), field))
        # The forward pass has no mask: it would change the forces of the other rows.
        kept = self._sensordata.clone()
        self._run("forward", lambda: mjw.forward(self._m, self._d))
        self._sensordata.copy_(torch.where(rows, self._sensordata, kept))
        self._seen_overflow |= self._overflow

    def state(self) -> PhysicsState:
        """See `PhysicsBackend.state`; views of the engine's memory, the same at each call."""
        return self._view

    def expand(self, field: str) -> Tensor:
        """See `PhysicsBackend.expand`; a live view (num_envs, ...)."""
        if field not in self._expanded:
            for name in (field, *_DERIVED_FIELDS):
                self._expand_one(name, required=name == field)
            # The recorded graphs read the shared values.
            self._graphs.clear()
        return self._expanded[field]

    def _expand_one(self, name: str, required: bool) -> None:
        owner: Any = self._m.opt if name.startswith("opt.") else self._m
        attribute = name.removeprefix("opt.")
        if attribute not in _fields_per_world(type(owner)):
            if required:
                raise ValueError(f"MuJoCo Warp has no per-environment model field {name!r}")
            return
        shared = getattr(owner, attribute)
        if name in self._expanded or shared.size == 0:
            return
        with wp.ScopedDevice(self._wp_device):
            values = wp.to_torch(wp.clone(shared))
            tiled = values.expand(self.num_envs, *values.shape[1:]).contiguous()
            array = wp.from_torch(tiled, dtype=shared.dtype)
        setattr(owner, attribute, array)
        self._expanded[name] = tiled

    def output(self, field: str) -> Tensor:
        """See `PhysicsBackend.output`; a view of the engine's memory."""
        if not hasattr(self._d, field):
            raise ValueError(f"MuJoCo Warp has no field {field!r}")
        return wp.to_torch(getattr(self._d, field))

    def set_const(self, mask: Tensor | None = None) -> None:
        """See `PhysicsBackend.set_const`; of all simulations, which costs less than a choice."""
        with self._on_stream():
            mjw.set_const(self._m, self._d)

    def health(self) -> Tensor:
        """See `PhysicsBackend.health`."""
        finite = self._fields["qpos"].isfinite().all(1) & self._fields["qvel"].isfinite().all(1)
        full = (self._overflow & int(CAPACITY_BITS)) != 0
        return (~finite).int() * HEALTH_BITS["nonfinite"] | full.int() * HEALTH_BITS["overflow"]

    def capacity_overflow(self) -> tuple[str, ...]:
        """See `PhysicsBackend.capacity_overflow`."""
        bits = list(CAPACITY_BITS)
        seen = torch.stack([(self._seen_overflow & int(bit)).any() for bit in bits]).tolist()
        return tuple(str(bit.name) for bit, was in zip(bits, seen, strict=True) if was)

    def contact_counts(self) -> ContactCounts:
        """Room that constraints and contacts use; waits for the device.

        Too low if `capacity_overflow` names something: what did not fit is not counted.
        """
        num = self.num_envs
        with self._on_stream():
            # The listed pairs are gone after a step, so they are listed again.
            size = self._d.naconmax
            listed = SimpleNamespace(
                collision_pair=wp.empty(size, dtype=wp.vec2i),
                collision_pairid=wp.empty(size, dtype=wp.vec2i),
                collision_worldid=wp.empty(size, dtype=int),
            )
            self._d.ncollision.zero_()
            mjw.nxn_broadphase(self._m, self._d, listed)

        def per_simulation(worldid: Any, count: Any) -> Tensor:
            used = wp.to_torch(worldid)[: int(wp.to_torch(count)[0])]
            return torch.bincount(used, minlength=num)

        contacts = per_simulation(self._d.contact.worldid, self._d.nacon)
        return ContactCounts(
            rows=wp.to_torch(self._d.nefc).long(),
            contacts=contacts,
            pairs=per_simulation(listed.collision_worldid, self._d.ncollision),
            matches=self._matches(contacts),
        )

    def _matches(self, contacts: Tensor) -> Tensor:
        sensors = [
            (int(adr), int(intprm[0]))
            for kind, adr, intprm in zip(
                self.model.sensor_type, self.model.sensor_adr, self.model.sensor_intprm, strict=True
            )
            if kind == mujoco.mjtSensor.mjSENS_CONTACT
        ]
        found = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND)
        if not all(data & found for _, data in sensors):
            return contacts  # a sensor without `found`: at most all contacts
        if not sensors:
            return torch.zeros_like(contacts)
        return self._sensordata[:, [adr for adr, _ in sensors]].amax(1).long()

    def snapshot(self) -> dict[str, Tensor]:
        """See `PhysicsBackend.snapshot`."""
        return {name: field.clone() for name, field in self._fields.items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """See `PhysicsBackend.restore`."""
        check_snapshot(snapshot, {name: field.shape for name, field in self._fields.items()})
        for name, field in self._fields.items():
            field.copy_(snapshot[name])
        self._overflow.zero_()

    # Kernels outside recordings must keep the order with torch's kernels as well.
    def _on_stream(self) -> AbstractContextManager[Any]:
        if not self._wp_device.is_cuda:
            return wp.ScopedDevice(self._wp_device)
        return wp.ScopedStream(wp.stream_from_torch(self.device))


def _fields_per_world(owner: type) -> set[str]:
    """Names of the array fields that may differ between simulations."""
    shapes = {field.name: getattr(field.type, "shape", ()) for field in fields(owner)}
    return {name for name, shape in shapes.items() if shape and shape[0] == "*"}


def _require_graphs(device: Any) -> None:
    """Refuse a CUDA device on which the solver's loop cannot be recorded."""
    if not device.is_cuda:
        return
    if not wp.is_conditional_graph_supported():
        major, minor = wp.get_cuda_driver_version() or (0, 0)
        raise PhysicsError(
            f"the NVIDIA driver supports CUDA {major}.{minor}; MuJoCo Warp's graphs need 12.4 or "
            "newer: update the driver, or use physics native"
        )
    if not wp.is_mempool_supported(device):
        raise PhysicsError(
            f"{device} has no memory pool, which recording graphs needs; use physics native"
        )
    wp.set_mempool_enabled(device, True)
