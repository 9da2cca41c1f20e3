"""The command line that compares trackers: its tables, and what it refuses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.config import ReferenceConfig
from wildrobot_torch.reference.follow.tracking import TrackingConfig
from wildrobot_torch.reference.generate import generate
from wildrobot_torch.reference.judge.gates import load_gates

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "compare_tracking.py"
STANDING = """
reference:
  variants: {mirror: false, align: false}
  tracked: {speeds: [0.0], from_rest: [], duration_s: 1.2}
  tracking: {num_envs: 4, env_steps: 96}
"""
QUICK = ["--seconds=1", "--predictive.samples=4", "--predictive.horizon=3", "--predictive.knots=2"]


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("compare_tracking", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def trained(robot, tmp_path_factory):
    """Options that name a tracker of one standing clip, and what it was made with."""
    folder = tmp_path_factory.mktemp("trained")
    config, kept = folder / "standing.yaml", folder / "standing.tracker"
    config.write_text(STANDING)
    generate(
        [],
        robot,
        load_gates(ROOT / "configs/gates.yaml"),
        ReferenceConfig(
            variants=VariantConfig(mirror=False, align=False),
            tracking=TrackingConfig(num_envs=4, env_steps=96),
        ),
        tracked=[standing_clip(robot, 1.2)],
        checkpoint=kept,
    )
    return [f"--tracker={kept}", f"--reference_config={config}"]


def test_it_prints_and_writes_what_each_way_came_to(main, trained, tmp_path, capsys):
    out = tmp_path / "made" / "compared.md"
    assert main([*trained, *QUICK, f"--out={out}"]) == 0
    printed, written = capsys.readouterr(), out.read_text()
    assert written in printed.out and not printed.err
    rows = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("|")]
    ways = ["tracker", "predictive", "servo targets"]
    named = [way + suffix for way in ways for suffix in ("", ", pushed")]
    assert [row[0] for row in rows[2:8]] == named
    # A robot that stands does so to the clip's end, in the best tier, however it is told to.
    assert [rows[i][1:3] for i in (2, 4, 6)] == [["1 of 1", "1.0"]] * 3
    assert float(rows[2][-1]) >= 0 and rows[4][-1] == "0"
    assert "| stand | predictive, pushed | " in written


def test_a_tracker_of_other_clips_is_refused_and_kept(main, trained, tmp_path, capsys):
    kept = Path(trained[0].partition("=")[2])
    before = kept.read_bytes()
    other = tmp_path / "other.yaml"
    other.write_text(STANDING.replace("1.2", "1.4"))
    assert main([trained[0], f"--reference_config={other}", f"--out={tmp_path / 'no.md'}"]) == 2
    assert "was trained on other clips or settings" in capsys.readouterr().err
    assert kept.read_bytes() == before and not (tmp_path / "no.md").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "dance"], "no clip dance; there are stand"),
        (["--seconds=0.5"], "--seconds is 0.5; the gates judge 1 s or more"),
        (["--tracker=nowhere.tracker"], "no such file"),
        (["--predictive.samples=2"], "samples is 2; allowed: 4 or more"),
    ],
)
def test_bad_input_writes_nothing(main, trained, tmp_path, capsys, options, message):
    out = tmp_path / "none.md"
    assert main([*trained, *options, f"--out={out}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not out.exists()
