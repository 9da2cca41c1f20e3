"""Tests of tools/analyze_reference.py."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.reference.dataset import ReferenceDataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "analyze_tool", ROOT / "tools/analyze_reference.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dataset(robot: RobotSpec) -> ReferenceDataset:
    """65 s in tier 0+, 5 s in tier 1."""
    layout = amp_layout(robot)
    lengths = torch.tensor([3250, 250])
    return ReferenceDataset(
        amp=torch.randn(3500, layout.size, generator=torch.Generator().manual_seed(0)),
        qpos=torch.zeros(3500, 15),
        qvel=torch.zeros(3500, 14),
        foot_force=torch.zeros(3500, 2),
        support_wrench=torch.zeros(3500, 6),
        segment_start=lengths.cumsum(0) - lengths,
        segment_length=lengths,
        segment_weight=torch.ones(2),
        segment_velocity=torch.tensor([0.3, 0.5]),
        segment_clip=("slow", "fast"),
        segment_tier=("0+", "1"),
        segment_support=("none", "harness"),
        ctrl_dt=0.02,
        amp_layout=layout,
        robot_digest=robot.digest,
        manifest={
            "clips": [{"name": n, "source": n} for n in ("slow", "fast")],
            "segments": [{"frames": n, "metrics": {"pitch_p95": 3.5}} for n in (3250, 250)],
        },
    )


def test_it_prints_the_account_and_the_decision(
    tool: ModuleType, tmp_path: Path, dataset: ReferenceDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "a.npz")
    assert tool.main([str(tmp_path / "a.npz"), "--gate"]) == 0
    printed = capsys.readouterr().out
    assert "| 0+ | 65.00 | 0.00 |" in printed
    assert "| 1 | 0.00 | 5.00 |" in printed
    assert "| 0.3 to 0.4 | 65.00 | 0.00 |" in printed
    assert "| slow | 65.00 | 0.00 | 0.00 | 1 | 0.300 | 100.0% | slow |" in printed
    # A bar in a table's cell would begin another cell.
    assert r"| pitch_p95 | deg | 3.5 | 3.5 | 3.5 | \|pitch\|, 95th percentile |" in printed
    assert printed.splitlines()[-1].startswith("go: 65.0 s of tiers 0+ and 0; at least 60 s")


@pytest.mark.parametrize(("frames", "decision"), [(3000, "go"), (2999, "caution"), (1499, "stop")])
def test_the_gate_lets_only_go_pass(
    tool: ModuleType, tmp_path: Path, dataset: ReferenceDataset, frames: int, decision: str
) -> None:
    lengths = torch.tensor([frames, 3500 - frames])
    changed = replace(dataset, segment_start=lengths.cumsum(0) - lengths, segment_length=lengths)
    changed.save(tmp_path / "a.npz")
    numbers = tmp_path / "new" / "a.json"
    arguments = [str(tmp_path / "a.npz"), "--json", str(numbers), "--batch", "16"]
    assert tool.main(arguments) == 0
    assert tool.main([*arguments, "--gate"]) == (0 if decision == "go" else 1)
    content = json.loads(numbers.read_text())
    assert content["decision"] == decision
    assert content["good_s"] == pytest.approx(frames * 0.02)
    assert content["diversity"]["batch"] == 16


def test_the_folder_holds_text_numbers_and_pictures(
    tool: ModuleType, tmp_path: Path, dataset: ReferenceDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "a.npz")
    out = tmp_path / "account"
    assert tool.main([str(tmp_path / "a.npz"), "--out", str(out)]) == 0
    text = (out / "analysis.md").read_text()
    assert text.startswith("# Reference a.npz\n\n**go: 65.0 s")
    assert json.loads((out / "analysis.json").read_text())["decision"] == "go"
    for name in ("coverage.png", "features.png"):
        assert f"]({name})" in text
        with Image.open(out / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
    assert capsys.readouterr().out.count("\n") == 2


def test_bad_input_is_one_line_and_exit_code_2(
    tool: ModuleType, tmp_path: Path, dataset: ReferenceDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "a.npz")
    (tmp_path / "bad.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:5000])
    out = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]
    for arguments, words in (
        ([str(tmp_path / "none.npz")], "no such file"),
        ([str(tmp_path / "bad.npz")], "truncated or damaged"),
        ([str(tmp_path / "a.npz"), "--batch", "0"], "batch is 0"),
    ):
        assert tool.main([*arguments, *out]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "bad.npz"]
