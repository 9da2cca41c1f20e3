"""Tests of tools/trace_rollout.py: what it finds in a rollout, and its exit codes."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.graph import Replay
from envs.physics.warp import WarpPhysics

TOOL = Path(__file__).parents[2] / "tools" / "trace_rollout.py"
STEPS = 3


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trace_rollout", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their types up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tool: ModuleType, tmp_path: Path) -> Callable[..., int]:
    """The tool's exit code; it writes to trace.json in the test's folder."""
    sizes = ["--envs=8", f"--steps={STEPS}", f"--out={tmp_path / 'trace.json'}"]

    def run(*arguments: str) -> int:
        return tool.main([*sizes, *arguments])

    return run


def planted(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, act: Callable[[Any], Any]
) -> None:
    """Do `act` before one call of a method."""
    original, calls = getattr(owner, method), [0]

    def changed(self: Any, *arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            act(self)
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, method, changed)


def in_traced_rollout(tool: ModuleType) -> int:
    """Number of its last step, counted from the first of the training."""
    return (tool.WARM_UP + 1) * STEPS + 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_it_writes_a_trace_and_a_summary(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], physics: str
) -> None:
    assert run(f"--physics={physics}") == 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = [event.get("name") for event in events if event.get("cat") == "user_annotation"]
    for part in ("policy", "environment step", "physics step", "physics reset"):
        assert names.count(f"[{part}]") == STEPS
    assert names.count("[rollout]") == 1
    summary = (tmp_path / "trace.md").read_text()
    assert summary in capsys.readouterr().out
    assert "| graphs recorded | 0" in summary
    assert "| waits of the host for the GPU amid the steps | needs a CUDA device | 0 |" in summary
    assert "| `[physics step]` | 1.0 |" in summary


@pytest.mark.filterwarnings("ignore")
def test_a_graph_recorded_amid_the_rollout_is_found(
    tool: ModuleType,
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    last = in_traced_rollout(tool)
    # The first of the two is in the rollout before: it is no fault.
    for call, field in ((last - STEPS, "dof_damping"), (last, "geom_friction")):
        expand = partial(WarpPhysics.expand, field=field)
        planted(monkeypatch, WarpPhysics, "step", call, expand)
    assert run("--physics=warp-cpu") == 1
    # The step's, and a reset's two.
    assert capsys.readouterr().err.endswith("error: in the rollout 3 graphs were recorded\n")
    assert "| graphs recorded | 3 | 0 |" in (tmp_path / "trace.md").read_text()


def test_recordings_of_the_environments_parts_are_counted(tool: ModuleType) -> None:
    def eager(run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        return run(), lambda: None

    env = LocomotionEnv(LocomotionConfig(), 2)
    assert sum(tool.recordings(env).values()) == 0
    env._act = Replay(lambda x: x + 1, eager)
    before = tool.recordings(env)
    for length in (1, 1, 2):  # again for the other length
        env._act(torch.ones(length))
    assert tool.recordings(env)[env._act] - before[env._act] == 2


def traced(tool: ModuleType, *names: str, **changes: Any) -> Any:
    """A trace on a GPU with one step, within which the named calls were made."""
    Event = tool.Event
    inside = [Event(name, 2.0 + n, 2.5 + n, call=1 + n) for n, name in enumerate(names)]
    steps = [Event("[policy]", 1.0, 2.0), Event("[environment step]", 2.0, 50.0)]
    after = Event("cudaDeviceSynchronize", 60.0, 90.0, call=99)
    events = [Event("[rollout]", 0.0, 100.0), *steps, *inside, after]
    return tool.Trace("warp", 8, 1, events=events, **changes)


def test_a_gpus_trace_is_judged(tool: ModuleType) -> None:
    good = ["cudaGraphLaunch", "cudaGraphLaunch", "cudaLaunchKernel"]
    assert traced(tool, *good, device_growth={"torch": 0, "Warp": -512}).failures() == []
    (waited,) = traced(tool, *good, "cudaStreamSynchronize").failures()
    assert waited == "the host waited for the GPU 1 times and fetched from it 0 times"
    (grown,) = traced(tool, *good, device_growth={"torch": 512, "Warp": 0}).failures()
    assert grown == "memory grew by 512 bytes (torch)"
    (again,) = traced(tool, *good, recordings=2).failures()
    assert again == "2 graphs were recorded"
    (untraced,) = traced(tool).failures()
    assert "CUPTI" in untraced


def test_a_gpus_summary_tells_calls_per_step(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    names = ["cudaGraphLaunch"] * 3 + ["cudaLaunchKernel"] * 2
    trace = traced(tool, *names, device_growth={"torch, allocated": 0})
    summary = tool.markdown(trace, Path("trace.json"))
    assert "| graph launches per step | 3.0 |" in summary
    assert "| kernel launches outside graphs per step | 2.0 |" in summary
    assert "| waits of the host for the GPU amid the steps | 0 | 0 |" in summary
    assert "| growth of the GPU's memory: torch, allocated | 0 bytes | at most 0 |" in summary


def test_large_traces_are_compressed(tool: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text('{"traceEvents": []}')
    small = tool.compressed(file)
    assert small.name == "trace.json.gz" and not file.exists()
    assert gzip.decompress(small.read_bytes()) == b'{"traceEvents": []}'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--envs=0"], "--envs is 0; it must be positive"),
        (["--steps=-1"], "--steps is -1; it must be positive"),
        (["--physics=bullet"], "physics is 'bullet'; allowed: native"),
        (["--out=trace.txt"], "--out is trace.txt; the trace is written as .json"),
    ],
)
def test_bad_input_is_one_line(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_said(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--physics=warp") == 2
    assert "CUDA" in capsys.readouterr().err


# With a GPU


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
def test_nothing_holds_a_rollout_up(run: Callable[..., int]) -> None:
    assert run("--physics=warp", "--envs=256") == 0


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
def test_a_wait_amid_the_rollout_is_found(
    tool: ModuleType,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wait(physics: WarpPhysics) -> None:
        physics.state().qpos.sum().item()

    planted(monkeypatch, WarpPhysics, "step", in_traced_rollout(tool), wait)
    assert run("--physics=warp") == 1
    error = capsys.readouterr().err
    assert "the host waited for the GPU" in error and "fetched from it 1 times" in error
