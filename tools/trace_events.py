"""What `tools/trace_rollout.py` reads from a profiler's events: calls of CUDA, and own times."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from torch.profiler import profile

ROLLOUT, POLICY, STEP = "[rollout]", "[policy]", "[environment step]"
SPANS = (ROLLOUT, POLICY, STEP, "[physics step]", "[physics reset]")
"""Parts of the rollout as they are named in the trace; their own time is what no operation in them
takes: Python and, of physics, the engine."""

# The names of calls as CUDA's tracer gives them, the runtime's (cuda...) and the driver's (cu...).
GRAPH_LAUNCHES = ("cudaGraphLaunch", "cuGraphLaunch")
KERNEL_LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchCooperativeKernel",
    "cuLaunchKernel",
    "cuLaunchCooperativeKernel",
)
WAITS = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    *("cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize"),
    # The tracer's own records of waits, whoever called.
    *("Stream Sync", "Context Sync", "Event Sync"),
)
COPIES_TO_HOST = ("Memcpy DtoH",)

_NO_WORK = {*SPANS, *WAITS, "Stream Wait Event"}
"""What the tracer shows on the device although it keeps nothing busy there."""


@dataclass(frozen=True)
class Event:
    """One event of a trace."""

    name: str
    begin_us: float
    end_us: float
    own_us: float = 0.0
    """Its time without that of the events inside it."""
    on_device: bool = False
    call: int = 0
    """Number of the CUDA call it belongs to, shared by what that starts on the device; 0: none."""


@dataclass(frozen=True)
class Calls:
    """CUDA calls by what they do."""

    graph_launches: int
    kernel_launches: int
    waits: int
    copies_to_host: int


def steps_of(events: Iterable[Event]) -> tuple[float, float]:
    """Begin of the first step, which is the policy's, and end of the last [us]."""
    events = [event for event in events if not event.on_device]
    return (
        min(event.begin_us for event in events if event.name == POLICY),
        max(event.end_us for event in events if event.name == STEP),
    )


def count_calls(events: Iterable[Event], begin_us: float, end_us: float) -> Calls:
    """CUDA calls made between two times, each counted once however many events tell of it.

    The device is late: what happened there counts at the time it was called for.
    """
    called: dict[int, float] = {}
    told: defaultdict[int, set[str]] = defaultdict(set)
    for index, event in enumerate(events):
        if event.on_device or _is_call(event.name):
            call = event.call or -index  # without a number it stands for itself
            called[call] = min(event.begin_us, called.get(call, event.begin_us))
            told[call].add(event.name)

    def number(prefixes: tuple[str, ...]) -> int:
        return sum(
            begin_us <= called[call] <= end_us and any(name.startswith(prefixes) for name in names)
            for call, names in told.items()
        )

    return Calls(
        number(GRAPH_LAUNCHES), number(KERNEL_LAUNCHES), number(WAITS), number(COPIES_TO_HOST)
    )


def _is_call(name: str) -> bool:
    return name.startswith((*GRAPH_LAUNCHES, *KERNEL_LAUNCHES, *WAITS, "cudaMemcpy", "cuMemcpy"))


def longest(
    events: Iterable[Event], on_device: bool, number: int = 10
) -> list[tuple[str, int, float]]:
    """Names with the most time of their own: name, count and time [us], longest first."""
    count: Counter[str] = Counter()
    own_us: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.on_device == on_device and not (on_device and event.name in _NO_WORK):
            count[event.name] += 1
            own_us[event.name] += event.own_us
    ranked = sorted(own_us, key=lambda name: -own_us[name])[:number]
    return [(name, count[name], own_us[name]) for name in ranked]


def events_of(profiler: profile) -> list[Event]:
    """The profiler's events."""
    traced = []
    for event in profiler.events() or ():
        device = event.device_type.name != "CPU"
        span = event.time_range
        own_us = span.elapsed_us() if device else event.self_cpu_time_total
        traced.append(Event(event.name, span.start, span.end, own_us, device, event.id))
    return traced
