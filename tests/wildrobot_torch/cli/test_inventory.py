"""wildrobot_torch.cli.inventory: facts of a machine, held against other sources of them."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from wildrobot_torch.cli import inventory

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def _program(folder: Path, name: str, lines: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def test_ranges_are_those_of_the_project() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    ranges = inventory.package_ranges()
    assert inventory.python_range() == project["requires-python"]
    assert f"lightning{ranges['lightning']}" in project["dependencies"]
    (torch,) = (line for line in project["dependencies"] if line.startswith("torch>"))
    assert set(ranges["torch"].split(",")) == set(torch.removeprefix("torch").split(","))
    assert ranges["numpy"] == ""


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert inventory.version("pytest") == pytest.__version__
    assert inventory.version("wildrobot-torch-that-is-nowhere") is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux's /proc")
def test_memory_is_at_most_what_the_kernel_has() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 2**27 < inventory.memory() <= total


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert inventory.logical_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert inventory.logical_cores() == len(before)


def test_cards_are_read_from_the_drivers_own_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = "echo '570.86, NVIDIA A, 143771 MiB'; echo '570.86, NVIDIA B, 24564 MiB'"
    _program(tmp_path, "nvidia-smi", rows)
    expected = "driver 570.86; NVIDIA A (143771 MiB), NVIDIA B (24564 MiB)"
    assert inventory.nvidia() == (expected, "")
    _program(tmp_path, "nvidia-smi", "echo 'no driver answers'; exit 9")
    assert inventory.nvidia() == ("", "nvidia-smi fails: no driver answers")


def test_a_script_sees_its_variables_and_fails_with_its_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIDDEN", "here")
    script = "import os; print(os.environ.get('HIDDEN'), os.environ['SHOWN'])"
    assert inventory.run_python(script, 30.0, HIDDEN=None, SHOWN="x") == "None x\n"
    with pytest.raises(RuntimeError, match=r"^ValueError: it broke$"):
        inventory.run_python("raise ValueError('it broke')", 30.0)
    assert inventory.why_it_fails("import os; os.kill(os.getpid(), 9)", 30.0) == "ends with code -9"
    assert inventory.why_it_fails("import os; os.environ['SHOWN']", 30.0, SHOWN="x") is None
    with pytest.raises(RuntimeError, match="no answer within 0 s"):
        inventory.run_python("import time; time.sleep(30)", 0.2)


def test_folder_size_counts_files_at_all_depths(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/two").write_bytes(b"12")
    (tmp_path / "three").write_bytes(b"123")
    assert inventory.folder_size(tmp_path) == 5
    assert inventory.folder_size(tmp_path / "nowhere") == 0
