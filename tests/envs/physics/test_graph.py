"""A replayed function is the function, and shares no memory with its users.

Without a GPU a traced graph stands in for the recorded one. It behaves alike: it reads and writes
the memory it was recorded with, and all that was no input is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import envs.locomotion
import envs.reality.reality
from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.graph import Replay, recorded
from envs.reality.disturbances import PushConfig
from envs.task.commands import CommandConfig
from envs.task.starts import ResetConfig
from envs.task.support import SupportConfig
from envs.trees import leaves
from envs.yaml_files import from_mapping

NUM = 5

TASKS = {
    "pushed": LocomotionConfig(
        episode_length_s=0.5,
        push=PushConfig(impulse_max=0.6, interval_s=0.3),
        command=CommandConfig(resample_s=0.12),
    ),
    "real": from_mapping(
        LocomotionConfig,
        {
            "episode_length_s": 0.4,
            "randomization": {
                "mass": {"low": 0.9, "high": 1.1},
                "zero_error": {"sd": 0.03},
                "strength": {"low": 0.8, "high": 1.0},
                "action_delay": {"low": 0.0, "high": 40.0},
                "joint_age": {"low": 0.0, "high": 30.0},
                "imu_tilt": {"sd": 0.03},
                "patch_friction": {"low": 0.3, "high": 1.0},
            },
            "faults": {"dropout_interval_s": 1.0},
        },
        "real",
    ),
    "support": LocomotionConfig(
        support=SupportConfig(), auto_reset=False, reset=ResetConfig(joint_noise=0.0)
    ),
}


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in leaves(value) if leaf is not None]


class Tracer:
    """Records by tracing, and counts the recordings."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        self.count += 1
        result = run()
        graph = make_fx(lambda: tensors(run()))()

        def replay() -> None:
            for memory, value in zip(tensors(result), graph(), strict=True):
                memory.copy_(value)

        return result, replay


@dataclass(frozen=True)
class Pair:
    left: Tensor
    right: Tensor


def swapped(pair: Pair, offset: Tensor | None) -> tuple[Pair, dict[str, Tensor]]:
    """Exercises every container; hands an input on as it is."""
    total = pair.left + pair.right
    return Pair(pair.right, pair.left), {"sum": total if offset is None else total + offset}


def test_the_host_calls_the_function_itself() -> None:
    assert recorded(swapped, torch.device("cpu")) is swapped


def test_replays_are_the_function() -> None:
    replay = Replay(swapped, Tracer())
    for value in (1.0, 2.0, 3.0):
        pair = Pair(torch.full((2,), value), torch.full((2,), 10 * value))
        got, named = replay(pair, torch.ones(2))
        assert isinstance(got, Pair)
        assert got.left.tolist() == [10 * value] * 2 and got.right.tolist() == [value] * 2
        assert named["sum"].tolist() == [11 * value + 1] * 2


def test_nothing_is_shared_with_the_caller() -> None:
    replay = Replay(swapped, Tracer())
    pair = Pair(torch.ones(2), torch.zeros(2))
    first, _ = replay(pair, None)
    replay(Pair(torch.full((2,), 5.0), torch.full((2,), 6.0)), None)
    assert pair.left.tolist() == [1, 1] and pair.right.tolist() == [0, 0]
    assert first.left.tolist() == [0, 0] and first.right.tolist() == [1, 1]
    first.left.fill_(9.0)
    assert replay(pair, None)[0].left.tolist() == [0, 0]


def test_it_is_recorded_again_for_other_shapes_types_and_nones() -> None:
    tracer = Tracer()
    replay = Replay(swapped, tracer)
    inputs: list[tuple[Pair, Tensor | None, int]] = [
        (Pair(torch.ones(2), torch.ones(2)), None, 1),
        (Pair(torch.zeros(2), torch.ones(2)), None, 1),
        (Pair(torch.zeros(2), torch.ones(2)), torch.ones(2), 2),
        (Pair(torch.zeros(3), torch.ones(3)), torch.ones(3), 3),
        (Pair(torch.zeros(3).long(), torch.ones(3).long()), torch.ones(3), 4),
    ]
    for pair, offset, count in inputs:
        assert replay(pair, offset)[1]["sum"].tolist() == swapped(pair, offset)[1]["sum"].tolist()
        assert tracer.count == count


def test_it_serves_inside_and_outside_of_inference_mode() -> None:
    """An evaluation in inference mode comes before training, in the same environment or not."""
    replay = Replay(swapped, Tracer())
    with torch.inference_mode():
        replay(Pair(torch.ones(2), torch.ones(2)), None)
    assert replay(Pair(torch.ones(2), torch.ones(2)), None)[1]["sum"].tolist() == [2, 2]


def test_what_is_no_input_is_frozen() -> None:
    """The stand-in can show staleness, so that the test below means something."""
    factor = [2.0]
    replay = Replay(lambda x: x * factor[0], Tracer())
    assert replay(torch.ones(1)).item() == 2.0
    factor[0] = 3.0
    assert replay(torch.ones(1)).item() == 2.0


def scripted(env: LocomotionEnv, steps: int) -> Iterator[dict[str, Tensor]]:
    """Every tensor of a rollout in which each setting changes at some time."""
    device, generator = env.backend.device, torch.Generator().manual_seed(1)
    home = env.robot.home_qpos.repeat(3, 1)
    home[:, 2] += 0.02
    root = env.reset()
    saved = env.get_sim_state()
    for step in range(steps):
        if env.config.support is not None:
            quat = torch.tensor([[1.0, 0.0, 0.0, 0.0]], device=device).repeat(env.num_envs, 1)
            env.set_support_targets(torch.full((env.num_envs,), 0.4 + 0.01 * step).to(device), quat)
        if step == steps // 6:
            env.set_commands(torch.full((env.num_envs,), 0.3))
        if step == steps // 4:
            env.set_commands(torch.full((env.num_envs,), 0.4))
        if step == steps // 3:
            env.set_commands(None)
            velocity = torch.tensor([0.11, 0.12, 0.13])
            env.set_start_states(home, 0 * home[:, 1:], velocity, 0.5)
        if step == steps // 2:
            env.set_start_states(home[:2], 0 * home[:2, 1:], torch.tensor([0.3, 0.4]), 0.9)
            mask = torch.arange(env.num_envs, device=device) == 1
            everyone = home[:1].repeat(env.num_envs, 1)
            env.set_state(mask, everyone, 0 * everyone[:, 1:])
        if step == 2 * steps // 3:
            env.set_sim_state(saved)
            root = env.reset()
        if step == 5 * steps // 6:
            env.set_seed(3)
        action = 3 * torch.rand(env.num_envs, 8, generator=generator) - 1.5
        taken, root = env.step_and_maybe_reset(root.set("action", action.to(device)))
        yield dict(taken.clone().flatten_keys().items()) | {
            f"root.{key}": value.clone() for key, value in root.items()
        }


@pytest.mark.parametrize("config", TASKS.values(), ids=TASKS)
def test_a_recorded_environment_is_the_environment(
    monkeypatch: pytest.MonkeyPatch, config: LocomotionConfig
) -> None:
    plain = list(scripted(LocomotionEnv(config, NUM, seed=4), 60))
    tracers: list[Tracer] = []

    def traced(function: Callable[..., Any], device: torch.device) -> Replay:
        tracers.append(Tracer())
        return Replay(function, tracers[-1])

    monkeypatch.setattr(envs.locomotion, "recorded", traced)
    monkeypatch.setattr(envs.reality.reality, "recorded", traced)
    replayed = list(scripted(LocomotionEnv(config, NUM, seed=4), 60))
    for step, (one, other) in enumerate(zip(plain, replayed, strict=True)):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert torch.equal(value, other[key]), (step, key)
    # act, step, begin and support once, step and start again as commands are held or let go,
    # start for each set of states; what is between task and engine once or twice each. Nothing is
    # recorded in every step.
    assert sum(tracer.count for tracer in tracers) <= 24


# With a GPU


@pytest.fixture(params=TASKS)
def gpu_env(request: pytest.FixtureRequest) -> LocomotionEnv:
    return LocomotionEnv(TASKS[request.param], 256, physics="warp", seed=4)


@pytest.mark.gpu
@pytest.mark.parametrize("config", TASKS.values(), ids=TASKS)
def test_each_graph_computes_what_its_function_does(
    monkeypatch: pytest.MonkeyPatch, config: LocomotionConfig
) -> None:
    """In every call of 120 steps with resets and changed settings, to the last bit."""
    calls = []

    def checked(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        replay = recorded(function, device)
        assert isinstance(replay, Replay)

        def both(*inputs: Any) -> Any:
            expected, got = function(*inputs), replay(*inputs)
            for one, other in zip(tensors(expected), tensors(got), strict=True):
                assert torch.equal(one, other)
            calls.append(function)
            return got

        return both

    monkeypatch.setattr(envs.locomotion, "recorded", checked)
    env = LocomotionEnv(config, 256, physics="warp", seed=4)
    ended = [bool(step["next.done"].any()) for step in scripted(env, 120)]
    assert len(calls) > 3 * 120
    assert any(ended) or not config.auto_reset


@pytest.mark.gpu
def test_steps_record_nothing_wait_for_nothing_and_keep_their_memory(
    gpu_env: LocomotionEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in scripted(gpu_env, 24):
        pass
    action = torch.zeros(gpu_env.num_envs, 8, device=gpu_env.backend.device)
    root = gpu_env.reset()

    def run(steps: int, root: Any) -> Any:
        for _ in range(steps):
            _, root = gpu_env.step_and_maybe_reset(root.set("action", action))
        return root

    def never(*_: Any) -> None:
        raise AssertionError("recorded amid a rollout")

    root = run(3, root)
    monkeypatch.setattr(Replay, "_prepare", never)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    try:
        torch.cuda.set_sync_debug_mode("error")
        root = run(50, root)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


@pytest.mark.gpu
def test_a_resumed_generator_draws_on(gpu_env: LocomotionEnv) -> None:
    """Draws are made outside of the graphs, so a saved state brings the same ones back."""
    gpu_env.reset()
    saved = {key: value.clone() for key, value in gpu_env.get_sim_state().items()}
    first = gpu_env.reset()["observation"].clone()
    gpu_env.set_sim_state(saved)
    gpu_env.reset()  # the saved root
    assert torch.equal(gpu_env.reset()["observation"], first)
