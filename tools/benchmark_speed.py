"""The measurements of `tools/benchmark.py`, each for one number of robots in the calling process.

Physics, environment, collection and training are timed in turn in one run: their ratios hold even
on a machine that is busy otherwise.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from benchmark_report import MEASURED, results
from lightning.pytorch.callbacks import Callback

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import require_capacities
from envs.task.actions import action_to_ctrl, filter_action
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.networks import NetworkConfig
from wildrobot_torch.process import one_torch_thread
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

MIB = 2**20


class DoesNotFit(RuntimeError):
    """Memory does not hold so many robots."""


class Stepping:
    """Physics alone, and the environment around it, from the same states with the same actions."""

    def __init__(self, engine: str, num_envs: int, num_steps: int) -> None:
        self.env = _environment(engine, num_envs)
        self.bare = _environment(engine, num_envs).backend
        # As an untrained policy acts.
        shape = (num_steps, num_envs, self.env.robot.num_joints)
        self.actions = NetworkConfig().init_std * torch.randn(shape, device=self.bare.device)
        self.root = self.env.reset()
        # Unmeasured: what a first step sets up.
        self.physics(1)
        self.environment(1)

    def physics(self, num_steps: int | None = None) -> float:
        """Time [s] of bare physics over the next steps of the environment, which stays."""
        task, robot = self.env.config, self.env.robot
        self.bare.restore(self.env.backend.snapshot())
        filtered, targets = torch.zeros_like(self.actions[0]), []
        for action in self.actions[:num_steps]:
            filtered = filter_action(action, filtered, task.action)
            targets.append(action_to_ctrl(filtered, robot, task.action))
        synchronize(self.bare.device)
        begin = time.perf_counter()
        with one_torch_thread():
            for target in targets:
                self.bare.step(target, None, task.decimation)
        synchronize(self.bare.device)
        return time.perf_counter() - begin

    def environment(self, num_steps: int | None = None) -> float:
        """Time [s] of the environment's next steps."""
        synchronize(self.bare.device)
        begin = time.perf_counter()
        with one_torch_thread():
            for action in self.actions[:num_steps]:
                self.root.set("action", action)
                _, self.root = self.env.step_and_maybe_reset(self.root)
        synchronize(self.bare.device)
        return time.perf_counter() - begin


class Rounds(Callback):
    """Times each training iteration and, between two of them, physics and environment."""

    def __init__(self, number: int, memory: Memory) -> None:
        self.number, self.memory = number, memory
        self.memory_mib: dict[str, float | None] = {}
        self.stepping: Stepping | None = None
        self.seconds: dict[str, list[float]] = {name: [] for name in MEASURED}
        self._begin = 0.0

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One round; the first iteration only warms up."""
        data: RolloutData = trainer.datamodule
        assert data.env is not None
        synchronize(data.env.backend.device)
        now = time.perf_counter()
        if self.stepping is None:
            # Before the simulations of this tool are made: the training's alone.
            self.memory_mib = self.memory.growth()
            self.stepping = Stepping(data.engine, data.num_envs, data.num_steps)
        else:
            self.seconds["training"].append(now - self._begin)
            self.seconds["collection"].append(data.collection_time)
            # Where the training's robots are: upright and fallen ones differ in cost.
            self.stepping.env.set_sim_state(data.env.get_sim_state())
            self.seconds["physics"].append(self.stepping.physics())
            self.seconds["environment"].append(self.stepping.environment())
            print(
                f"{data.num_envs} robots: round {batch_idx} of {self.number}",
                file=sys.stderr,
                flush=True,
            )
        for backend in (data.env.backend, self.stepping.env.backend, self.stepping.bare):
            require_capacities(backend)
        self._begin = time.perf_counter()


class Memory:
    """Memory taken from here on; peaks are right only in a process that did nothing before."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host = _peak_host_bytes()
        self._free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0

    def growth(self) -> dict[str, float | None]:
        """Memory [MiB] taken so far.

        `host`: growth of the process's peak, None where the kernel does not tell. On a GPU also
        `device`: what its free memory has lost, and the peaks of the two allocators in it, `torch`
        and `warp`.
        """
        host = _peak_host_bytes() - self._host
        mib: dict[str, float | None] = {"host": None if math.isnan(host) else host / MIB}
        if self._device.type == "cuda":
            import warp

            free = torch.cuda.mem_get_info(self._device)[0]
            pool = warp.get_mempool_used_mem_high(warp.device_from_torch(self._device))
            mib["device"] = (self._free - free) / MIB
            mib["torch"] = torch.cuda.max_memory_allocated(self._device) / MIB
            mib["warp"] = pool / MIB
        return mib


def measure(options: argparse.Namespace, num_envs: int) -> dict[str, Any]:
    """Times and memory with `num_envs` robots, and results from them.

    Raises:
        ValueError: a reference that does not fit, or an engine that is not to be had.
        PhysicsError: a capacity of the engine was too small, or its driver is too old.
        DoesNotFit: memory ran out.
    """
    try:
        return _measure(options, num_envs)
    except (RuntimeError, MemoryError) as error:
        if ran_out_of_memory(error):
            raise DoesNotFit(f"{num_envs} robots do not fit into memory ({error})") from None
        raise


def _measure(options: argparse.Namespace, num_envs: int) -> dict[str, Any]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torchrl|torch)\b.*")
    torch.manual_seed(0)
    data = RolloutData(
        num_envs=num_envs,
        num_steps=options.steps,
        physics=options.physics,
        reference=options.reference,
        iterations_per_epoch=options.rounds + 1,
    )
    on_gpu = data.accelerator == "gpu"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    rounds = Rounds(options.rounds, Memory(device))
    module = WalkingModule(amp=None if options.reference is None else AMPConfig())
    trainer = pl.Trainer(
        accelerator=data.accelerator,
        devices=1,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[rounds],
    )
    begin, busy, own = time.perf_counter(), _busy_seconds(), time.process_time()
    trainer.fit(module, data)
    elapsed, cores = time.perf_counter() - begin, os.cpu_count() or 1
    others = (_busy_seconds() - busy - (time.process_time() - own)) / elapsed
    return {
        "envs": num_envs,
        "cores_free": None if math.isnan(others) else round(cores - max(others, 0.0), 1),
        "memory_mib": rounds.memory_mib,
        "results": results(rounds.seconds, num_envs, options.steps),
        "seconds": rounds.seconds,
    }


def start_up(engine: str, num_envs: int, cache: str) -> float:
    """Time [s] from an environment's construction to the end of its first step.

    Warp's kernels are in the folder `cache`, or come there; the process must be a new one.
    """
    os.environ.update(WARP_CACHE_PATH=f"{cache}/warp", CUDA_CACHE_PATH=f"{cache}/cuda")
    begin = time.perf_counter()
    env = _environment(engine, num_envs)
    env.step_and_maybe_reset(env.reset().set("action", env.action_spec.zero()))
    synchronize(env.backend.device)
    return time.perf_counter() - begin


def _environment(engine: str, num_envs: int) -> LocomotionEnv:
    return LocomotionEnv(LocomotionConfig(), num_envs, physics=engine)


def ran_out_of_memory(error: Exception) -> bool:
    """Whether torch, Warp or Python failed for want of memory; Warp has no error of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(
        re.search(r"Failed to allocate \d+ bytes|can't allocate memory|out of memory", str(error))
    )


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_host_bytes() -> float:
    """Peak of this process's resident memory [bytes]; NaN where the kernel does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.M) if status.exists() else None
    return float(found.group(1)) * 1024 if found else math.nan


def _busy_seconds() -> float:
    """CPU time all processes of the machine have used [s]; NaN where the kernel does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
