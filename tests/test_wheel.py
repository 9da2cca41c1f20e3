"""The built wheel, in an environment of its own and away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIZES = {
    "run.env_steps": 96, "data.num_envs": 8, "data.num_steps": 6, "data.num_threads": 1,
    "data.evaluation": "quick", "data.iterations_per_epoch": 2, "model.network.hidden": "[16]",
}  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of an environment with the wheel; other packages are this one's."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    # Behind the environment's own, and without what an editable install adds to them.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, capture_output=True)
    return python.parent


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
