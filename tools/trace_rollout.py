"""What a rollout does, from a profiler's trace: `python tools/trace_rollout.py --physics warp`.

After a few iterations of training one more rollout is collected under torch's profiler. The trace
(for chrome://tracing or ui.perfetto.dev) and a summary in numbers are written. Exit code 0; 1 when
amid the rollout a graph was recorded again, the host waited for the GPU or the GPU's memory grew,
or when there is no trace to tell; 2 for bad input.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import lightning.pytorch as pl
import torch
from benchmark_report import surroundings
from benchmark_speed import MIB, DoesNotFit, ran_out_of_memory, synchronize
from lightning.pytorch.callbacks import Callback
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function
from trace_events import ROLLOUT, SPANS, Calls, Event, count_calls, events_of, longest, steps_of

from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsError, require_capacities
from envs.physics.engines import ENGINE_NAMES, resolve_engine
from envs.physics.graph import Replay
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.module import WalkingModule

WARM_UP = 3
"""Iterations of training before."""
LARGE = 20 * MIB
"""Size [bytes] above which the trace is compressed."""

# What is looked at


def recordings(env: LocomotionEnv) -> dict[Any, int]:
    """How often each that records graphs has done so: parts of the environment, and its physics."""
    replays: dict[Any, int] = {
        part: part.recordings for part in vars(env).values() if isinstance(part, Replay)
    }
    return replays | {env.backend: getattr(env.backend, "recordings", 0)}


def device_memory(device: torch.device) -> dict[str, int]:
    """Memory [bytes] held on a CUDA device, by whom; empty for the CPU."""
    if device.type != "cuda":
        return {}
    import warp

    return {
        "torch, allocated": torch.cuda.memory_allocated(device),
        "torch, reserved": torch.cuda.memory_reserved(device),
        "Warp's pool": warp.get_mempool_used_mem_current(warp.device_from_torch(device)),
    }


def host_memory() -> float | None:
    """Memory [bytes] of this process; None where the kernel does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return float(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# The rollout


@dataclass
class Trace:
    """What a rollout did."""

    physics: str
    num_envs: int
    num_steps: int
    plain_ms: float = 0.0
    """Time of a step without the profiler."""
    host_growth: float | None = None
    """Growth of the process [bytes] in a rollout without the profiler, which itself takes some."""
    recordings: int = 0
    device_growth: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        """Whether the engine computes on a CUDA device."""
        return self.physics == "warp"

    @property
    def calls(self) -> Calls:
        """CUDA calls within the steps."""
        return count_calls(self.events, *steps_of(self.events))

    def failures(self) -> list[str]:
        """What should not have been, in words."""
        calls, told = self.calls, []
        if self.recordings:
            told.append(f"{self.recordings} graphs were recorded")
        if self.on_gpu:
            if not calls.graph_launches:
                told.append("no graph launch was traced: CUDA's tracer (CUPTI) did not work")
            if calls.waits or calls.copies_to_host:
                told.append(
                    f"the host waited for the GPU {calls.waits} times and fetched from it "
                    f"{calls.copies_to_host} times"
                )
            told += [
                f"memory grew by {grown} bytes ({owner})"
                for owner, grown in self.device_growth.items()
                if grown > 0
            ]
        return told


class Tracing(Callback):
    """Traces one more rollout after the last iteration of training."""

    def __init__(self, trace: Trace, out: Path) -> None:
        self.trace, self.out = trace, out

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One rollout without the profiler and one with it, after the warm-up."""
        if batch_idx < WARM_UP - 1:
            return
        data: RolloutData = trainer.datamodule
        assert data.env is not None
        trace, device = self.trace, data.env.backend.device
        synchronize(device)
        host, begin = host_memory(), time.perf_counter()
        data.collect()
        trace.plain_ms = 1e3 * (time.perf_counter() - begin) / data.num_steps
        grown = host_memory()
        trace.host_growth = None if host is None or grown is None else grown - host

        activities, config = [ProfilerActivity.CPU], None
        if trace.on_gpu:
            activities.append(ProfilerActivity.CUDA)
            config = _ExperimentalConfig(enable_cuda_sync_events=True)
        recorded, held = recordings(data.env), device_memory(device)
        with (
            named_parts(data),
            profile(activities=activities, profile_memory=True, experimental_config=config) as run,
            record_function(ROLLOUT),
        ):
            data.collect()
        now = recordings(data.env)
        trace.recordings = sum(count - recorded.get(part, 0) for part, count in now.items())
        trace.device_growth = {
            owner: size - held[owner] for owner, size in device_memory(device).items()
        }
        trace.events = events_of(run)
        require_capacities(data.env.backend)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_bytes(b"")  # where it cannot be, an OSError says so; the profiler would not
        run.export_chrome_trace(str(self.out))


@contextmanager
def named_parts(data: RolloutData) -> Iterator[None]:
    """Within it the parts of a rollout bear their names in a trace."""
    assert data.collector is not None and data.env is not None
    env = data.env
    parts = (
        (data.collector.policy, "forward"),
        (env, "step_and_maybe_reset"),
        (env.backend, "step"),
        (env.backend, "reset"),
    )
    for (owner, method), name in zip(parts, SPANS[1:], strict=True):
        setattr(owner, method, _named(getattr(owner, method), name))
    try:
        yield
    finally:
        for owner, method in parts:
            delattr(owner, method)


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)
    def named(*arguments: Any, **named_arguments: Any) -> Any:
        with record_function(name):
            return function(*arguments, **named_arguments)

    return named


def trace_rollout(physics: str, num_envs: int, num_steps: int, out: Path) -> Trace:
    """What a rollout of a policy in training does; its trace is written to `out`.

    Raises:
        ValueError: an engine that is not to be had.
        PhysicsError: a capacity of the engine was too small, or its driver is too old.
        DoesNotFit: memory ran out.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torchrl|torch)\b.*")
    torch.manual_seed(0)
    data = RolloutData(
        num_envs=num_envs, num_steps=num_steps, physics=physics, iterations_per_epoch=WARM_UP
    )
    trace = Trace(data.engine, num_envs, num_steps)
    if trace.on_gpu:
        # CUDA's tracer must not be taken down and set up again while there are graphs.
        os.environ.update(DISABLE_CUPTI_LAZY_REINIT="1", TEARDOWN_CUPTI="0")
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
        callbacks=[Tracing(trace, out)],
    )
    try:
        trainer.fit(WalkingModule(), data)
    except (RuntimeError, MemoryError) as error:
        if ran_out_of_memory(error):
            raise DoesNotFit(f"{num_envs} robots do not fit into memory ({error})") from None
        raise
    return trace


# The summary


def markdown(trace: Trace, file: Path) -> str:
    """The summary."""
    steps, calls = trace.num_steps, trace.calls
    rollout = next(e for e in trace.events if e.name == ROLLOUT and not e.on_device)
    rollout_us = rollout.end_us - rollout.begin_us
    here = surroundings(trace.physics)
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
    gpu_only = "needs a CUDA device"
    graphs = "0 (it has none)" if trace.physics == "native" else str(trace.recordings)
    rows: list[tuple[str, str, str]] = [
        ("graphs recorded", graphs, "0"),
        ("graph launches per step", f"{calls.graph_launches / steps:.1f}", ""),
        ("kernel launches outside graphs per step", f"{calls.kernel_launches / steps:.1f}", ""),
        ("waits of the host for the GPU amid the steps", str(calls.waits), "0"),
        ("copies from the GPU to the host amid the steps", str(calls.copies_to_host), "0"),
    ]
    if not trace.on_gpu:
        rows[1:] = [(name, gpu_only, limit) for name, _, limit in rows[1:]]
        rows.append(("growth of the GPU's memory", gpu_only, "0"))
    rows += [
        (f"growth of the GPU's memory: {owner}", f"{grown} bytes", "at most 0")
        for owner, grown in trace.device_growth.items()
    ]
    host = "not told" if trace.host_growth is None else f"{trace.host_growth / MIB:.2f} MiB"
    rows += [
        ("growth of the process, without profiler", host, ""),
        ("time of a step, without profiler", f"{trace.plain_ms:.2f} ms", ""),
        ("time of a step, with it", f"{rollout_us / steps / 1e3:.2f} ms", ""),
    ]
    lines = [
        f"# A rollout of {trace.num_envs} robots, {steps} steps, on {trace.physics}",
        "",
        f"{here['device']} ({here['machine']}); {versions}; commit {here['commit']}. Collected "
        f"after {WARM_UP} iterations of training; trace: {file.name}",
        "",
        "| in the rollout | | must be |",
        "|---|---:|---:|",
        *(f"| {name} | {value} | {limit} |" for name, value, limit in rows),
    ]
    for on_device in (False, True)[: 1 + trace.on_gpu]:
        lines += [
            "",
            f"| {'on the GPU' if on_device else 'on the host'}, by own time | calls per step | "
            "ms per step | share of the step |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| `{name[:70]}` | {count / steps:.1f} | {own_us / steps / 1e3:.3f} | "
            f"{own_us / rollout_us:.1%} |"
            for name, count, own_us in longest(trace.events, on_device)
        ]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="trace_rollout", description="Trace a rollout and check that nothing holds it up."
    )
    parser.add_argument(
        "--physics", default="auto", help=f"engine: {', '.join(ENGINE_NAMES)} (default: auto)"
    )
    parser.add_argument("--envs", type=int, default=1024, help="robots (default: 1024)")
    parser.add_argument("--steps", type=int, default=24, help="steps (default: 24)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/trace.json"),
        help=f"trace to write, as .json.gz where it is above {LARGE // MIB} MiB; the summary goes "
        "beside it, as .md (default: runs/trace.json)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool; nothing is written when it is 2."""
    options = parser().parse_args(arguments)
    out: Path = options.out
    try:
        for name in ("envs", "steps"):
            if getattr(options, name) < 1:
                raise ValueError(f"--{name} is {getattr(options, name)}; it must be positive")
        if out.suffix != ".json":
            raise ValueError(f"--out is {out}; the trace is written as .json")
        engine = resolve_engine(options.physics)
        trace = trace_rollout(engine, options.envs, options.steps, out)
        written = compressed(out) if out.stat().st_size > LARGE else out
        summary = markdown(trace, written)
        out.with_suffix(".md").write_text(summary + "\n")
    except (DoesNotFit, PhysicsError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | OSError) else 1
    print(f"{summary}\n\nwrote {written} and {out.with_suffix('.md')}")
    failures = trace.failures()
    if failures:
        print(f"error: in the rollout {'; '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def compressed(file: Path) -> Path:
    """The file, compressed and in place of itself."""
    small = file.with_name(f"{file.name}.gz")
    with file.open("rb") as plain, gzip.open(small, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed)
    file.unlink()
    return small


if __name__ == "__main__":
    sys.exit(main())
