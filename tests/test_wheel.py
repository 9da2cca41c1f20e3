"""The built wheel, in an environment of its own and away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIZES = {
    "run.env_steps": 96, "data.num_envs": 8, "data.num_steps": 6, "data.num_threads": 1,
    "data.evaluation": "quick", "data.iterations_per_epoch": 2, "model.network.hidden": "[16]",
}  # fmt: skip


BASE = ("numpy", "numpy.libs", "onnxruntime", "yaml", "_yaml")
"""Folders of the packages that the base install has."""
PURELIB = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is tried."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def installed(wheel: Path, folder: Path, others: Path) -> Path:
    """Folder of programs of an environment with the wheel, and packages of `others` behind it."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Behind the environment's own, and without what an editable install adds to them.
    (packages / "others.pth").write_text(f"{others}\n")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, capture_output=True)
    return python.parent


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment in which all other packages are this one's."""
    return installed(wheel, tmp_path_factory.mktemp("whole"), PURELIB)


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with nothing but what the base install has."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "others").mkdir()
    for name in BASE:
        if (PURELIB / name).exists():
            (folder / "others" / name).symlink_to(PURELIB / name)
    return installed(wheel, folder / "env", folder / "others")


@pytest.mark.slow
def test_the_wheel_has_the_files_of_the_web_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    site = Path("wildrobot_torch/deploy/page/site")
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / site).iterdir()}
    assert files and files <= set(names)


@pytest.mark.slow
def test_the_base_install_drives_a_robot_and_says_what_training_needs(
    base: Path, tmp_path: Path
) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([base / "wildrobot", *words], cwd=tmp_path, capture_output=True,
                              text=True)  # fmt: skip

    where = "from wildrobot_torch.files import WALKING_POLICY as p; print(p)"
    policy = subprocess.check_output(
        [base / "python", "-c", where], cwd=tmp_path, text=True
    ).strip()
    assert Path(policy).is_relative_to(base.parent)
    done = run("runtime-benchmark", policy, "--seconds", "1")
    assert done.returncode == 0 and "tick_p99_us" in done.stdout, done.stderr
    for words in (["fit", "--config", "walking"], ["run", policy, "--robot", "simulated"]):
        done = run(*words)
        assert done.returncode == 2 and "wildrobot-torch[train]" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_wheel_trains_evaluates_exports_and_plays(environment: Path, tmp_path: Path) -> None:
    def run(program: str, *words: str) -> str:
        done = subprocess.run(
            [environment / program, *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    script = "import envs, wildrobot_torch as w; print(envs.__file__, w.__file__)"
    for path in run("python", "-c", script).split():
        assert Path(path).is_relative_to(environment.parent)
    run("wildrobot", "fit", "--config", "walking", *(f"--{k}={v}" for k, v in SIZES.items()))
    (checkpoint,) = tmp_path.glob("runs/walking/*/checkpoints/last.ckpt")
    run("wildrobot", "evaluate", str(checkpoint), "--scenario", "quick", "--out", "report")
    assert (tmp_path / "report" / "report.md").is_file()
    run("wildrobot", "export", str(checkpoint), "--out", "policy.onnx")
    small = ["--seconds", "0.4", "--size", "64x64"]
    run("wildrobot", "play", "policy.onnx", *small, "--out", "film.gif")
    assert "upright" in run("wildrobot", "play", *small, "--out", "shipped.gif")
    assert "tracking" in run("wildrobot", "reference", "--print_config")
