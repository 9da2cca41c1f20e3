"""docs/stranger.py drives the shipped policy by its file alone; held against our own simulator."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from envs.locomotion import LocomotionEnv
from envs.robot.model import ROBOT_DIRECTORY
from wildrobot_torch.evaluation.evaluate import run
from wildrobot_torch.evaluation.outcomes import outcome
from wildrobot_torch.evaluation.statistics import rate
from wildrobot_torch.evaluation.suites import load_suite
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.ppo.policy_file import load_policy

SCRIPT = Path(__file__).parents[1] / "docs" / "stranger.py"


def drive(policy: Path, speed: float, seconds: float, episodes: int) -> dict[str, float]:
    words = [str(policy), str(ROBOT_DIRECTORY / "scene_flat.xml"), str(speed), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *words, str(episodes)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(SCRIPT.read_text())
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert names == {"json", "sys", "mujoco", "numpy", "onnxruntime"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_it_walks_as_in_the_environment() -> None:
    commands, seconds, each = (0.1, 0.3, 0.5), 6.0, 5
    suite = load_suite("simulators")
    (entry,) = (e for e in suite.entries if e.name == "speeds")
    scenario = replace(
        entry.scenario, commands=commands, episodes=len(commands) * each, seconds=seconds
    )
    policy = load_policy(WALKING_POLICY)
    env = LocomotionEnv(scenario.task(policy.task), scenario.episodes, num_threads=1)
    evaluated = outcome(run(policy, env, scenario), replace(entry, scenario=scenario), env.robot)
    found = [drive(WALKING_POLICY, speed, seconds, each) for speed in commands]
    falls = sum(int(one["falls"]) for one in found)
    expected = rate(int(evaluated.values["fallen"].sum()), scenario.episodes)
    assert expected.low <= falls / scenario.episodes <= expected.high
    error = sum(one["speed_error_m_s"] for one in found) / len(found)
    interval = evaluated.mean("speed_error")
    assert interval.low <= error <= interval.high
    for speed, one in zip(commands, found, strict=True):
        assert one["distance_m"] == pytest.approx(speed * seconds, rel=0.5)


def test_a_wrong_contract_shows(tmp_path: Path) -> None:
    """Two knees, signs of one side, or two fields in each other's place: it does not walk."""
    for change in ("order", "signs", "fields"):
        model = onnx.load(str(WALKING_POLICY))
        (entry,) = (p for p in model.metadata_props if p.key == "policy_spec")
        spec = json.loads(entry.value)
        if change == "order":  # left and right knee in each other's place
            names = spec["joint_names"]
            names[2], names[6] = names[6], names[2]
        elif change == "signs":
            spec["action"]["gain"] = [abs(gain) for gain in spec["action"]["gain"]]
        else:
            fields = spec["observation_layout"]["fields"]
            fields[2]["name"], fields[3]["name"] = fields[3]["name"], fields[2]["name"]
        entry.value = json.dumps(spec)
        onnx.save(model, str(tmp_path / f"{change}.onnx"))
        found = drive(tmp_path / f"{change}.onnx", 0.4, 6.0, 2)
        assert found["falls"] == 2 or found["speed_error_m_s"] > 0.1, change
