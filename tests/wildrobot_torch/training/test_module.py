"""Short trainings on the real environment, through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.config import POLICY_SETTINGS, TRAINED_SETTINGS, LocomotionConfig
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.physics.capacities import Capacities, read_capacities
from wildrobot_torch.cli.main import main
from wildrobot_torch.ppo.policy_file import read_checkpoint
from wildrobot_torch.reference.dataset import ReferenceDataset

ROOT = Path(__file__).parents[3]
SCENARIO = "commands: [0.2]\nepisodes: 2\nseconds: 0.3\nsettle_s: 0.1\n"
ENVS, STEPS = 8, 6


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Sums of floats depend on the number of threads; one is also the fastest at this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario, and a reference made of robots that do nothing in particular."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "short.yaml").write_text(SCENARIO)
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    td, rows = env.reset(), []
    for _ in range(180):
        td.set("action", torch.zeros(1, 8))
        _, td = env.step_and_maybe_reset(td)
        state = env.backend.state()
        rows.append((td["amp"][0].clone(), state.qpos[0].clone(), state.qvel[0].clone()))
    amp, qpos, qvel = (torch.stack(column) for column in zip(*rows, strict=True))
    ReferenceDataset(
        amp=amp,
        qpos=qpos,
        qvel=qvel,
        foot_force=torch.zeros(len(qvel), 2),
        support_wrench=torch.zeros(len(qvel), 6),
        segment_start=30 * torch.arange(6),
        segment_length=torch.full((6,), 30),
        segment_weight=torch.ones(6),
        segment_velocity=torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.25]),
        segment_clip=("a", "b", "held_out", "d", "e", "late"),
        segment_tier=("0+", "0+", "0+", "0", "0", "1"),
        segment_support=("none",) * 5 + ("harness",),
        ctrl_dt=0.02,
        amp_layout=env.layouts["amp"],
        robot_digest=env.robot.digest,
        manifest={},
    ).save(folder / "reference.npz")
    return folder


def _arguments(files: Path, runs: Path, iterations: int, amp: bool) -> list[str]:
    """The command line of a training of some iterations, two per epoch."""
    arguments = [
        "fit", "--run.folder", str(runs), "--run.name", "test",
        "--run.env_steps", str(iterations * ENVS * STEPS), "--data.num_envs", str(ENVS),
        "--data.num_steps", str(STEPS), "--data.num_threads", "1",
        "--data.iterations_per_epoch", "2", "--data.evaluation", str(files / "short.yaml"),
        "--model.network.hidden", "[16]", "--model.ppo.num_epochs", "2",
        "--model.ppo.num_minibatches", "2",
    ]  # fmt: skip
    if amp:
        arguments += [
            "--data.reference", str(files / "reference.npz"), "--model.amp.hidden", "[16]",
            # The last segment joins in the second iteration.
            "--data.reference_tiers.1", str(ENVS * STEPS),
            "--model.amp.num_updates", "2", "--model.amp.batch_size", "8",
        ]  # fmt: skip
    return arguments


def _fit(files: Path, runs: Path, iterations: int, *more: str, amp: bool = True) -> Path:
    """Run folder of a training of some iterations, two per epoch."""
    before = set(runs.glob("test/*"))
    assert main([*_arguments(files, runs, iterations, amp), *more]) == 0
    (folder,) = set(runs.glob("test/*")) - before
    return folder


def test_with_a_walking_reference_evaluations_measure_how_near_the_motion_is(
    files: Path, tmp_path: Path
) -> None:
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    standing = ReferenceDataset.load(files / "reference.npz", env.layouts["amp"], env.robot.digest)
    qvel = standing.qvel.clone()
    qvel[:, 0] = 0.3
    walking = replace(
        standing, qvel=qvel, segment_start=60 * torch.arange(3),
        segment_length=torch.full((3,), 60), segment_weight=torch.ones(3),
        segment_velocity=torch.full((3,), 0.3), segment_clip=("a", "b", "c"),
        segment_tier=("0+",) * 3, segment_support=("none",) * 3,
    )  # fmt: skip
    walking.save(tmp_path / "walking.npz")
    given = ("--data.reference", str(tmp_path / "walking.npz"), "--data.validation_split", "0")
    metrics = _load(_fit(files, tmp_path, 2, *given))["wildrobot"]["metrics"]
    # Two robots of 10 steps after settling have windows of six frames.
    assert metrics["style_distance"] > 0.0
    alone = _load(_fit(files, tmp_path, 2, amp=False))["wildrobot"]["metrics"]
    assert "style_distance" not in alone and alone["rank"] == alone["score"]


def _load(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Leaves of nested containers by path."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {name: value}
    return {k: v for key, inner in items for k, v in _flat(inner, f"{name}/{key}").items()}


def test_a_training_leaves_a_complete_run_folder(files: Path, tmp_path: Path):
    folder = _fit(files, tmp_path, 3)
    checkpoint = _load(folder)
    # Three iterations of 2 x 2 optimiser steps with two optimisers: Lightning counts iterations.
    assert checkpoint["global_step"] == 3
    about = checkpoint["wildrobot"]
    assert about["env_steps"] == 3 * ENVS * STEPS
    # What a policy's behaviour depends on: a renamed reward term leaves its file readable.
    assert about["env_config"].keys() == set(POLICY_SETTINGS)
    assert about["trained_task"].keys() == set(TRAINED_SETTINGS) and about["seed"] == 0
    size = Layout.from_dict(about["observation_layout"]).size
    assert size == 6 * 30 + 4  # the profile robot with its history
    assert {"fall_rate", "velocity_error", "score"} <= about["metrics"].keys()
    # The reference stands, so there is no style to rank by.
    assert about["metrics"]["rank"] == about["metrics"]["score"]

    policy = read_checkpoint(folder / "checkpoints" / "last.ckpt").actor
    # Every observation and its mirror image.
    assert float(policy.normalizer.count) == 2 * 3 * ENVS * STEPS
    assert policy.act(torch.zeros(1, size)).shape == (1, 8)

    written = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "command.txt", "environment.json", "metrics.csv"} <= written
    assert len(list(folder.glob("checkpoints/best-*.ckpt"))) == 1
    assert list(folder.glob("tensorboard/events*"))
    table = np.genfromtxt(folder / "metrics.csv", delimiter=",", names=True)
    heading = (folder / "metrics.csv").read_text().splitlines()[0]
    for name in (
        "Reward/track_lin_vel_x", "Metrics/velocity_error", "Loss/surrogate", "AMP/style_reward",
        "AMP/grad_penalty", "Perf/total_fps", "Evaluation/fall_rate",
    ):  # fmt: skip
        assert name in heading
    assert set(table["step"]) == {ENVS * STEPS * n for n in (1, 2, 3)}


@pytest.mark.parametrize("amp", [False, True], ids=["ppo", "amp"])
@pytest.mark.parametrize("first", [2, 3], ids=["epoch_end", "amid_epoch"])
def test_a_resumed_training_equals_one_that_never_stopped(
    files: Path, tmp_path: Path, amp: bool, first: int
):
    whole = _load(_fit(files, tmp_path / "whole", 4, amp=amp))
    part = _fit(files, tmp_path / "part", first, amp=amp)
    last = str(part / "checkpoints" / "last.ckpt")
    resumed = _load(_fit(files, tmp_path / "part", 4, "--ckpt_path", last, amp=amp))
    _require_same_training(whole, resumed)


def _require_same_training(whole: dict[str, Any], other: dict[str, Any]) -> None:
    for key in ("state_dict", "optimizer_states", "RolloutData", "training", "global_step"):
        expected, found = _flat(whole[key]), _flat(other[key])
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            same = (
                torch.equal(value, found[name])
                if isinstance(value, torch.Tensor)
                else value == found[name]
            )
            assert same, f"{key}{name} differs"


WARP = ("--data.physics", "warp-cpu")


@pytest.fixture(scope="module")
def warp_trained(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a training of two iterations on MuJoCo Warp."""
    return _fit(files, tmp_path_factory.mktemp("warp"), 2, *WARP)


def test_another_engine_is_one_setting(files: Path, warp_trained: Path):
    checkpoint = _load(warp_trained)
    assert checkpoint["wildrobot"]["physics"] == "warp-cpu"
    assert checkpoint["global_step"] == 2
    environment = json.loads((warp_trained / "environment.json").read_text())
    assert environment["physics"] == "warp-cpu"
    assert environment["packages"]["mujoco-warp"] is not None
    table = np.genfromtxt(warp_trained / "metrics.csv", delimiter=",", names=True)
    assert set(table["step"]) == {ENVS * STEPS, 2 * ENVS * STEPS}


def test_a_training_resumed_on_warp_equals_one_that_never_stopped(
    files: Path, warp_trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = _load(_fit(files, tmp_path / "whole", 3, *WARP))
    last = str(warp_trained / "checkpoints" / "last.ckpt")
    capsys.readouterr()
    resumed = _load(_fit(files, tmp_path / "part", 3, *WARP, "--ckpt_path", last))
    _require_same_training(whole, resumed)
    # Once: that this engine is none to train on.
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: physics 'warp-cpu' is for tests")


def test_a_training_goes_on_with_another_engine_and_fresh_simulations(
    files: Path, warp_trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    last = str(warp_trained / "checkpoints" / "last.ckpt")
    more = ("--ckpt_path", last, "--data.num_envs", str(2 * ENVS))
    resumed = _load(_fit(files, tmp_path, 4, *more))
    assert "ran on warp-cpu; on native they start afresh" in capsys.readouterr().err
    assert resumed["wildrobot"]["physics"] == "native"
    assert resumed["wildrobot"]["env_steps"] == 4 * ENVS * STEPS
    assert resumed["global_step"] == 3
    assert resumed["RolloutData"]["num_envs"] == 2 * ENVS


@pytest.fixture
def cramped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for one contact per robot: standing takes more."""

    def read(*arguments: Any) -> Capacities:
        return replace(read_capacities(*arguments), nconmax=1)

    monkeypatch.setattr("envs.physics.engines.read_capacities", read)


@pytest.mark.usefixtures("cramped")
def test_physics_without_room_for_its_contacts_ends_the_training(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([*_arguments(files, tmp_path, 2, amp=False), *WARP]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "BROADPHASE" in error
    assert "python tools/measure_capacities.py" in error
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_auto_is_the_engine_of_this_machine(files: Path, tmp_path: Path):
    checkpoint = _load(_fit(files, tmp_path, 1, "--data.physics", "auto", amp=False))
    here = "warp" if torch.cuda.is_available() else "native"
    assert checkpoint["wildrobot"]["physics"] == here


@pytest.mark.gpu
def test_a_training_on_a_gpu_is_resumed_there_and_elsewhere(files: Path, tmp_path: Path):
    gpu = ("--data.physics", "warp")
    first = _fit(files, tmp_path, 2, *gpu)
    last = str(first / "checkpoints" / "last.ckpt")
    checkpoint = _load(first)
    assert all(value.is_cuda for value in checkpoint["state_dict"].values())
    assert not any(value.is_cuda for value in checkpoint["RolloutData"]["simulation"].values())
    for physics in ("warp", "native"):
        resumed = _load(
            _fit(files, tmp_path / physics, 4, "--data.physics", physics, "--ckpt_path", last)
        )
        assert resumed["global_step"] == 4
        assert resumed["wildrobot"]["physics"] == physics


def test_a_resumed_training_learns_at_the_rates_it_is_given(files: Path, tmp_path: Path):
    part = _fit(files, tmp_path, 1)
    resumed = _load(
        _fit(
            files, tmp_path, 2, "--ckpt_path", str(part / "checkpoints" / "last.ckpt"),
            "--model.amp.learning_rate", "3e-5",
            "--model.ppo.learning_rate", "4e-5", "--model.ppo.learning_rate_factor", "1",
        )
    )  # fmt: skip
    ppo, disc = (state["param_groups"][0] for state in resumed["optimizer_states"])
    assert (ppo["lr"], disc["lr"]) == (4e-5, 3e-5)


FULL = (
    "--model.amp.window", "5", "--model.amp.loss", "bce", "--model.amp.reward", "clipped",
    "--model.amp.spectral_norm", "true", "--model.amp.input_noise", "0.02",
    "--model.amp.replay_share", "1.0", "--model.amp.ramp_end", "100",
    "--model.amp.ramp_gate", "[0.0, 1.0]",
    "--model.amp.features", "[gravity,linvel,angvel,joint_pos,joint_vel,sole_pos]",
    "--model.amp.stages", "[{add: [height, contact], limits: {fall_rate: {max: 1.0}}}]",
    "--model.ppo.gamma", "0.99", "--model.gamma_ramp.start", "0.96",
    "--model.gamma_ramp.begin", "48", "--model.gamma_ramp.end", "144",
)  # fmt: skip
"""Every option that is off by default; the stage begins with the first evaluation."""


def test_a_training_with_all_options_resumes_exactly(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole_run = _fit(files, tmp_path / "whole", 4, *FULL)
    assert "gamma ends" not in capsys.readouterr().err
    part = _fit(files, tmp_path / "part", 2, *FULL)
    assert "gamma ends at 0.980, not at ppo.gamma 0.99" in capsys.readouterr().err
    last = str(part / "checkpoints" / "last.ckpt")
    resumed = _load(_fit(files, tmp_path / "part", 4, *FULL, "--ckpt_path", last))
    whole = _load(whole_run)
    _require_same_training(whole, resumed)
    table = np.genfromtxt(whole_run / "metrics.csv", delimiter=",", names=True)
    stage, weight = (table[name][~np.isnan(table[name])] for name in ("AMPstage", "AMPweight"))
    assert stage.tolist() == [0.0, 0.0, 1.0, 1.0]
    # 48 steps in an iteration, all through the gate: they count from the next one on.
    assert weight.tolist() == pytest.approx([0.0, 0.48, 0.96, 1.0])
    # Horizons of 25, 50 and 100 steps.
    gamma = table["Policygamma"][~np.isnan(table["Policygamma"])]
    assert gamma.tolist() == pytest.approx([0.96, 0.98, 0.99, 0.99])
    state = whole["state_dict"]
    assert state["prior.discriminator.mask"].sum() == 34
    assert whole["training"]["style"]["history"]["past"].shape == (ENVS, 3, 34)


GROWING = (
    "--data.difficulty.stages", "{terms: [0.0, 0.5], push: [0.5, 1.0]}",
    "--data.difficulty.episodes", "6", "--data.difficulty.step", "0.2",
    "--data.env.randomization.mass", "{low: 0.9, high: 1.1}",
    "--data.env.push.impulse_max", "0.1", "--data.env.episode_length_s", "0.2",
)  # fmt: skip
"""Episodes of 10 steps, in which nobody has the time to fall."""


def test_a_difficulty_is_logged_shown_and_resumed_exactly(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole_run = _fit(files, tmp_path / "whole", 6, *GROWING, amp=False)
    assert re.search(r"iter +1 .* difficulty 0\.00", capsys.readouterr().out)
    part = _fit(files, tmp_path / "part", 4, *GROWING, amp=False)
    last = str(part / "checkpoints" / "last.ckpt")
    resumed = _load(_fit(files, tmp_path / "part", 6, *GROWING, "--ckpt_path", last, amp=False))
    whole = _load(whole_run)
    _require_same_training(whole, resumed)
    table = np.genfromtxt(whole_run / "metrics.csv", delimiter=",", names=True)
    rows = table[~np.isnan(table["Curriculumdifficulty"])]
    # Counted again, from what is logged of the ends of episodes.
    ended, value = 0, 0.0
    for row in rows:
        assert sum(row[f"Episodeend_{cause}"] for cause in ("height", "pitch", "roll")) == 0
        ended += row["Episodeend_time"]
        if ended >= 6:
            ended, value = 0, value + 0.2
        assert row["Curriculumdifficulty"] == pytest.approx(value)
        assert row["Curriculumterms"] == pytest.approx(min(value / 0.5, 1.0))
        assert row["Curriculumpush"] == pytest.approx(max(value / 0.5 - 1.0, 0.0))
    assert 0.4 <= value <= 1.0


def test_widths_of_terms_grow_and_resume_exactly(files: Path, tmp_path: Path):
    more = (
        "--data.difficulty.per_term", "true", *GROWING[2:],
        "--data.difficulty.episodes", "1", "--data.env.randomization.payload.low", "0",
        "--data.env.randomization.payload.high", "0.1",
    )  # fmt: skip
    whole_run = _fit(files, tmp_path / "whole", 6, *more, amp=False)
    part = _fit(files, tmp_path / "part", 4, *more, amp=False)
    last = str(part / "checkpoints" / "last.ckpt")
    resumed = _load(_fit(files, tmp_path / "part", 6, *more, "--ckpt_path", last, amp=False))
    _require_same_training(_load(whole_run), resumed)
    table = np.genfromtxt(whole_run / "metrics.csv", delimiter=",", names=True)
    mass, payload, mean = (
        table[f"Curriculum{name}"] for name in ("width_mass", "width_payload", "terms")
    )
    rows = ~np.isnan(mean)
    assert mean[rows] == pytest.approx((mass + payload)[rows] / 2)
    assert 0.0 < mean[rows][-1] <= 1.0 and (np.diff(mass[rows]) >= 0.0).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model.amp.ramp_start", "5000", "--model.amp.ramp_end", "9000"),
         "the style reward never counts"),
        (("--data.reference_tiers", "{'0': 0}", "--data.validation_split", "0"),
         "needs 3 clips of reference motion to train on, there are 2 (d, e)"),
        (("--model.amp.ramp_gate", "[0.6, 0.85]", "--model.amp.ramp_end", "9",
          "--data.validation_split", "0"), "needs reference motion that is held out"),
        (("--model.amp.features", "[gravity, elbow]"), "names elbow; a frame has gravity"),
        (("--model.amp.features", "[gravity]", "--model.amp.stages",
          "[{add: [height], limits: {falls: {max: 1.0}}}]"), "the evaluation has no falls; it has"),
    ],
    ids=["never_starts", "few_clips", "gate", "feature", "stage"],
)  # fmt: skip
def test_a_prior_that_cannot_work_is_refused_before_anything_is_written(
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
):
    assert main([*_arguments(files, tmp_path, 2, amp=True), *more]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not list(tmp_path.glob("test/*"))


def test_a_discriminator_that_diverges_is_named(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = _arguments(files, tmp_path, 2, amp=True)
    assert main([*arguments, "--model.amp.grad_penalty", "1e39"]) == 1
    error = capsys.readouterr().err
    assert re.search(r"AMP/disc_loss is (inf|nan) in iteration 1", error)
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_training_moves_every_network(files: Path, tmp_path: Path):
    first, last = (_load(_fit(files, tmp_path / str(n), n))["state_dict"] for n in (1, 3))
    assert all(not torch.equal(first[key], last[key]) for key in first if "weight" in key)


def test_what_is_deployed_is_the_average_of_the_iterations(files: Path, tmp_path: Path):
    runs = [_fit(files, tmp_path / str(n), n, "--model.ema_decay", "0.75") for n in (1, 2, 3)]
    name = "net.0.weight"
    one, two, three = (_load(run)["state_dict"][f"policy.{name}"] for run in runs)
    actor = read_checkpoint(runs[-1] / "checkpoints" / "last.ckpt").actor
    found = actor.state_dict()[name]
    # Of the first iterations little is left, whatever the share.
    torch.testing.assert_close(found, (2 * one + 39 * two) / 41 / 14 + 13 / 14 * three)
    assert float((found - three).abs().max()) > 1e-4
    assert actor.hparams["asymmetry"] == 0.1
    assert _load(runs[-1])["trained_actor"]["asymmetry"] == 0.2


@pytest.fixture(scope="module")
def trained(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a training of two iterations."""
    return _fit(files, tmp_path_factory.mktemp("runs"), 2)


def _altered(source: Path, target: Path, change: Any) -> str:
    checkpoint = torch.load(source / "checkpoints" / "last.ckpt", weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, target)
    return str(target)


def test_a_checkpoint_of_another_layout_is_refused_field_by_field(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["wildrobot"]["observation_layout"]["fields"][0]["frame"] = "world"

    path = _altered(trained, tmp_path / "other.ckpt", change)
    runs = tmp_path / "runs"
    arguments = ["fit", "--config", str(trained / "config.yaml"), "--run.folder", str(runs)]
    assert main([*arguments, "--ckpt_path", path]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: the checkpoint's observation")
    assert "gravity" in error and "world" in error and "\n" not in error
    assert not runs.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trained_actor", {"hidden": [9]}, "set model.network as it was"),
        ("training", {"amp": None}, "without a motion prior"),
        ("wildrobot", {"robot_digest": "0"}, "is for robot 0"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: dict[str, Any],
    message: str,
):
    path = _altered(trained, tmp_path / "other.ckpt", lambda saved: saved[key].update(value))
    runs = ["--run.folder", str(tmp_path / "runs")]
    arguments = ["fit", "--config", str(trained / "config.yaml"), *runs, "--ckpt_path", path]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error


def test_a_warm_start_goes_on_from_another_training_and_counts_from_zero(
    files: Path, tmp_path: Path
):
    first = _fit(files, tmp_path, 2, amp=False)
    before = _load(first)
    # So short a training with a learning rate of nearly nothing leaves the weights as they were.
    still = ("--model.ppo.learning_rate", "1e-12", "--model.ppo.learning_rate_min", "1e-13",
             "--model.ppo.learning_rate_max", "1e-12")  # fmt: skip
    path = str(first / "checkpoints" / "last.ckpt")
    second = _load(_fit(files, tmp_path, 1, "--model.warm_start", path, *still))
    assert second["wildrobot"]["env_steps"] == ENVS * STEPS
    for mine, its in (
        ("policy.net.0.weight", "averaged.module.net.0.weight"),
        ("critic.net.2.weight", "critic.net.2.weight"),
    ):
        torch.testing.assert_close(
            second["state_dict"][mine], before["state_dict"][its], atol=1e-8, rtol=0.0
        )
    counts = [run["state_dict"]["policy.normalizer.count"] for run in (before, second)]
    assert counts[1] == counts[0] + 2 * ENVS * STEPS


def _two_processes(
    files: Path, folder: Path, *more: str, bad_reward: str = ""
) -> subprocess.Popen[str]:
    """A training of 3 iterations by two processes, which leave <rank>.pt in the folder."""
    arguments = [*_arguments(files, folder / "runs", 6, amp=True), *more]
    arguments += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    here = {"PYTHONPATH": str(ROOT), "WITNESS_FOLDER": str(folder), "BAD_REWARD": bad_reward}
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("two_processes.py")), *arguments],
        env=os.environ | here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_share_weights_and_explore_apart(files: Path, tmp_path: Path):
    training = _two_processes(files, tmp_path)
    _, error = training.communicate()
    assert training.returncode == 0, error
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["noise"].shape == (3, ENVS, STEPS, 8)
    differs = ((one["noise"] - two["noise"]).abs() > 1e-5).flatten(1).double().mean(1)
    assert float(differs.min()) > 0.99
    assert one["networks"].keys() == two["networks"].keys()
    for name, value in one["networks"].items():
        assert torch.equal(value, two["networks"][name]), name
    checkpoint = _load(next((tmp_path / "runs/test").iterdir()))
    assert checkpoint["wildrobot"]["env_steps"] == 3 * 2 * ENVS * STEPS
    assert torch.equal(
        checkpoint["state_dict"]["policy.log_std"], one["networks"]["policy.log_std"]
    )


ONE_UPDATE = (
    "--model.ppo.num_epochs", "1", "--model.ppo.num_minibatches", "1",
    "--model.amp.num_updates", "1",
)  # fmt: skip


@pytest.mark.parametrize(
    ("reward", "more", "message"),
    [
        ("nan", (), "reward is nan in iteration 2"),
        # Its square is beyond the largest float32, its gradient is not: this process alone sees it,
        # after the last update.
        ("3e19", ONE_UPDATE, "Loss/value is inf in iteration 2"),
    ],
    ids=["rollout", "last_loss"],
)
def test_a_process_that_diverges_stops_both(
    files: Path, tmp_path: Path, reward: str, more: tuple[str, ...], message: str
):
    training = _two_processes(files, tmp_path, *more, bad_reward=reward)
    _, error = training.communicate()
    assert training.returncode == 1
    assert message in error
    # The first process ends by itself, with its own post-mortem.
    record = json.loads(next(tmp_path.glob("runs/test/*/postmortem/2/metrics.json")).read_text())
    assert record["reason"] == "another process failed in iteration 2"
    assert not list(tmp_path.glob("*.pt"))
