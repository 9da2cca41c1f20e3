"""tools/trace_rollout.py: what it counts in traces written by hand, and finds in real ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envs.physics.warp import WarpPhysics
from envs.reality.servo import UPDATES_PER_STEP
from tools import trace_rollout
from tools.trace_rollout import POLICY, STEP, Event, count_calls, faults
from wildrobot_torch.cli.main import run

STEPS = 3


def counted(*events: Event) -> dict[str, int]:
    """What is counted between 0 and 100 us, without zeros."""
    spans = (Event(POLICY, 0.0, 5.0), Event(STEP, 50.0, 100.0))
    return {name: number for name, number in count_calls([*spans, *events]).items() if number}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cudaGraphLaunch_v10000", "graph launches"),
        ("cuGraphLaunch", "graph launches"),
        ("cudaLaunchKernelExC", "kernel launches outside graphs"),
        ("cuLaunchKernelEx", "kernel launches outside graphs"),
        ("cudaStreamSynchronize", "waits for the GPU"),
        ("cudaDeviceSynchronize", "waits for the GPU"),
        ("cuEventSynchronize", "waits for the GPU"),
    ],
)
def test_calls_are_known_by_their_names(name: str, kind: str) -> None:
    assert counted(Event(name, 10.0, 12.0, call=7)) == {kind: 1}
    assert counted(*[Event(name, 10.0, 12.0)] * 3) == {kind: 3}


@pytest.mark.parametrize("name", ["cudaStreamWaitEvent", "cudaMemcpyAsync", "aten::mm"])
def test_other_calls_do_not_count(name: str) -> None:
    assert counted(Event(name, 10.0, 12.0, call=7)) == {}


def test_what_happens_on_the_device_counts_when_it_was_called_for() -> None:
    def copy(call: int, begin: float) -> list[Event]:
        launched = Event("cudaMemcpyAsync", begin, begin + 1.0, call=call)
        return [launched, Event("Memcpy DtoH (Device -> Pageable)", 150.0, 151.0, True, call)]

    assert counted(*copy(1, 90.0), *copy(2, 110.0)) == {"copies from the GPU": 1}


def test_one_call_is_one_however_many_events_tell_of_it() -> None:
    events = [
        Event("cudaStreamSynchronize", 10.0, 20.0, call=4),
        Event("Stream Sync", 10.0, 20.0, True, 4),
        # The driver's own wait, which no call of the runtime tells of.
        Event("Context Sync", 30.0, 40.0, True, 5),
        # A graph's kernels are not launched one by one.
        Event("cudaGraphLaunch", 50.0, 51.0, call=8),
        *[Event(f"kernel_{n}", 60.0 + n, 61.0 + n, True, 8) for n in range(5)],
        # Operations are numbered apart from calls.
        Event("aten::mm", 1.0, 200.0, call=9),
        Event("cudaLaunchKernel", 101.0, 102.0, call=9),
    ]
    assert counted(*events) == {"waits for the GPU": 2, "graph launches": 1}


def test_a_gpu_must_launch_graphs_and_never_be_waited_for() -> None:
    fine = {kind: 0 for kind in trace_rollout.KINDS} | {"graph launches": 3}
    assert faults(fine, 0, on_gpu=True) == []
    assert faults(fine | {"waits for the GPU": 1}, 0, on_gpu=True) == ["1 waits for the GPU"]
    assert faults(fine | {"copies from the GPU": 2}, 0, on_gpu=True) == ["2 copies from the GPU"]
    assert faults(fine, 2, on_gpu=True) == ["2 graphs were recorded"]
    assert "CUPTI" in faults(fine | {"graph launches": 0}, 0, on_gpu=True)[0]
    assert faults({kind: 0 for kind in fine}, 0, on_gpu=False) == []


def traced(tmp_path: Path, *arguments: str) -> int:
    out = f"--out={tmp_path / 'trace.json.gz'}"
    return run(trace_rollout.main, ["--num_envs=8", f"--steps={STEPS}", out, *arguments])


@pytest.mark.filterwarnings("ignore")
def test_it_writes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert traced(tmp_path, "--physics=native") == 0
    content = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    names = [e.get("name") for e in content["traceEvents"] if e.get("cat") == "user_annotation"]
    counts = {part: names.count(part) for part in trace_rollout.SPANS}
    # The servo drives the engine several times in a control step.
    assert counts.pop("[physics step]") == UPDATES_PER_STEP * STEPS
    assert set(counts.values()) == {STEPS}
    assert "[physics step]" in capsys.readouterr().out


def planted(
    monkeypatch: pytest.MonkeyPatch, method: str, call: int, act: Callable[[Any], Any]
) -> None:
    """Do `act` before one call of a method of the Warp engine."""
    original, calls = getattr(WarpPhysics, method), [0]

    def changed(self: Any, *arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            act(self)
        return original(self, *arguments, **named)

    monkeypatch.setattr(WarpPhysics, method, changed)


ROLLOUT = STEPS * UPDATES_PER_STEP
"""Steps that the engine makes in a rollout."""
LAST_STEP = (trace_rollout.WARM_UP + 2) * ROLLOUT
"""Number of the traced rollout's last one, counted from the first of the training."""


@pytest.mark.filterwarnings("ignore")
def test_a_graph_recorded_amid_the_rollout_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first of the two is in the rollout before: it is no fault.
    for call, field in ((LAST_STEP - ROLLOUT, "dof_damping"), (LAST_STEP, "geom_friction")):
        planted(monkeypatch, "step", call, partial(WarpPhysics.expand, field=field))
    assert traced(tmp_path, "--physics=warp-cpu") == 1
    assert "graphs were recorded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--num_envs=0"], "0; allowed: 1 or more"),
        (["--physics=bullet"], "physics is 'bullet'; allowed: native"),
        (["--out=trace.txt"], "--out is trace.txt; the trace is written as .json"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert traced(tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
def test_nothing_holds_a_rollout_up(tmp_path: Path) -> None:
    assert traced(tmp_path, "--physics=warp", "--num_envs=256") == 0


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
def test_a_wait_amid_the_rollout_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, "step", LAST_STEP, lambda physics: physics.state().qpos.sum().item())
    assert traced(tmp_path, "--physics=warp") == 1
    assert "waits for the GPU" in capsys.readouterr().err
