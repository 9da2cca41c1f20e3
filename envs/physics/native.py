"""Native MuJoCo: `mujoco.batch.Batch`, many simulations on a pool of CPU threads."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch, SimulationError
from torch import Tensor

from envs.errors import UserError
from envs.physics.base import HEALTH_BITS, SNAPSHOT_FIELDS, PhysicsState, check_snapshot


def physical_cores() -> int:
    """Number of physical cores that this process may use; two threads of one core count once.

    The limit of a container counts, rounded up.
    """
    cores = set()
    for cpu in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    present = len(cores) or os.cpu_count() or 1
    groups = Path("/proc/self/cgroup")
    quota = cpu_quota(groups.read_text()) if groups.exists() else math.inf
    return math.ceil(min(present, quota))


def cpu_quota(groups: str, root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that Linux control groups (versions 1 and 2) grant a process; inf without a limit.

    Args:
        groups: content of /proc/<process>/cgroup.
        root: where the control groups are mounted.
    """
    quotas = [math.inf]
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no controllers in the line. A parent's limit holds for its children.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            folder = root / controllers / str(group).lstrip("/")
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            if all((folder / name).is_file() for name in names):
                quota, period = " ".join((folder / name).read_text() for name in names).split()
                if quota not in ("max", "-1"):
                    quotas.append(int(quota) / int(period))
    return min(quotas)


class NativePhysics:
    """`PhysicsBackend` on native MuJoCo; the number of threads does not change the results."""

    def __init__(
        self, model: mujoco.MjModel, num_envs: int, num_threads: int | None = None
    ) -> None:
        """Allocates the simulations at the model's default state.

        Args:
            model: the compiled model; copied by the engine.
            num_envs: number of simulations, >= 1.
            num_threads: threads stepping them; None for `physical_cores()`.

        Raises:
            UserError: a count below 1, or a model on which auto-reset would hide bad states.
        """
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}; allowed: 1 or more")
        if num_threads is not None and num_threads < 1:
            raise UserError(f"num_threads is {num_threads}; allowed: 1 or more, or null for all")
        if not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_AUTORESET:
            raise UserError(
                "the model resets bad states by itself; set <flag autoreset='disable'/> in "
                "<option> so that they are seen"
            )
        self.model = model
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.num_threads = min(num_threads or physical_cores(), num_envs)
        self._batch = Batch(model, num_envs, self.num_threads)
        self._fields = {name: self._batch.bind(name) for name in SNAPSHOT_FIELDS}
        self._sensordata = self._batch.bind("sensordata")
        self._failed = np.zeros(num_envs, dtype=bool)
        self._continues = False  # whether the last call ended within a control step
        self._batch.forward()

    def step(
        self, ctrl: Tensor, xfrc_applied: Tensor | None, decimation: int, refresh: bool = True
    ) -> None:
        """See `PhysicsBackend.step`."""
        self._fields["ctrl"][:, : ctrl.shape[1]] = ctrl.numpy()
        self._fields["xfrc_applied"][:] = 0.0 if xfrc_applied is None else xfrc_applied.numpy()
        if not self._continues:
            self._failed[:] = False
        self._continues = not refresh
        try:
            # mjSTAGE_VEL refreshes what depends on position and velocity at the new state; forces
            # stay those of the last substep.
            stage = mujoco.mjtStage.mjSTAGE_VEL if refresh else mujoco.mjtStage.mjSTAGE_NONE
            self._batch.step(nstep=decimation, stage=stage)
        except SimulationError as error:
            self._failed[error.ids] = True

    def reset(self, mask: Tensor, qpos: Tensor, qvel: Tensor, ctrl: Tensor) -> None:
        """See `PhysicsBackend.reset`."""
        rows = mask.numpy()
        if not rows.any():  # free here: the mask is in host memory
            return
        self._batch.reset(rows, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._fields["qpos"][rows] = qpos.numpy()[rows]
        self._fields["qvel"][rows] = qvel.numpy()[rows]
        self._fields["ctrl"][rows, : ctrl.shape[1]] = ctrl.numpy()[rows]
        # All stages: without the acceleration stage the rows' force sensors would hold another
        # simulation's values.
        self._batch.forward(rows)
        self._failed[rows] = False

    def state(self) -> PhysicsState:
        """See `PhysicsBackend.state`; float32 copies of the engine's float64 rows."""
        return PhysicsState(
            qpos=_float32(self._fields["qpos"]),
            qvel=_float32(self._fields["qvel"]),
            sensordata=_float32(self._sensordata),
        )

    def expand(self, field: str) -> np.ndarray:
        """See `PhysicsBackend.expand`; a live array (num_envs, ...)."""
        try:
            return self._batch.expand(field)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no per-environment model field {field!r}: {error}") from error

    def output(self, field: str) -> Tensor:
        """See `PhysicsBackend.output`."""
        return _float32(self._batch.bind(field))

    def set_const(self, mask: Tensor | None = None) -> None:
        """See `PhysicsBackend.set_const`."""
        self._batch.set_const(None if mask is None else mask.numpy())

    def health(self) -> Tensor:
        """See `PhysicsBackend.health`."""
        finite = np.isfinite(self._fields["qpos"]).all(1) & np.isfinite(self._fields["qvel"]).all(1)
        bits = np.where(finite, 0, HEALTH_BITS["nonfinite"])
        bits |= np.where(self._failed, HEALTH_BITS["engine"], 0)
        return torch.from_numpy(bits.astype(np.int32))

    def capacity_overflow(self) -> tuple[str, ...]:
        """See `PhysicsBackend.capacity_overflow`; MuJoCo allocates as it goes."""
        return ()

    def snapshot(self) -> dict[str, Tensor]:
        """See `PhysicsBackend.snapshot`; float64, so that a resume is exact."""
        return {name: torch.from_numpy(rows.copy()) for name, rows in self._fields.items()}

    def restore(self, snapshot: dict[str, Tensor]) -> None:
        """See `PhysicsBackend.restore`."""
        check_snapshot(snapshot, {name: rows.shape for name, rows in self._fields.items()})
        for name, rows in self._fields.items():
            rows[:] = snapshot[name].cpu().numpy()


def _float32(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows.astype(np.float32))
