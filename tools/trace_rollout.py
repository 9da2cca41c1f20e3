"""Where the time of a rollout goes: `python tools/trace_rollout.py --physics warp`.

After a few iterations of training one more rollout is collected under torch's profiler. Exit code 1
when a graph was recorded again within it, when a step waited for the GPU, or when the trace shows
no graph of a GPU at all.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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

KINDS = {
    "graph launches": r"cu(da)?GraphLaunch",
    "kernel launches outside graphs": r"cu(da)?Launch(Cooperative)?Kernel",
    # The second half: the tracer's own records of waits, whoever called.
    "waits for the GPU": r"cu(da)?(Stream|Device|Ctx|Event)Synchronize|(Stream|Context|Event) Sync",
    "copies from the GPU": "Memcpy DtoH",
}
"""Beginnings of names that CUDA's tracer gives to calls, the runtime's (cuda...) and the driver's
(cu...)."""
CALLS = "|".join([*KINDS.values(), r"cu(da)?Memcpy"])


class Event(NamedTuple):
    """One event of a trace."""

    name: str
    begin_us: float
    end_us: float
    on_device: bool = False
    call: int = 0
    """Number of the CUDA call it belongs to, shared by what that starts on the device; 0: none."""


def count_calls(events: Sequence[Event]) -> dict[str, int]:
    """CUDA calls by `KINDS` from the first policy step to the end of the last environment step.

    A call counts once however many events tell of it. The device is late: what happened there
    counts at the time it was called for.
    """
    begin = min(e.begin_us for e in events if e.name == POLICY and not e.on_device)
    end = max(e.end_us for e in events if e.name == STEP and not e.on_device)
    calls: defaultdict[int, list[Event]] = defaultdict(list)
    for index, event in enumerate(events):
        if event.on_device or re.match(CALLS, event.name):
            calls[event.call or -index].append(event)  # without a number it stands for itself
    within = [call for call in calls.values() if begin <= min(e.begin_us for e in call) <= end]
    return {
        kind: sum(any(re.match(names, event.name) for event in call) for call in within)
        for kind, names in KINDS.items()
    }


def recordings(env: LocomotionEnv) -> int:
    """How often the parts of an environment have recorded graphs."""
    held = (*vars(env).values(), *vars(env.reality).values())
    parts = [part for part in held if isinstance(part, Replay)]
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
        traced = profile(activities=activities, experimental_config=config)
        with named_parts(data), traced:
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
    physics = data.env.backend
    parts = (
        (data.collector.policy, "forward"),
        (data.env, "step_and_maybe_reset"),
        (physics, "step"),
        (physics, "reset"),
    )
    for (owner, method), name in zip(parts, SPANS, strict=True):
        setattr(owner, method, record_function(name)(getattr(owner, method)))
    try:
        yield
    finally:
        for owner, method in parts:
            delattr(owner, method)


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
    add = parser.add_argument
    add("--physics", default="auto", help=ENGINES)
    add("--num_envs", type=positive, default=1024, help="robots")
    add("--steps", type=positive, default=24, help="control steps")
    add("--out", type=Path, default=Path("runs/trace.json.gz"), help="trace, .json or .json.gz")
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
    rows = {"graphs recorded": tracing.recorded, **(calls if on_gpu else {})}
    print(
        f"A rollout of {options.num_envs} robots, {options.steps} steps, on {data.engine} after "
        f"{WARM_UP} iterations of training: {surroundings(data.engine)['device']}\n",
        *(f"{name}: {number}" for name, number in rows.items()),
        *("\n" + table for table in tracing.tables),
        f"\nwrote {options.out}",
        sep="\n",
    )
    if found := faults(calls, tracing.recorded, on_gpu):
        raise RunError(f"in the rollout: {'; '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
