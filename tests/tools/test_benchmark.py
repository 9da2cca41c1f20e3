"""tools/benchmark.py: what is timed, the arithmetic, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tasks import ideal_task
from tools import benchmark
from wildrobot_torch.cli.main import run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_it_times_each_round_of_each_thing(
    physics: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "benchmark.json"
    sizes = ["--num_envs=4", "--steps=3", "--rounds=2", f"--physics={physics}"]
    assert run(benchmark.main, [*sizes, f"--out={out}"]) == 0
    report = json.loads(out.read_text())
    seconds = report["seconds"]
    assert list(seconds) == ["physics", "environment", "collection", "training"]
    for times in seconds.values():
        assert len(times) == 2 and min(times) > 0.0
    # Collection is part of training.
    pairs = zip(seconds["collection"], seconds["training"], strict=True)
    assert all(part < whole for part, whole in pairs)
    assert report["results"]["physics"]["ratio"] == 1.0
    assert f"Physics `{physics}` on" in capsys.readouterr().out


@pytest.mark.parametrize("physics", ["native", "warp-cpu"])
def test_bare_physics_continues_from_the_environments_states(physics: str) -> None:
    stepping = benchmark.Stepping(ideal_task(), physics, 2, 4)
    env = stepping.env
    qpos = env.robot.home_qpos.repeat(2, 1)
    qpos[:, 2] = torch.tensor([1.5, 2.5])
    qvel = torch.zeros(2, env.backend.model.nv)
    env.set_state(torch.ones(2, dtype=torch.bool), qpos, qvel)
    stepping.physics()
    # 4 control steps of 10 substeps of free fall: v = g 40 dt after as many semi-implicit steps.
    speed_down = stepping.bare.state().qvel[:, 2]
    torch.testing.assert_close(speed_down, torch.full((2,), -9.81 * 0.08), atol=0.1, rtol=0.0)
    torch.testing.assert_close(env.backend.state().qpos[:, 2], qpos[:, 2])


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is busy in the second round: everything takes twice as long, the ratio is 1/2.
    seconds = {"physics": [1.0, 2.0, 1.0], "environment": [2.0, 4.0, 2.0]}
    results = benchmark.results(seconds, num_envs=10, num_steps=4)
    assert results["environment"]["ratio"] == pytest.approx(0.5)
    assert results["environment"]["env_steps_per_s"] == pytest.approx(20.0)  # 10 * 4 / 2 s


@pytest.mark.parametrize(
    "arguments",
    [
        ["--num_envs=0"],
        ["--num_envs=some"],
        ["--rounds=-1"],
        ["--physics=another"],
        ["--out=table.md"],
        ["--reference=none.npz"],
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(benchmark.main, ["--num_envs=2", "--steps=2", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
