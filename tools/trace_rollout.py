"""Where the time of a rollout goes: `python tools/trace_rollout.py --physics warp`.

After a few iterations of training one more rollout is collected under torch's profiler. Exit code 1
when a graph was recorded again within it, when a step waited for the GPU, or when the trace shows
no graph of a GPU at all.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

from envs.errors import RunError, UserError
from envs.locomotion import LocomotionEnv
from envs.physics.base import require_capacities
from envs.physics.engines import resolve_engine
from envs.physics.graph import Replay
from tools.benchmark import surroundings, train_briefly
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import ENGINES, Parser, positive
from wildrobot_torch.training.data import RolloutData

WARM_UP = 3
"""Iterations of training before."""
POLICY, STEP = "[policy]", "[environment step]"
SPANS = (POLICY, STEP, "[physics step]", "[physics reset]")
"""Parts of the rollout as they are named in the trace."""

# Names of calls as CUDA's tracer gives them, the runtime's (cuda...) and the driver's (cu...).
KINDS = {
    "graph launches": ("cudaGraphLaunch", "cuGraphLaunch"),
    "kernel launches outside graphs": (
        *("cudaLaunchKernel", "cudaLaunchCooperativeKernel"),
        *("cuLaunchKernel", "cuLaunchCooperativeKernel"),
    ),
    "waits for the GPU": (
        *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
        *("cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize"),
        # The tracer's own records of waits, whoever called.
        *("Stream Sync", "Context Sync", "Event Sync"),
    ),
    "copies from the GPU": ("Memcpy DtoH",),
}
_CALLS = (*(prefix for kind in KINDS.values() for prefix in kind), "cudaMemcpy", "cuMemcpy")


@dataclass(frozen=True)
class Event:
    """One event of a trace."""

    name: str
    begin_us: float
    end_us: float
    on_device: bool = False
    call: int = 0
    """Number of the CUDA call it belongs to, shared by what that starts on the device; 0: none."""


def count_calls(events: Iterable[Event]) -> dict[str, int]:
    """CUDA calls by `KINDS` from the first policy step to the end of the last environment step.

    A call counts once however many events tell of it. The device is late: what happened there
    counts at the time it was called for.
    """
    events = list(events)
    begin = min(e.begin_us for e in events if e.name == POLICY and not e.on_device)
    end = max(e.end_us for e in events if e.name == STEP and not e.on_device)
    called: dict[int, float] = {}
    names: defaultdict[int, set[str]] = defaultdict(set)
    for index, event in enumerate(events):
        if event.on_device or event.name.startswith(_CALLS):
            call = event.call or -index  # without a number it stands for itself
            called[call] = min(event.begin_us, called.get(call, event.begin_us))
            names[call].add(event.name)
    within = [names[call] for call, at in called.items() if begin <= at <= end]
    return {
        kind: sum(any(name.startswith(prefixes) for name in call) for call in within)
        for kind, prefixes in KINDS.items()
    }


def recordings(env: LocomotionEnv) -> int:
    """How often the parts of an environment have recorded graphs."""
    parts = [part for part in vars(env).values() if isinstance(part, Replay)]
    return sum(part.recordings for part in parts) + getattr(env.backend, "recordings", 0)


class Tracing(Callback):
    """Traces one more rollout after the last iteration of training."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.recorded = 0
        """Graphs recorded in the traced rollout."""
        self.events: list[Event] = []
        self.tables: list[str] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Trace, once the warm-up is over."""
        if batch_idx < WARM_UP - 1:
            return
        data: RolloutData = trainer.datamodule
        assert data.env is not None
        data.collect()
        activities, config = [ProfilerActivity.CPU], None
        if data.engine == "warp":
            activities.append(ProfilerActivity.CUDA)
            config = _ExperimentalConfig(enable_cuda_sync_events=True)
        before = recordings(data.env)
        with (
            named_parts(data),
            profile(activities=activities, experimental_config=config) as traced,
        ):
            data.collect()
        self.recorded = recordings(data.env) - before
        require_capacities(data.env.backend)
        self.events = [
            Event(e.name, e.time_range.start, e.time_range.end, e.device_type.name != "CPU", e.id)
            for e in traced.events() or ()
        ]
        keys = ["self_cpu_time_total", "self_cuda_time_total"][: len(activities)]
        averages = traced.key_averages()
        self.tables = [averages.table(sort_by=key, row_limit=12) for key in keys]
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_bytes(b"")  # where it cannot be, an OSError says so; the profiler would not
        traced.export_chrome_trace(str(self.out))


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
    for (owner, method), name in zip(parts, SPANS, strict=True):
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


def faults(calls: dict[str, int], recorded: int, on_gpu: bool) -> list[str]:
    """What holds a rollout up, in words."""
    found = [f"{recorded} graphs were recorded"] if recorded else []
    if on_gpu and not calls["graph launches"]:
        found.append("no graph launch was traced: CUDA's tracer (CUPTI) did not work")
    kinds = ("waits for the GPU", "copies from the GPU") if on_gpu else ()
    return found + [f"{calls[kind]} {kind}" for kind in kinds if calls[kind]]


def main(words: list[str]) -> int:
    """0 when nothing holds the rollout up."""
    parser = Parser(
        "trace_rollout",
        "Trace a rollout (for ui.perfetto.dev) and check that nothing holds it up.",
        "python tools/trace_rollout.py --physics warp --num_envs 4096",
    )
    parser.add_argument("--physics", default="auto", help=ENGINES)
    parser.add_argument("--num_envs", type=positive, default=1024, help="robots")
    parser.add_argument("--steps", type=positive, default=24, help="control steps")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/trace.json.gz"),
        help="trace to write, .json or .json.gz; a summary goes beside it",
    )
    options = parser.parse_args(words)
    if not options.out.name.endswith((".json", ".json.gz")):
        raise UserError(f"--out is {options.out}; the trace is written as .json or .json.gz")
    data = RolloutData(
        num_envs=options.num_envs,
        num_steps=options.steps,
        physics=resolve_engine(options.physics),
        iterations_per_epoch=WARM_UP,
    )
    on_gpu = data.engine == "warp"
    if on_gpu:
        # CUDA's tracer must not be taken down and set up again while there are graphs.
        os.environ.update(DISABLE_CUPTI_LAZY_REINIT="1", TEARDOWN_CUPTI="0")
    tracing = Tracing(options.out)
    train_briefly(data, tracing)
    calls = count_calls(tracing.events)
    here = surroundings(data.engine)
    rows = {"graphs recorded": tracing.recorded, **(calls if on_gpu else {})}
    lines = [
        f"A rollout of {options.num_envs} robots, {options.steps} steps, on {data.engine} after "
        f"{WARM_UP} iterations of training: {here['device']}, commit {here['commit']}",
        "",
        *(f"{name}: {number}" for name, number in rows.items()),
        *("\n" + table for table in tracing.tables),
    ]
    summary = options.out.with_name(options.out.name.split(".json")[0] + ".txt")
    summary.write_text("\n".join(lines) + "\n")
    print("\n".join([*lines, "", f"wrote {options.out} and {summary}"]))
    if found := faults(calls, tracing.recorded, on_gpu):
        raise RunError(f"in the rollout: {'; '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
