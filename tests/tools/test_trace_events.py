"""Tests of tools/trace_events.py on traces written by hand, with the names CUDA's tracer gives."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def traces() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield importlib.import_module("trace_events")


def counted(traces: ModuleType, *events: Any) -> dict[str, int]:
    """What is counted from 0 to 100 us, without zeros."""
    counts = vars(traces.count_calls(events, 0.0, 100.0))
    return {name: number for name, number in counts.items() if number}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cudaGraphLaunch", "graph_launches"),
        ("cudaGraphLaunch_v10000", "graph_launches"),
        ("cuGraphLaunch", "graph_launches"),
        ("cudaLaunchKernel", "kernel_launches"),
        ("cudaLaunchKernelExC", "kernel_launches"),
        ("cuLaunchKernel", "kernel_launches"),
        ("cuLaunchKernelEx", "kernel_launches"),
        ("cudaLaunchCooperativeKernel", "kernel_launches"),
        ("cudaStreamSynchronize", "waits"),
        ("cudaDeviceSynchronize", "waits"),
        ("cudaEventSynchronize", "waits"),
    ],
)
def test_calls_are_known_by_their_names(traces: ModuleType, name: str, kind: str) -> None:
    assert counted(traces, traces.Event(name, 10.0, 12.0, call=7)) == {kind: 1}
    assert counted(traces, *[traces.Event(name, 10.0, 12.0)] * 3) == {kind: 3}


@pytest.mark.parametrize(
    "name",
    [
        "cudaStreamWaitEvent",
        "cudaEventRecord",
        "cudaMemcpyAsync",
        "cudaStreamIsCapturing",
        "aten::mm",
    ],
)
def test_other_calls_do_not_count(traces: ModuleType, name: str) -> None:
    assert counted(traces, traces.Event(name, 10.0, 12.0, call=7)) == {}


def test_what_happens_on_the_device_counts_when_it_was_called_for(traces: ModuleType) -> None:
    def copy(call: int, begin: float) -> list[Any]:
        return [
            traces.Event("cudaMemcpyAsync", begin, begin + 1.0, call=call),
            traces.Event(
                "Memcpy DtoH (Device -> Pageable)", 150.0, 151.0, on_device=True, call=call
            ),
        ]

    assert counted(traces, *copy(1, 90.0), *copy(2, 110.0)) == {"copies_to_host": 1}
    other = traces.Event("Memcpy HtoD (Pageable -> Device)", 50.0, 51.0, on_device=True, call=3)
    assert counted(traces, other) == {}


def test_one_call_is_one_however_many_events_tell_of_it(traces: ModuleType) -> None:
    events = [
        traces.Event("cudaStreamSynchronize", 10.0, 20.0, call=4),
        traces.Event("Stream Sync", 10.0, 20.0, on_device=True, call=4),
        # The driver's own wait, which no call of the runtime tells of.
        traces.Event("Context Sync", 30.0, 40.0, on_device=True, call=5),
        traces.Event("Stream Wait Event", 41.0, 42.0, on_device=True, call=6),
        # A graph's kernels are not launched one by one.
        traces.Event("cudaGraphLaunch", 50.0, 51.0, call=8),
        *[
            traces.Event(f"kernel_{n}", 60.0 + n, 61.0 + n, on_device=True, call=8)
            for n in range(5)
        ],
        # Operations are numbered apart from calls.
        traces.Event("aten::mm", 1.0, 200.0, call=9),
        traces.Event("cudaLaunchKernel", 101.0, 102.0, call=9),
    ]
    assert counted(traces, *events) == {"waits": 2, "graph_launches": 1}


def test_steps_begin_with_the_policy_and_end_with_the_environment(traces: ModuleType) -> None:
    events = [
        traces.Event(traces.ROLLOUT, 0.0, 100.0),
        *[traces.Event(traces.POLICY, 10.0 * n, 10.0 * n + 2.0) for n in (2, 1, 3)],
        *[traces.Event(traces.STEP, 10.0 * n + 3.0, 10.0 * n + 9.0) for n in (2, 1, 3)],
        traces.Event(traces.POLICY, 1.0, 99.0, on_device=True),
    ]
    assert traces.steps_of(events) == (10.0, 39.0)


def test_the_longest_are_those_with_the_most_time_of_their_own(traces: ModuleType) -> None:
    events = [
        traces.Event("a", 0.0, 50.0, own_us=2.0),
        traces.Event("b", 0.0, 1.0, own_us=1.5),
        traces.Event("b", 2.0, 3.0, own_us=1.5),
        traces.Event("c", 4.0, 5.0, own_us=1.0),
        traces.Event("kernel", 0.0, 9.0, own_us=9.0, on_device=True),
        traces.Event(traces.STEP, 0.0, 90.0, own_us=90.0, on_device=True),
    ]
    assert traces.longest(events, on_device=False, number=2) == [("b", 2, 3.0), ("a", 1, 2.0)]
    assert traces.longest(events, on_device=True) == [("kernel", 1, 9.0)]


def test_own_times_of_a_real_trace_are_shares_of_its_length(traces: ModuleType) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as run, record_function("whole"):
        for _ in range(20):
            torch.ones(200, 200) @ torch.ones(200, 200)
    events = traces.events_of(run)
    whole = next(event for event in events if event.name == "whole")
    inside = [e for e in events if whole.begin_us <= e.begin_us and e.end_us <= whole.end_us]
    ranked = {name: count for name, count, _ in traces.longest(inside, on_device=False)}
    assert ranked["aten::mm"] == 20
    own = sum(event.own_us for event in inside)
    assert own == pytest.approx(whole.end_us - whole.begin_us, rel=0.02)
