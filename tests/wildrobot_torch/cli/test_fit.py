"""wildrobot_torch.cli.fit: configuration files, and errors of one line that write nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml

from wildrobot_torch.cli.main import main

CONFIGS = Path(__file__).parents[3] / "configs"
OVERLAYS = ("walking", "standing", "walking_amp", "laptop", "gpu", "demo")


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


def test_base_holds_every_setting_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("wildrobot_torch.cli.fit.BASE_CONFIG", tmp_path / "none.yaml")
    defaults = _leaves(_printed(capsys))
    defaults.pop("ckpt_path")
    base = _leaves(yaml.safe_load((CONFIGS / "base.yaml").read_text()))
    assert base == defaults


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
        "--config", str(CONFIGS / "walking.yaml"), "--config", str(CONFIGS / "demo.yaml"),
        "--model.ppo.gamma", "0.97",
    )  # fmt: skip
    assert merged["run"]["env_steps"] == 6_000_000
    assert merged["trainer"]["max_time"] == "00:00:14:00"
    assert merged["model"]["ppo"]["gamma"] == 0.97


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--model.ppo.gama", "0.9"], "--model.ppo.gama", "did you mean model.ppo.gamma?"),
        (["--data.num_envz", "9"], "--data.num_envz", "did you mean data.num_envs?"),
        (["--model.amp.wieght", "1"], "wieght", "did you mean model.amp.weight?"),
        (["--model.ppo.gamma", "many"], "many", None),
        (["--model.ppo.gamma", "1.5"], "ppo.gamma is 1.5; allowed: 0 to 1", None),
        (["--model.ema_decay", "1"], "model.ema_decay", None),
        (
            ["--model.network.asymmetry", "0"],
            "network.deployed_asymmetry is 0.1; allowed: 0 to network.asymmetry, 0.0",
            None,
        ),
        (["--data.num_envs", "0"], "data.num_envs", None),
        (["--data.env.sim_dt", "0.003"], "integer multiple", None),
        (
            ["--data.physics", "imaginary"],
            "physics is 'imaginary'; allowed: native, warp, warp-cpu, auto",
            None,
        ),
        pytest.param(["--data.physics", "warp"], "use native", None, marks=WITHOUT_GPU),
        (
            ["--data.physics", "native", "--trainer.accelerator", "gpu"],
            "physics 'native' computes on cpu, the trainer on gpu",
            None,
        ),
        (["--data.evaluation", "nowhere"], "scenario 'nowhere' is unknown", None),
        (["--data.reference", "nowhere.npz"], "nowhere.npz: no such file", None),
        (["--data.reference_tiers.best", "0"], "reference_tiers names the tiers ['best']", None),
        (["--data.reference_tiers", '{"0": 9}'], "0 for at least one tier", None),
        (["--model.amp", "{}"], "needs reference motion", None),
        (["--trainer.max_time", "8min"], "write DD:HH:MM:SS", None),
        (["--config", "nowhere.yaml"], "nowhere.yaml", None),
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt", None),
    ],
)
def test_requests_that_cannot_be_met_end_in_one_line_and_code_2(
    arguments: list[str],
    message: str,
    hint: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    runs = tmp_path / "runs"
    size = ["--data.num_envs", "2", "--data.num_threads", "1", "--run.folder", str(runs)]
    assert main(["fit", *size, *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1:] == ([hint] if hint else [])
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
    assert "data.env.command.velocity_maximum" in error
    assert "did you mean data.env.command.velocity_max?" in error


def test_a_key_given_twice_in_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.yaml"
    path.write_text("data:\n  num_envs: 2\n  num_envs: 4\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(path), "--print_config"])
    assert stop.value.code == 2
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


def test_help_fits_on_a_screen(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "fit" in text and "validate" in text
    assert len(text.splitlines()) < 30
