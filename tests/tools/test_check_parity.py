from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_parity
from wildrobot_torch.cli.main import run

POLICY = str(Path(__file__).parents[1] / "data" / "walking_policy.onnx")


def test_writes_what_it_measured_and_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "parity.md"
    code = run(check_parity.main, ["--physics", "warp-cpu", "--states", "16", "--out", str(out)])
    assert code == 0
    rows = [line for line in out.read_text().splitlines() if line.endswith("pass |")]
    assert any("| qvel | fallen |" in row for row in rows)
    assert any("| reward | standing |" in row for row in rows)
    assert "FAIL" not in out.read_text()
    assert str(out) in capsys.readouterr().out


@pytest.mark.gpu
def test_a_gpus_engine_walks_as_the_native_one_does(tmp_path: Path) -> None:
    """The native environment's states go into the other, which is on another device."""
    out = tmp_path / "parity.md"
    told = ["--physics", "warp", "--states", "64", "--policy", POLICY, "--out", str(out)]
    assert run(check_parity.main, told) == 0
    assert "| reward | walking |" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--physics", "native"], "--physics is native"),
        (["--physics", "wrap"], "allowed: native, warp"),
        (["--physics", "warp-cpu", "--states", "0"], "--states: 0; allowed"),
        (["--physics", "warp-cpu", "--policy", "missing.onnx"], "missing.onnx"),
        (["--physics", "warp-cpu", "--terrain", "moon"], "moon"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "parity.md"
    assert run(check_parity.main, [*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not out.exists()
