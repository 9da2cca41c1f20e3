"""Tests of deploy/package.py: the folder works without this project, torch or MuJoCo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envs.errors import UserError
from wildrobot_torch.cli.main import main
from wildrobot_torch.deploy.package import runtime_files, write_package
from wildrobot_torch.deploy.runtime.bundle import Bundle
from wildrobot_torch.deploy.runtime.calibration import Calibration


@pytest.fixture(scope="module")
def package(bundle_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "robot"
    assert main(["deploy", str(bundle_zip), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a Python in which everything but the robot's three packages is missing."""
    folder = tmp_path_factory.mktemp("bare")
    absent = ("torch", "mujoco", "onnx", "tensordict", "torchrl", "lightning", "scipy",
              "jsonargparse", "matplotlib", "imageio")  # fmt: skip
    for name in absent:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError({name!r}, name={name!r})\n")
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def test_its_own_tests_pass_without_the_project(package: Path, bare: dict[str, str]) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    done = subprocess.run(words, cwd=package, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"p50 \d+ us, p99 \d+ us", done.stdout)
    assert re.search(r"\b8 passed", done.stdout)


def test_only_what_is_in_it_is_imported(package: Path, bare: dict[str, str]) -> None:
    code = """
import importlib, pkgutil, sys
sys.path.insert(0, "src")
import wildrobot_torch.deploy.runtime as runtime
for module in pkgutil.walk_packages(runtime.__path__, runtime.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
ours = ("envs", "wildrobot_torch")
print(*(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ours), sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package, env=bare, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    imported = {str(Path(line).relative_to(package / "src")) for line in done.stdout.split()}
    shipped = {name for name in runtime_files() if name.endswith(".py")}
    # All that is shipped is needed, and nothing else is found.
    assert imported == {name for name in shipped if not name.endswith("__main__.py")}


def test_it_does_not_run_before_it_is_calibrated(package: Path, bare: dict[str, str]) -> None:
    env = {**bare, "PYTHON": sys.executable}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(package / "run.sh"), *words], env=env, capture_output=True, text=True, cwd="/"
        )

    done = run("--check")
    assert done.returncode == 2 and "was never calibrated" in done.stderr
    assert done.stderr.count("\n") == 1
    path = package / "calibration.yaml"
    delivered = path.read_text()
    try:
        Calibration.load(path).save(path)  # as `wildrobot calibrate` writes it
        assert run("--check").returncode == 0
        done = run()  # the IMU is not written yet, and there is no serial line here
        assert done.returncode != 0 and "error: " in done.stderr and "Traceback" not in done.stderr
    finally:
        path.write_text(delivered)


def test_a_damaged_bundle_does_not_run(bundle_zip: Path, tmp_path: Path, bare: dict) -> None:
    write_package(Bundle.open(bundle_zip), tmp_path / "robot")
    policy = tmp_path / "robot" / "bundle" / "policy.onnx"
    data = bytearray(policy.read_bytes())
    data[len(data) // 3] ^= 4
    policy.write_bytes(bytes(data))
    done = subprocess.run(
        [sys.executable, "start.py"],
        cwd=policy.parents[1],
        env=bare,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "policy.onnx is not the file" in done.stderr


def test_the_service_never_arms(package: Path) -> None:
    for name in ("wildrobot.service", "run.sh", "start.py"):
        commands = [line for line in (package / name).read_text().splitlines() if line[:1] != "#"]
        assert not any("--arm" in line for line in commands), name
    assert "Restart=no" in (package / "wildrobot.service").read_text()


def test_the_readme_and_the_hardware_are_this_robots(package: Path, bundle_zip: Path) -> None:
    text = (package / "README.md").read_text()
    assert Bundle.open(bundle_zip).digest in text and "| 6 | `right_knee_pitch` | |" in text
    assert '"left_hip_pitch": 1,' in (package / "robot.py").read_text()
    for path in package.rglob("*"):
        if path.suffix in (".md", ".py", ".yaml", ".toml", ".service", ".sh"):
            assert not re.search(r"@[A-Z_]+@", path.read_text()), path


def test_what_is_there_is_not_overwritten(bundle_zip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        write_package(Bundle.open(bundle_zip), tmp_path)
