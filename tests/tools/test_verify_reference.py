from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.robot.model import load_robot
from tools import verify_reference
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.generate import ReferenceConfig, builtin_clips, generate
from wildrobot_torch.reference.judge.gates import load_gates

UNVARIED = VariantConfig(mirror=False, align=False)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset() -> ReferenceDataset:
    robot = load_robot().robot
    config = ReferenceConfig(speeds=(0.0, 0.15, 0.3), duration_s=2.0, variants=UNVARIED)
    gates = load_gates(ROOT / "configs" / "gates.yaml")
    made = generate(builtin_clips(robot, config), robot, gates, config).dataset
    assert made is not None
    return made


def test_a_good_reference_passes_and_the_table_is_written(dataset, tmp_path, capsys):
    path = tmp_path / "good.npz"
    dataset.save(path)
    assert verify_reference.main([str(path), "--stretches", "3"]) == 0
    table = (tmp_path / "good.verified.md").read_text()
    assert table in capsys.readouterr().out
    for test in ("1A", "1B", "1C", "2", "3", "4", "5", "6", "7", "micro-train"):
        assert f"\n| {test} |" in table
    content = json.loads((tmp_path / "good.verified.json").read_text())
    assert content["passed"] and content["content_hash"] == dataset.content_hash


def test_a_wrong_reference_fails(dataset, tmp_path):
    path, out = tmp_path / "wrong.npz", tmp_path / "table.md"
    amp = dataset.amp.clone()
    amp[:, 9] += 0.01
    qpos = dataset.qpos.clone()
    qpos[:, 2] += 0.02
    wrong = replace(dataset, amp=amp, qpos=qpos, feature_mean=torch.empty(0))
    wrong.save(path)
    assert verify_reference.main([str(path), "--out", str(out), "--stretches", "2"]) == 1
    failed = [line for line in out.read_text().splitlines() if "| FAIL |" in line]
    assert any("joint_pos" in line for line in failed)
    assert any("sole on the floor" in line for line in failed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.npz"], "no such file"),
        (["missing.npz", "--out", "table.txt"], "table.txt"),
        (["missing.npz", "--robot", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert verify_reference.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert list(tmp_path.iterdir()) == []
