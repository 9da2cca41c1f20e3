"""`wildrobot export`: where it writes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wildrobot_torch.cli.main import main


def test_the_policy_goes_into_the_runs_folder(
    make_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(make_checkpoint())]) == 0
    assert str(tmp_path / "policy.onnx") in capsys.readouterr().out
    assert (tmp_path / "policy.onnx").is_file()


def test_bad_input_is_one_line_and_nothing_is_written(
    make_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = make_checkpoint(), tmp_path / "bad.ckpt"
    bad.write_bytes(b"not a checkpoint")
    for arguments in (
        [str(bad)],
        [str(tmp_path / "none.ckpt")],
        [str(good), "--out", str(tmp_path / "policy.pt")],
        [str(good), "--out", str(bad / "policy.onnx")],
    ):
        assert main(["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ckpt", "checkpoints"]
