"""wildrobot_torch.cli.doctor, run on this machine and in environments that lack something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import mujoco
import numpy as np
import pytest

from wildrobot_torch.cli.doctor import Finding, jacobian, nvidia, package, supported
from wildrobot_torch.cli.main import main

ROOT = Path(__file__).parents[3]
SITE_PACKAGES = Path(np.__file__).parents[1]
PACKAGES = ("torch", "mujoco", "torchrl", "tensordict", "lightning", "onnxruntime")


def _doctor(
    *arguments: str, python: Path | str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(python), "-m", "wildrobot_torch", "doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def _findings(done: subprocess.CompletedProcess[str]) -> dict[str, Finding]:
    report = json.loads(done.stdout)
    findings = {row["what"]: Finding(**row) for row in report["findings"]}
    lacking = [row for row in findings.values() if row.status == "missing"]
    assert done.returncode == (1 if lacking else 0)
    assert report["works"] == (not lacking)
    for row in findings.values():
        assert (row.remedy is None) == (row.status == "ok"), row
    return findings


def _environment(folder: Path) -> tuple[Path, Path]:
    """Interpreter and site-packages of a new environment with no package in it."""
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python", next(folder.glob("lib/python*/site-packages"))


def test_this_machine_is_reported_as_it_is() -> None:
    findings = _findings(_doctor("--json"))
    for name in PACKAGES:
        assert findings[name].status == "ok"
        assert findings[name].value.split()[0] == metadata.version(name)
    assert findings["python"].value.split()[0] == ".".join(map(str, sys.version_info[:3]))
    assert findings["robot"].value.startswith("wildrobot, 8 joints, 3.30 kg")
    assert findings["Jacobian"].value.startswith("dense (nv 14)")
    assert findings["physics native"].status == "ok"
    assert {"rendering", "ffmpeg", "machine"} <= findings.keys()


def test_a_fresh_machine_gets_commands_instead_of_a_traceback(tmp_path: Path) -> None:
    python, _ = _environment(tmp_path / "fresh")
    done = _doctor(python=python)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for name in PACKAGES:
        row = next(i for i, line in enumerate(lines) if line.split()[:2] == ["missing", name])
        assert lines[row].endswith("not installed")
        assert lines[row + 1].split("-> ")[1] == "pip install -e '.[train]' -c constraints.txt"
    note = next(i for i, line in enumerate(lines) if line.split()[:2] == ["note", "mujoco-warp"])
    assert lines[note + 1].split("-> ")[1] == "pip install -e '.[warp]'"
    assert any(line.split()[:2] == ["ok", "machine"] for line in lines)
    assert lines[-1].startswith("training lacks: torch, mujoco,")


def test_training_works_without_mujoco_warp(tmp_path: Path) -> None:
    python, packages = _environment(tmp_path / "native_only")
    for path in SITE_PACKAGES.iterdir():
        if not path.name.startswith(("mujoco_warp", "warp", "pip", "setuptools")):
            (packages / path.name).symlink_to(path)
    done = _doctor("--json", python=python)
    findings = _findings(done)
    assert done.returncode == 0
    for name in ("mujoco-warp", "warp-lang"):
        assert findings[name] == Finding("note", name, "not installed", "pip install -e '.[warp]'")
    assert findings["physics native"].status == "ok"


def test_a_version_out_of_range_is_found_among_the_installed(tmp_path: Path) -> None:
    python, packages = _environment(tmp_path / "too_new")
    for path in SITE_PACKAGES.glob("packaging*"):
        (packages / path.name).symlink_to(path)
    torch = packages / "torch-9.9.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    done = _doctor("--json", python=python)
    finding = _findings(done)["torch"]
    assert done.returncode == 1
    assert finding.status == "missing"
    ranges = supported()[1]["torch"]
    assert finding.value == f"9.9, but the project supports {ranges}"
    assert finding.remedy == f"pip install 'torch{ranges}'"


def test_a_wrong_mujoco_gl_is_named_with_its_remedy() -> None:
    findings = _findings(_doctor("--json", MUJOCO_GL="nonsense"))
    assert "nonsense" in findings["robot"].value
    assert findings["robot"].remedy == "unset MUJOCO_GL"


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.10.9", "missing"), ("2.11.0", "ok"), ("2.13.0+cpu", "ok"), ("2.14.0", "missing")],
)
def test_ranges_end_where_they_say(version: str, status: str) -> None:
    finding = package("torch", version, ">=2.11,<2.14")
    assert finding.status == status
    assert (finding.remedy is None) == (status == "ok")
    assert package("warp-lang", version, ">=2.11,<2.14").status == (
        "ok" if status == "ok" else "note"
    )


@pytest.mark.parametrize("kind", [mujoco.mjtJacobian.mjJAC_SPARSE, mujoco.mjtJacobian.mjJAC_DENSE])
def test_sparse_jacobians_are_refused_for_the_mujoco_that_errs(kind: mujoco.mjtJacobian) -> None:
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body()
    body.add_freejoint()
    body.add_geom(size=[0.1, 0.0, 0.0])
    spec.option.jacobian = kind
    finding = jacobian(spec.compile())
    errs = kind == mujoco.mjtJacobian.mjJAC_SPARSE and mujoco.__version__ == "4.0.0"
    assert finding.status == ("missing" if errs else "ok")
    assert finding.value.startswith(f"{kind.name.removeprefix('mjJAC_').lower()} (nv 6)")
    if errs:
        assert finding.remedy is not None and "4.0.1" in finding.remedy


def test_cards_are_read_from_the_drivers_own_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = "echo '570.86, NVIDIA A, 143771 MiB'; echo '570.86, NVIDIA B, 24564 MiB'"
    program.write_text(f"#!/bin/sh\n{rows}\n")
    assert nvidia() == ("driver 570.86; NVIDIA A (143771 MiB), NVIDIA B (24564 MiB)", "")
    program.write_text("#!/bin/sh\necho 'no driver answers'; exit 9\n")
    assert nvidia() == ("", "nvidia-smi fails: no driver answers")


def test_an_unknown_option_ends_in_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--jsn"]) == 2
    error = capsys.readouterr().err
    assert "--jsn" in error and "--json" in error and error.count("\n") == 1
