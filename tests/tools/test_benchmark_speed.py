"""Tests of tools/benchmark_speed.py: what is measured, on both engines, in this process."""

from __future__ import annotations

import importlib
import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def speed() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield importlib.import_module("benchmark_speed")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_rounds_are_timed_and_memory_is_counted(speed: ModuleType, physics: str) -> None:
    options = Namespace(physics=physics, steps=3, rounds=2, reference=None)
    block = speed.measure(options, 4)
    assert block["envs"] == 4
    assert list(block["seconds"]) == ["physics", "environment", "collection", "training"]
    for times in block["seconds"].values():
        assert len(times) == 2 and min(times) > 0.0
    # Collection is part of training.
    collection, training = block["seconds"]["collection"], block["seconds"]["training"]
    assert all(part < whole for part, whole in zip(collection, training, strict=True))
    assert list(block["memory_mib"]) == ["host"]
    assert block["results"]["physics"]["ratio"] == 1.0


@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_bare_physics_goes_on_from_the_environments_states(speed: ModuleType, physics: str) -> None:
    stepping = speed.Stepping(physics, 2, 4)
    env = stepping.env
    qpos = env.robot.home_qpos.repeat(2, 1)
    qpos[:, 2] = torch.tensor([1.5, 2.5])
    qvel = torch.zeros(2, env.backend.model.nv)
    env.set_state(torch.ones(2, dtype=torch.bool), qpos, qvel)
    stepping.physics()
    # 4 control steps of 10 substeps of free fall: v = g 40 dt after as many semi-implicit steps.
    speed_down = stepping.bare.state().qvel[:, 2]
    torch.testing.assert_close(speed_down, torch.full((2,), -9.81 * 0.08), atol=0.1, rtol=0.0)
    assert (stepping.bare.state().qpos[:, 2] - torch.tensor([1.5, 2.5])).abs().max() < 0.05
    torch.testing.assert_close(env.backend.state().qpos[:, 2], qpos[:, 2])


def test_failed_allocations_are_told_from_other_errors(speed: ModuleType) -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 50)  # 4 PiB
    assert speed.ran_out_of_memory(failed.value)
    assert speed.ran_out_of_memory(MemoryError())
    assert not speed.ran_out_of_memory(RuntimeError("a bug"))


def test_warps_failed_allocations_are_known(speed: ModuleType) -> None:
    import warp

    with pytest.raises(RuntimeError) as failed:
        warp.empty((1 << 25, 1 << 25), dtype=warp.float32, device="cpu")
    assert speed.ran_out_of_memory(failed.value)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells the memory")
def test_memory_grows_by_what_is_taken(speed: ModuleType) -> None:
    memory = speed.Memory(torch.device("cpu"))
    # Above any earlier peak of this process, which may have freed memory since.
    before = float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    spare = int(speed._peak_host_bytes() - before)
    taken = torch.ones(spare // 4 + (64 << 20) // 4)
    assert memory.growth()["host"] == pytest.approx(64.0, abs=24.0)
    del taken
