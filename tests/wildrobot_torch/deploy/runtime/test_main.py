"""The runtime's programs, in processes of their own: without torch, with signals, on a robot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wildrobot_torch.deploy.runtime.log import read_log
from wildrobot_torch.files import WALKING_POLICY

BLOCKED = ("torch", "mujoco", "onnx", "lightning", "tensordict", "torchrl", "scipy", "matplotlib",
           "jsonargparse", "imageio", "PIL", "rich", "warp", "mujoco_warp")  # fmt: skip
BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""
PROGRAM = [sys.executable, "-m", "wildrobot_torch.deploy.runtime"]


def python(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + script, *words], capture_output=True, text=True, check=False
    )


def test_ten_ticks_without_anything_that_trains(tmp_path: Path) -> None:
    script = """
import importlib, pkgutil, time
from pathlib import Path
import wildrobot_torch.deploy.runtime as runtime
for module in pkgutil.iter_modules(runtime.__path__):
    if module.name != "__main__":
        importlib.import_module(f"{runtime.__name__}.{module.name}")
from wildrobot_torch.deploy.runtime.benchmark import Follower
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.commands import Held
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.pilot import load_policy
from wildrobot_torch.deploy.runtime.session import opened
policy = load_policy(sys.argv[1])
names = policy.contract.joint_names
robot = Follower(names, policy.contract.home, time.monotonic, time.sleep)
with opened(robot, Calibration.identity(names), SafetyLimits.load(), policy, None,
            Held((0.3, 0.0, 0.0)), Path(sys.argv[2]), print) as run:
    for _ in range(10):
        run.tick(run.scheduler.wait())
print(run.ticks)
"""
    done = python(script, str(WALKING_POLICY), str(tmp_path / "a.wrlog"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "10"
    assert len(read_log(tmp_path / "a.wrlog").ticks) == 10


@pytest.mark.parametrize("verb", ["fit", "evaluate", "export", "play", "terms"])
def test_a_verb_that_needs_more_says_what_to_install(verb: str) -> None:
    words = {"fit": ["--config", "walking"], "evaluate": ["x.onnx"], "export": ["x.ckpt"]}
    script = "from wildrobot_torch.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = python(script, verb, *words.get(verb, []))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'wildrobot-torch[train]'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "absent.onnx"], "absent.onnx"),
        (["run", str(WALKING_POLICY), "--robot", "127.0.0.1:1"], "no simulated robot answers"),
        (["run", str(WALKING_POLICY), "--robot", "nothing:here"], "MODULE:FUNCTION"),
        (["run", str(WALKING_POLICY), "--listen", "0", "--command", "0", "0", "0"], "give one"),
        (["run", str(WALKING_POLICY), "--command", "nan", "0", "0"], "finite"),
        (["run"], "policy"),
        (["replay", "absent.wrlog"], "absent.wrlog"),
        (["benchmark", str(WALKING_POLICY), "--seconds", "0"], "1 to 3600"),
        (["walk"], "walk"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a simulated robot whose time goes on when the runtime waits."""
    words = ["--lockstep", "--address", "127.0.0.1:0", *getattr(request, "param", [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "wildrobot_torch.deploy.simulated", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_robot_is_armed_walks_and_is_stopped_by_signals(
    simulated: str, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "a.wrlog"
    words = ["run", str(WALKING_POLICY), "--robot", simulated, "--command", "0.3", "0", "0"]
    process = subprocess.Popen(
        [*PROGRAM, *words, "--log", str(log)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "ready; to arm" in line:
            process.send_signal(signal.SIGUSR1)
        if "arm: running" in line:
            process.send_signal(number)
    process.stdout.close()
    assert process.wait() == 0, said
    assert any(line.startswith(f"end: asked by {number.name}") for line in said)
    found = read_log(log)
    assert found.cut == 0 and found.events[-1][1] == f"end: asked by {number.name}"
    done = subprocess.run([*PROGRAM, "replay", str(log)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same, bit for bit" in done.stdout


@pytest.mark.parametrize(
    "simulated", [["--faults", json.dumps(["silent:left_knee_pitch@4"])]], indirect=True
)
def test_a_safety_stop_is_code_1(simulated: str, tmp_path: Path) -> None:
    words = ["run", str(WALKING_POLICY), "--robot", simulated, "--arm", "--seconds", "5"]
    done = subprocess.run(
        [*PROGRAM, *words, "--log", str(tmp_path / "a.wrlog")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "joints_old: released" in done.stdout and "left_knee_pitch" in done.stdout


def test_the_benchmark_prints_its_figures() -> None:
    done = subprocess.run(
        [*PROGRAM, "benchmark", str(WALKING_POLICY), "--seconds", "1", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert set(printed["targets"]) <= set(printed["figures"])
    assert printed["figures"]["ticks"] > 50 and printed["figures"]["memory_mb"] > 10
