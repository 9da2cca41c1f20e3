"""docs/stranger.py drives the shipped policy by its file alone; held against our own simulator."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from envs.locomotion import LocomotionEnv
from envs.robot.model import ROBOT_DIRECTORY
from envs.robot.spec import RobotSpec
from wildrobot_torch.contract import read
from wildrobot_torch.evaluation.evaluate import run
from wildrobot_torch.evaluation.outcomes import outcome
from wildrobot_torch.evaluation.simulators.loop import walk
from wildrobot_torch.evaluation.simulators.plain_mujoco import PlainMujoco
from wildrobot_torch.evaluation.simulators.servos import ServoLaw
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
    seconds, each = 6.0, 2
    (entry,) = (e for e in load_suite("simulators").entries if e.name == "speeds")
    commands = entry.scenario.commands
    scenario = replace(entry.scenario, episodes=len(commands) * each, seconds=seconds)
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


def test_from_the_same_starts_it_walks_as_our_own_harness(robot: RobotSpec) -> None:
    contract, network = read(WALKING_POLICY)
    law, simulator = ServoLaw.of(robot), PlainMujoco("mujoco", robot)
    home, low, high = robot.home_qpos.double().numpy(), *law.joint_range.T
    generator, distances, errors = np.random.default_rng(0), [], []
    for _ in range(2):
        shift = generator.uniform(-0.05, 0.05, 8)
        qpos = np.concatenate([home[:7], np.clip(home[7:] + shift, low, high)])
        command = np.array([0.3, 0.0, 0.0])
        walked = walk(simulator, contract, network, law, (qpos, np.zeros(14)), command, 250)
        places = np.array([body.qpos[:2] for body in walked.bodies])
        distances.append(np.linalg.norm(places[-1] - qpos[:2]))
        errors.append(abs((places[-1, 0] - places[99, 0]) / 3.0 - 0.3))
    found = drive(WALKING_POLICY, 0.3, 5.0, 2)
    assert found["distance_m"] == pytest.approx(np.mean(distances), abs=1e-3)
    assert found["speed_error_m_s"] == pytest.approx(np.mean(errors), abs=1e-3)


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
