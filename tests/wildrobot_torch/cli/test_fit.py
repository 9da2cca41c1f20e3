"""wildrobot_torch.cli.fit: configuration files, and errors of one line that write nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml

from wildrobot_torch.cli import fit
from wildrobot_torch.cli.main import main

CONFIGS = Path(__file__).parents[3] / "configs"
OVERLAYS = ("walking", "standing", "walking_amp", "walking_robot", "gpu", "demo")


WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["fit", *arguments, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def _leaves(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_accepted_and_change_only_what_they_hold(
    overlay: str, capsys: pytest.CaptureFixture[str]
):
    path = CONFIGS / f"{overlay}.yaml"
    own = _leaves(yaml.safe_load(path.read_text()))
    before, after = _leaves(_printed(capsys)), _leaves(_printed(capsys, "--config", str(path)))
    changed = {name for name in after if after[name] != before.get(name)}
    if "model.amp.weight" in own:
        # Without a prior, null stands for the whole group.
        changed = {name for name in changed if not name.startswith("model.amp")}
    assert changed <= own.keys()
    assert all(after[name] == value for name, value in own.items())


def test_later_files_and_options_win(capsys: pytest.CaptureFixture[str]):
    merged = _printed(
        capsys,
        "--config", "walking", "--config", str(CONFIGS / "demo.yaml"),
        "--model.ppo.gamma", "0.97",
    )  # fmt: skip
    assert merged["run"]["env_steps"] == 11_000_000
    assert merged["model"]["ppo"]["gamma"] == 0.97


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.ppo.gama", "0.9"], "--model.ppo.gama 0.9; did you mean --model.ppo.gamma?"),
        (["--data.num_envz", "9"], "did you mean --data.num_envs?"),
        (["--data.num_env", "9"], "did you mean --data.num_envs?"),
        (["--model.amp.wieght", "1"], "'wieght' is not accepted; did you mean --model.amp.weight?"),
        (["--run.wandb", "x"], "did you mean --wandb?"),
        (["--wandb", "false"], "wandb is false; allowed: project name or null"),
        (["--model.ppo.gamma", "many"], "model.ppo.gamma is"),
        (["--model.ppo.gamma", "1.5"], "ppo.gamma is 1.5; allowed: "),
        (["--model.ema_decay", "1"], "model.ema_decay is 1; allowed: "),
        (["--model.network.asymmetry", "0"], "network.deployed_asymmetry is 0.1; allowed with"),
        (["--model.amp", "7"], "model.amp is 7; allowed: a group of settings or null"),
        (
            ["--data.env.randomization.mass", "{low:1,high:2}"],  # no YAML without spaces
            "mass is {low:1,high:2}; allowed: a group of settings or null",
        ),
        (["--data.env.randomization.mass", "{sd: 1, low: 1}"], "give low and high, or sd alone"),
        (["--data.env.randomization.mass", "{low: -1, high: 1}"], "from -1 to 1; allowed: 0.05"),
        (["--data.num_envs", "0"], "data.num_envs is 0"),
        (["--data.num_threads", "all"], "data.num_threads is"),
        (["--data.env.sim_dt", "0.003"], "integer multiple"),
        (["--data.physics", "imaginary"], "physics is 'imaginary'; allowed: native, warp"),
        pytest.param(["--data.physics", "warp"], "use native", marks=WITHOUT_GPU),
        (["--data.evaluation", "nowhere"], "scenario 'nowhere' is unknown"),
        (["--data.reference", "nowhere.npz"], "nowhere.npz: no such file"),
        (["--data.reference_tiers.best", "0"], "reference_tiers names the tiers ['best']"),
        (["--data.reference_tiers", '{"0": 9}'], "0 for at least one tier"),
        (["--model.amp", "{}"], "needs reference motion"),
        (["--trainer.max_time", "8min"], "write DD:HH:MM:SS"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt"),
        (["--ckpt_path", __file__], "--ckpt_path"),
    ],
)
def test_requests_that_cannot_be_met_end_in_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runs = tmp_path / "runs"
    size = ["--data.num_envs", "2", "--data.num_threads", "1", "--run.folder", str(runs)]
    assert main(["fit", *size, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not runs.exists()


def test_an_engine_that_is_not_installed_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    monkeypatch.delitem(sys.modules, "envs.physics.warp", raising=False)
    runs = tmp_path / "runs"
    assert main(["fit", "--data.physics", "warp-cpu", "--run.folder", str(runs)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: physics is 'warp-cpu'") and "\n" not in error
    assert "pip install -e '.[warp]'" in error
    assert not runs.exists()


def test_a_misspelt_key_in_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.yaml"
    path.write_text("data:\n  env:\n    command: {velocity_maximum: 0.3}\n")
    assert main(["fit", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert "env.command.velocity_maximum" in error
    assert "did you mean --data.env.command.velocity_max?" in error


def test_a_key_given_twice_in_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.yaml"
    path.write_text("data:\n  num_envs: 2\n  num_envs: 4\n")
    assert main(["fit", "--config", str(path), "--print_config"]) == 2
    error = capsys.readouterr().err.strip()
    assert "key 'num_envs' is given twice" in error and "\n" not in error


def test_tiers_of_an_overlay_replace_those_of_the_base_and_an_option_adds_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    overlay = tmp_path / "strict.yaml"
    overlay.write_text('data: {reference_tiers: {"0+": 0}}')
    later = ("--data.reference_tiers.1", "5000")
    assert _printed(capsys, *later)["data"]["reference_tiers"] == {"0+": 0, "0": 0, "1": 5000}
    settings = _printed(capsys, "--config", str(overlay), *later)
    assert settings["data"]["reference_tiers"] == {"0+": 0, "1": 5000}


def test_a_missing_wandb_is_one_line_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def absent(**_: object) -> None:
        raise ModuleNotFoundError("wandb")

    monkeypatch.setattr(fit, "WandbLogger", absent)
    assert main(["fit", "--wandb", "mine", "--run.folder", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.endswith("pip install wandb\n") and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_help_fits_on_a_screen_and_all_of_it_names_each_setting(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["fit", "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 25
    assert main(["fit", "--help_all"]) == 0
    everything = capsys.readouterr().out
    assert "--model.ppo.gamma" in everything and "Discount per control step" in everything


# Folders


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path):
    barrier, found = threading.Barrier(8), []

    def run() -> None:
        barrier.wait()
        with fit.new_folder(tmp_path / "test") as folder:
            (folder / "file").touch()
            found.append(folder)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8
    assert all((folder / "file").is_file() for folder in found)


def test_a_folder_that_stays_empty_is_taken_away_and_what_was_there_stays(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(KeyError), fit.new_folder(tmp_path / "runs" / "a" / "b") as folder:
        assert folder.is_dir()
        raise KeyError
    assert list((tmp_path / "runs").iterdir()) == []


# Trainings


def _tiny(tmp_path: Path, *more: str) -> list[str]:
    """Words of a training that takes a blink per iteration, 1000 of them."""
    scenario = tmp_path / "short.yaml"
    scenario.write_text("commands: [0.2]\nepisodes: 2\nseconds: 0.3\nsettle_s: 0.1\n")
    sizes = {
        "run.folder": tmp_path / "runs", "run.name": "test", "run.env_steps": 8 * 6 * 1000,
        "data.num_envs": 8, "data.num_steps": 6, "data.num_threads": 1,
        "data.evaluation": scenario, "data.iterations_per_epoch": 4,
        "model.network.hidden": "[16]", "model.ppo.num_epochs": 2, "model.ppo.num_minibatches": 2,
    }  # fmt: skip
    return ["fit", *(f"--{name}={value}" for name, value in sizes.items()), *more]


def _interrupted(words: list[str], number: int, metrics: Path, rows: int) -> int:
    """Exit code of a training that gets a signal once its log has some rows."""

    def interrupt() -> None:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            logs = list(metrics.glob("test/*/metrics.csv"))
            if logs and len(logs[0].read_text().splitlines()) > rows:
                break
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        return main(words)
    finally:
        thread.join()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_saves_says_where_and_goes_on_from_there(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    runs = tmp_path / "runs"
    assert _interrupted(_tiny(tmp_path), number, runs, rows=6) == 128 + number
    assert {which: signal.getsignal(which) for which in before} == before
    (path,) = runs.glob("test/*/checkpoints/last.ckpt")
    error = capsys.readouterr().err
    assert f"--ckpt_path {path}" in error and str(path.parents[1] / "config.yaml") in error
    saved = torch.load(path, weights_only=True)
    step = saved["global_step"]
    assert step >= 4 and saved["wildrobot"]["env_steps"] == step * 8 * 6

    # What goes on from it learns what an uninterrupted training does.
    end = f"--run.env_steps={(step + 3) * 8 * 6}"
    resumed = _tiny(tmp_path, end, f"--ckpt_path={path}", f"--run.folder={tmp_path / 'resumed'}")
    whole = _tiny(tmp_path, end, f"--run.folder={tmp_path / 'whole'}")
    weights = []
    for words, folder in ((resumed, "resumed"), (whole, "whole")):
        assert main(words) == 0
        (last,) = (tmp_path / folder).glob("test/*/checkpoints/last.ckpt")
        weights.append(torch.load(last, weights_only=True)["state_dict"])
    torch.testing.assert_close(weights[0], weights[1], rtol=0.0, atol=0.0)


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path):
    words = _tiny(tmp_path, "--model.ppo.num_epochs=300")
    with subprocess.Popen(
        [sys.executable, "-m", "wildrobot_torch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        while not process.stdout.readline().startswith("iter "):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.stderr.readline().startswith("interrupted")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "saved" not in process.stderr.read()
    assert not list(tmp_path.glob("runs/test/*/checkpoints/last.ckpt"))


@pytest.mark.slow
def test_two_trainings_started_at_once_both_end_well(tmp_path: Path):
    words = _tiny(tmp_path, f"--run.env_steps={8 * 6 * 4}")
    command = [sys.executable, "-m", "wildrobot_torch", *words]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(list(tmp_path.glob("runs/test/*/checkpoints/last.ckpt"))) == 2
