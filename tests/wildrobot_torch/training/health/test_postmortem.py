"""wildrobot_torch.training.health.postmortem: what is dumped, and trainings made to go wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.cli.main import main
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.training.callbacks import Alarms
from wildrobot_torch.training.health.postmortem import write_postmortem

SCENARIO = "commands: [0.2]\nepisodes: 2\nseconds: 0.1\nsettle_s: 0.04\n"
ENVS, STEPS = 4, 4


def _rollout() -> TensorDict:
    """Six robots, five steps."""
    number = torch.arange(30.0).reshape(6, 5, 1)
    following = TensorDict({"reward": number, "done": number > 20.0}, batch_size=[6, 5])
    return TensorDict({"action": number.repeat(1, 1, 2), "next": following}, batch_size=[6, 5])


def test_a_dump_holds_the_rollout_and_the_metrics(tmp_path: Path):
    history = [{"Loss/kl": 0.5}, {"Loss/kl": math.nan, "Loss/value": math.inf}]
    where = tmp_path / "postmortem" / "7"
    write_postmortem(where, "it broke", history, _rollout())
    tensors = torch.load(where / "batch.pt", weights_only=True)
    assert set(tensors) == {"action", "next/reward", "next/done", "environments"}
    assert tensors["action"].shape == (6, 5, 2)
    assert tensors["environments"].tolist() == [0, 1, 2, 3, 4, 5]
    record = json.loads((where / "metrics.json").read_text())
    assert (record["iteration"], record["reason"]) == (7, "it broke")
    assert record["metrics"] == [{"Loss/kl": 0.5}, {"Loss/kl": "nan", "Loss/value": "inf"}]


def test_a_large_rollout_is_cut_down_to_the_robots_that_broke(tmp_path: Path):
    rollout = _rollout()
    rollout["action"][4, 2, 1] = torch.nan
    # 5 steps of 3 floats and a truth value are 65 byte per robot: two fit.
    where = tmp_path / "1"
    write_postmortem(where, "", [], rollout, max_bytes=2 * 65 + 64)
    tensors = torch.load(where / "batch.pt", weights_only=True)
    assert tensors["environments"].tolist() == [4, 0]
    assert tensors["next/reward"][:, 0, 0].tolist() == [20.0, 0.0]
    # The least that is kept is one robot.
    write_postmortem(where, "", [], rollout, max_bytes=1)
    assert torch.load(where / "batch.pt", weights_only=True)["environments"].tolist() == [4]


class _Training(torch.nn.Linear):
    """What the alarms see of a training: settings, networks, metrics."""

    ppo, amp = PPOConfig(), AMPConfig()

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.metrics: dict[str, float] = {}


def test_a_collapse_is_told_once_and_dumped_the_first_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    alarms, module = Alarms(tmp_path), _Training()
    trainer: Any = SimpleNamespace(global_step=0, is_global_zero=True)
    alarms.on_train_start(trainer, module)
    told: dict[int, list[str]] = {}
    spread = [0.1] * 30 + [0.001] * 30 + [0.1] * 5 + [0.001] * 30
    for iteration, std in enumerate(spread, start=1):
        trainer.global_step = iteration - 1
        alarms.on_train_batch_start(trainer, module, _rollout(), 0)
        module.metrics = {"AMP/style_reward_std": std}
        trainer.global_step = iteration  # the iteration's last update counts it
        alarms.on_train_batch_end(trainer, module, None, _rollout(), 0)
        if lines := capsys.readouterr().err.splitlines():
            told[iteration] = lines
    # 20 constant iterations make a collapse: the 31st to the 50th, and the 66th to the 85th.
    assert list(told) == [50, 85]
    warning, where = told[50]
    assert warning.startswith("warning: style reward constant: `AMP/style_reward_std` is 0.001")
    assert where == f"post-mortem: {tmp_path / 'postmortem' / '50'}"
    assert len(told[85]) == 1 and "since iteration 66" in told[85][0]
    assert [path.name for path in (tmp_path / "postmortem").iterdir()] == ["50"]
    record = json.loads((tmp_path / "postmortem" / "50" / "metrics.json").read_text())
    assert len(record["metrics"]) == 50 and "style reward constant" in record["reason"]


# Trainings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _fit(tmp_path: Path, *more: str) -> int:
    """Exit code of a small training of 4 iterations, one update and one checkpoint in each."""
    (tmp_path / "short.yaml").write_text(SCENARIO)
    arguments = [
        "fit", "--run.folder", str(tmp_path), "--run.name", "test",
        "--run.env_steps", str(4 * ENVS * STEPS), "--data.num_envs", str(ENVS),
        "--data.num_steps", str(STEPS), "--data.num_threads", "1",
        "--data.iterations_per_epoch", "1", "--data.evaluation", str(tmp_path / "short.yaml"),
        "--model.network.hidden", "[8]", "--model.ppo.num_epochs", "1",
        "--model.ppo.num_minibatches", "1",
    ]  # fmt: skip
    return main([*arguments, *more])


def _good_checkpoint(run: Path, iteration: int) -> None:
    checkpoint: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == iteration
    assert all(x.isfinite().all() for x in checkpoint["state_dict"].values())


def test_networks_that_overflow_in_an_update_end_the_run_before_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert _fit(tmp_path, "--run.env_steps", str(ENVS * STEPS)) == 0
    (good,) = tmp_path.glob("test/*")
    _good_checkpoint(good, iteration=1)
    capsys.readouterr()
    # The losses of a lone update are taken before its step, so they are finite.
    wild = ("--model.ppo.learning_rate", "1e45", "--model.ppo.learning_rate_max", "1e45",
            "--model.ppo.learning_rate_factor", "1")  # fmt: skip
    assert _fit(tmp_path, "--ckpt_path", str(good / "checkpoints" / "last.ckpt"), *wild) == 1
    (run,) = set(tmp_path.glob("test/*")) - {good}
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: the networks are not finite after iteration 2: policy.")
    dump = run / "postmortem" / "2"
    assert f"post-mortem: {dump}" in lines
    assert not list(run.glob("checkpoints/*"))
    record = json.loads((dump / "metrics.json").read_text())
    assert len(record["metrics"]) == 1 and "networks are not finite" in record["reason"]
    tensors = torch.load(dump / "batch.pt", weights_only=True)
    assert tensors["action"].shape == (ENVS, STEPS, 8)


def test_a_nan_in_a_rollout_is_dumped_with_its_robot_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    draw = torch.randn_like

    def broken(like: torch.Tensor) -> torch.Tensor:
        """Noise of the exploration, bad for robot 3 once the first checkpoint is written."""
        noise = draw(like)
        if like.shape == (ENVS, 8) and list(tmp_path.glob("test/*/checkpoints/last.ckpt")):
            noise[3] = torch.nan
        return noise

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn_like", broken)
        assert _fit(tmp_path) == 1
    (run,) = tmp_path.glob("test/*")
    _good_checkpoint(run, iteration=1)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "is nan in iteration 2 (environment 3" in error
    tensors = torch.load(run / "postmortem" / "2" / "batch.pt", weights_only=True)
    assert tensors["environments"][0] == 3
    assert tensors["action"][0].isnan().all() and not tensors["action"][1:].isnan().any()
    # The checkpoint is as good as any: from there it goes on.
    assert _fit(tmp_path, "--ckpt_path", str(run / "checkpoints" / "last.ckpt")) == 0
