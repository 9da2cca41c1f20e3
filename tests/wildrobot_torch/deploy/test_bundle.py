"""Tests of deploy/bundle.py, card.py, golden.py, inspect.py: what is written and refused."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.errors import UserError
from tests.wildrobot_torch.deploy.conftest import robot_task
from wildrobot_torch.cli.main import main
from wildrobot_torch.deploy.bundle import report_files, write_bundle, write_checked, zip_bytes
from wildrobot_torch.deploy.inspect import inspect
from wildrobot_torch.deploy.runtime.bundle import Bundle, BundleError, GoldenRun
from wildrobot_torch.files import WALKING_POLICY


def test_everything_is_in_it_and_it_is_small(bundle_zip: Path) -> None:
    with zipfile.ZipFile(bundle_zip) as archive:
        assert archive.namelist() == [
            "LICENSE", "MODEL_CARD.md", "checksums.json", "golden.npz", "policy.onnx",
            "robot.yaml", "safety.yaml",
        ]  # fmt: skip
    assert bundle_zip.stat().st_size < 1_000_000


def test_the_same_checkpoint_makes_the_same_bytes(
    standing_checkpoint: Path,
    bundle_zip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = str(tmp_path / "again.zip")
    assert main(["export", str(standing_checkpoint), "--bundle", again, "--no-int8"]) == 0
    assert "golden vectors reproduced" in capsys.readouterr().out
    assert (tmp_path / "again.zip").read_bytes() == bundle_zip.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_a_zip_does_not_depend_on_the_order_of_its_files() -> None:
    assert zip_bytes({"a": b"1", "b": b"2"}) == zip_bytes({"b": b"2", "a": b"1"})


def test_the_contract_says_what_was_trained_with(bundle_zip: Path) -> None:
    spec, task = Bundle.open(bundle_zip).spec, robot_task()
    assert spec["delays_ms"] == {"imu_age": [0.0, 20.0], "joint_age": [10.0, 30.0]}
    envelope = spec["envelope"]
    assert envelope["commands"]["forward"] == [0.05, 0.6]
    assert envelope["push"]["impulse"] == [0.0, 0.1]
    assert envelope["randomization"]["gyro_noise"]["high"] == 0.05
    assert envelope["randomization"]["zero_error"]["high"] == pytest.approx(0.03)  # 3 sd
    assert spec["provenance"]["seed"] == 7 and spec["provenance"]["env_steps"] == 1000
    assert spec["servo"]["no_load_speed"] == 5.82 and spec["servo"]["deadband"] == 0.0125664
    assert spec["history"] == {**spec["history"], "steps": task.observation.past}


def test_the_card_is_filled_from_it(bundle_zip: Path) -> None:
    card = Bundle.open(bundle_zip).files["MODEL_CARD.md"].decode()
    for words in (
        "Transfer to hardware is not claimed", "184 observed values", "50 times a second",
        "| tilt_deg | 60 |", "0.05 to 0.6 m/s forward", "left_knee_pitch", "imu_gravity",
        "No report of a suite was given", "There is no policy_int8.onnx: it was not asked for",
        "trained (200 steps)",
    ):  # fmt: skip
        assert words in card, words


def test_people_can_read_it(bundle_zip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle_zip)]) == 0
    text = capsys.readouterr().out
    for words in (
        "left_knee_pitch    0.0        80.0",
        "imu_angvel_history   rad/s",
        "joint_age, trained  10 to 30 ms",
        "tilt_deg           60",
        "SHA-256",
        "no suite's report is in the bundle",
        "push",
        "observation layout and its digest",
    ):
        assert words in text, words
    shipped = inspect(WALKING_POLICY)
    assert "a policy for wildrobot" in shipped and "command" in shipped


def test_no_policy_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x01nothing")
    for name in ("bad.onnx", "none.onnx", "none.zip"):
        assert main(["inspect", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


def test_a_policy_that_no_robot_can_drive_is_refused(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no robot measures"):
        write_bundle(make_checkpoint(), tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_what_is_there_is_not_overwritten(standing_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="is there already"):
        write_bundle(standing_checkpoint, tmp_path / "mine")


def test_nothing_is_written_where_the_runtime_misses_the_golden_vectors(
    bundle_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(bundle_zip) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    real = GoldenRun.readings

    def late(run: GoldenRun, step: int) -> object:  # a runtime that is a step behind
        return real(run, max(step - 1, 0))

    monkeypatch.setattr(GoldenRun, "readings", late)
    with pytest.raises(BundleError, match="differ from the golden ones"):
        write_checked(files, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def report(folder: Path, sha256: str) -> Path:
    """A suite's report about a policy with this digest."""
    target = {"what": "success", "limit": "> 0.95", "passed": False}
    rate = {"value": 0.5, "low": 0.3, "high": 0.7, "episodes": 20}
    column = {"success": rate, "targets": [target], "episodes": {"success": [True] * 20}}
    entry = {"title": "flat floor", "columns": {"P": column}, "passed": {"P": False}}
    content = {
        "suite": "quick", "columns": ["P"], "entries": [entry],
        "policies": {"P": {"file": "/elsewhere/P.ckpt", "sha256": sha256}},
    }  # fmt: skip
    (folder / "suite.json").write_text(json.dumps(content))
    (folder / "suite.md").write_text("of /elsewhere/P.ckpt")
    return folder / "suite.json"


def test_a_report_must_be_of_this_policy(tmp_path: Path) -> None:
    checkpoint = tmp_path / "P.ckpt"
    checkpoint.write_bytes(b"weights")
    own = hashlib.sha256(b"weights").hexdigest()
    files = report_files(report(tmp_path, own), checkpoint, b"")
    assert files["suite.md"] == b"of P.ckpt" and "suite.html" not in files
    assert b"elsewhere" not in files["suite.json"]
    (entry,) = json.loads(files["suite.json"])["entries"]
    assert "episodes" not in entry["columns"]["P"]  # single episodes stay out, the rate stays
    assert entry["columns"]["P"]["success"]["episodes"] == 20
    with pytest.raises(UserError, match="not about"):
        report_files(report(tmp_path, "0" * 64), checkpoint, b"")
    (tmp_path / "suite.json").write_text("{}")
    with pytest.raises(UserError, match=r"no suite\.json"):
        report_files(tmp_path / "suite.json", checkpoint, b"")


def test_options_that_do_nothing_are_refused(
    standing_checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    checkpoint = str(standing_checkpoint)
    for words in (["--report", "x"], ["--no-int8"], ["--bundle", "x.zip", "--out", "y.onnx"]):
        assert main(["export", checkpoint, *words]) == 2
        assert "--bundle" in capsys.readouterr().err
