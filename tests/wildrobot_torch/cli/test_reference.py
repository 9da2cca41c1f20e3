"""The command line: what it writes, and that it writes nothing when it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from envs.physics.capacities import read_capacities
from envs.task.features import amp_layout
from wildrobot_torch.cli.main import main
from wildrobot_torch.files import CONFIGS
from wildrobot_torch.motion.augment import VariantConfig
from wildrobot_torch.motion.read.files import load_clips, save_clip
from wildrobot_torch.motion.synthesis.walk import standing_clip
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.generate import ReferenceConfig, builtin_clips, generate
from wildrobot_torch.reference.judge.gates import load_gates

WALKING = Path(__file__).parents[2] / "data" / "walking_policy.onnx"


def reference(*words: object) -> int:
    return main(["reference", *map(str, words)])


def standing(out: Path) -> list[str]:
    return [
        "--clips=none",
        "--harness=builtin",
        "--reference.speeds=[0.0]",
        "--reference.duration_s=1.5",
        "--min_seconds=1",
        "--pictures=0",
        f"--out={out}",
    ]


def test_it_writes_a_dataset_and_a_report(robot, tmp_path, capsys):
    out = tmp_path / "made" / "standing.npz"
    assert reference(*standing(out)) == 0
    dataset = ReferenceDataset.load(out, amp_layout(robot), robot.digest)
    assert dataset.duration_s == pytest.approx(1.5)
    assert (out.parent / "standing" / "report.md").is_file()
    printed = capsys.readouterr()
    assert "| stand | harness | 1.50 |" in printed.out
    assert "accepted 1.5 s of 1.5 s" in printed.out
    assert not printed.err


def test_it_reads_clips_from_a_folder(robot, tmp_path):
    save_clip(standing_clip(robot, 1.0), tmp_path / "clips" / "quiet.npz", robot)
    out = tmp_path / "quiet.npz"
    clips = ["--clips=none", f"--harness={tmp_path / 'clips'}", "--reference.variants.mirror=false"]
    assert reference(*clips, "--min_seconds=0.5", "--pictures=0", f"--out={out}") == 0
    assert ReferenceDataset.load(out, amp_layout(robot), robot.digest).segment_clip == ("quiet",)


def test_it_runs_on_the_engine_asked_for(robot, tmp_path):
    out = tmp_path / "standing.npz"
    assert reference(*standing(out), "--physics=warp-cpu") == 0
    dataset = ReferenceDataset.load(out, amp_layout(robot), robot.digest)
    assert dataset.duration_s == pytest.approx(1.5)
    assert dataset.manifest["config"]["physics"] == "warp-cpu"


def mined(out: Path, *policies: Path | str) -> list[str]:
    return [
        "--clips=none",
        *(f"--policy={policy}" for policy in policies),
        "--reference.mining.speeds=[0.2]",
        "--reference.mining.seconds=2",
        "--min_seconds=0",
        f"--out={out}",
    ]


def test_it_mines_a_policy_alone_and_beside_clips(robot, tmp_path, capsys):
    out = tmp_path / "mined.npz"
    assert reference(*mined(out, WALKING), "--pictures=1") == 0
    dataset = ReferenceDataset.load(out, amp_layout(robot), robot.digest)
    assert set(dataset.segment_clip) == {"policy_0.20"}
    assert dataset.manifest["policies"][0]["file"] == WALKING.name
    assert "following 0 clips and 1 policies, 2.0 s" in capsys.readouterr().out
    report = (tmp_path / "mined" / "report.md").read_text()
    assert "| policy_0.20 | policy |" in report and "clips/policy_0.20_policy.png" in report
    assert (tmp_path / "mined" / "followed" / "policy" / "policy_0.20.npz").is_file()

    both = tmp_path / "both.npz"
    harnessed = ["--harness=builtin", "--reference.speeds=[0.0]", "--reference.duration_s=1.5"]
    assert reference(*mined(both, WALKING), *harnessed, "--pictures=0") == 0
    dataset = ReferenceDataset.load(both, amp_layout(robot), robot.digest)
    assert set(dataset.segment_clip) == {"stand", "policy_0.20"}


def test_a_policy_that_cannot_be_mined_is_one_line(tmp_path, capsys):
    out = tmp_path / "out" / "none.npz"
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"no checkpoint")
    for policies, complaint in (
        (["nowhere.ckpt"], "no file nowhere.ckpt"),
        ([broken], "cannot be read"),
        ([WALKING, WALKING], "holds the same as"),
        (["walk.pt"], "allowed: a .ckpt or an .onnx file"),
    ):
        assert reference(*mined(out, *policies)) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and complaint in error and error.count("\n") == 1
    assert not out.parent.exists()


def test_physics_without_room_for_its_contacts_makes_nothing(tmp_path, monkeypatch, capsys):
    def cramped(*arguments):
        return replace(read_capacities(*arguments), nconmax=1)

    monkeypatch.setattr("envs.physics.engines.read_capacities", cramped)
    assert reference(*standing(tmp_path / "none.npz"), "--physics=warp-cpu") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "BROADPHASE" in error and "tools/measure_capacities.py" in error
    assert not list(tmp_path.iterdir())


def test_nothing_accepted_is_an_error_with_the_reasons(tmp_path, capsys):
    gates = tmp_path / "gates.yaml"
    gates.write_text(
        "- {name: fly, metric: flight, min: 0.9, unit: '1', meaning: feet off the floor}"
    )
    out = tmp_path / "none.npz"
    assert reference(*standing(out), f"--gates={gates}") == 1
    printed = capsys.readouterr()
    assert "| fly |" in printed.out
    assert printed.err.startswith("error: 0.0 s of 1.5 s of motion are in the tiers 0+ and 0")
    assert "'fly'" in printed.err
    assert printed.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["gates.yaml"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--clips=nowhere"], "nowhere"),
        (["--harness=nowhere"], "nowhere"),
        (["--pictures=-1"], "pictures is -1; allowed: at least 0"),
        (["--gates=nowhere.yaml"], "nowhere.yaml"),
        (["--out=walking.pt"], "saved as .npz"),
        (["--reference.segments.stride=0"], "segments.stride is 0"),
        (["--physics=wrap"], "physics is 'wrap'; allowed: native, warp"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path, monkeypatch, capsys, arguments, complaint
):
    monkeypatch.chdir(tmp_path)
    harnessed = ["--clips=none", "--harness=builtin", "--reference.speeds=[0.0]"]
    assert reference(*harnessed, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and complaint in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "argument",
    ["--reference.sped=[0.1]", "--reference.harness.torque_cap=much"],
)
def test_an_option_that_does_not_exist_or_fit_is_refused(tmp_path, capsys, argument):
    assert reference(argument, f"--out={tmp_path / 'a.npz'}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_too_little_motion_leaves_no_dataset(tmp_path, capsys):
    assert reference(*standing(tmp_path / "short.npz"), "--min_seconds=20") == 1
    error = capsys.readouterr().err
    assert "1.5 s of 1.5 s of motion" in error and "--min_seconds is 20" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_bad_clip_is_named_and_the_others_go_on(robot, tmp_path, capsys):
    """Tracked without training to speak of: a standing clip stands by itself."""
    folder = tmp_path / "clips"
    save_clip(standing_clip(robot, 1.5), folder / "quiet.npz", robot)
    broken = standing_clip(robot, 1.5)
    jump = broken.joint_pos.copy()
    jump[40:, 2] += 0.7
    save_clip(replace(broken, joint_pos=jump), folder / "torn.npz", robot)
    out = tmp_path / "quiet.npz"
    few = [
        "--reference.tracking.env_steps=192",
        "--reference.tracking.num_envs=8",
        "--reference.tracked.loop_s=0",
    ]
    arguments = [f"--clips={folder}", *few, "--min_seconds=1", "--pictures=1", f"--out={out}"]
    assert reference(*arguments) == 0
    printed = capsys.readouterr().out
    assert "rejected torn.npz: left_knee_pitch jumps by 0.70 rad" in printed
    dataset = ReferenceDataset.load(out, amp_layout(robot), robot.digest)
    assert dataset.segment_clip == ("quiet",) and dataset.segment_support == ("none",)
    assert not dataset.support_wrench.any()
    assert dataset.foot_force.sum(-1).mean() == pytest.approx(robot.weight, rel=0.05)
    assert (tmp_path / "quiet" / "followed" / "tracker" / "quiet.npz").is_file()

    before = out.read_bytes()
    assert reference(*arguments) == 0
    assert "tracker goes on at 1/1" in capsys.readouterr().out
    assert out.read_bytes() == before


# Other uses


@pytest.fixture(scope="module")
def dataset(robot) -> ReferenceDataset:
    """Standing and walking in the harness."""
    config = ReferenceConfig(
        speeds=(0.0, 0.15, 0.3), duration_s=2.0, variants=VariantConfig(mirror=False, align=False)
    )
    gates = load_gates(CONFIGS / "gates.yaml")
    made = generate(builtin_clips(robot, config), robot, gates, config).dataset
    assert made is not None
    return made


def test_a_good_reference_passes_verification(dataset, tmp_path, capsys):
    path = tmp_path / "good.npz"
    dataset.save(path)
    assert reference("--verify", path, "--stretches", 2) == 0
    table = (tmp_path / "good.verified.md").read_text()
    assert table in capsys.readouterr().out
    content = json.loads((tmp_path / "good.verified.json").read_text())
    assert content["passed"] and content["content_hash"] == dataset.content_hash


def test_a_wrong_reference_fails_verification(dataset, tmp_path):
    amp, qpos = dataset.amp.clone(), dataset.qpos.clone()
    amp[:, 9] += 0.01
    qpos[:, 2] += 0.02
    path, out = tmp_path / "wrong.npz", tmp_path / "table.md"
    replace(dataset, amp=amp, qpos=qpos).save(path)
    assert reference("--verify", path, "--out", out, "--stretches", 2) == 1
    failed = [line for line in out.read_text().splitlines() if "| FAIL |" in line]
    assert any("joint_pos" in line for line in failed)
    assert any("sole on the floor" in line for line in failed)


def test_too_short_a_reference_is_no_go(dataset, tmp_path, capsys):
    dataset.save(tmp_path / "short.npz")
    arguments = ["--analyze", tmp_path / "short.npz"]
    assert reference(*arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("stop: ")
    assert reference(*arguments, "--gate", "--out", tmp_path / "account") == 1
    content = json.loads((tmp_path / "account" / "analysis.json").read_text())
    assert content["decision"] == "stop"


def test_clips_are_written_as_files_that_load(robot, tmp_path, capsys):
    folder = tmp_path / "clips"
    assert reference("--export-clips", folder, "--speeds", 0.2, 0.4, "--duration", 2) == 0
    names = [clip.name for clip in load_clips(folder, robot)]
    assert names == ["stand", "walk_0.20", "walk_0.40"]
    assert all(name in capsys.readouterr().out for name in names[:1])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--verify", "missing.npz"], "no such file"),
        (["--verify", "missing.npz", "--out", "table.txt"], "table.txt"),
        (["--analyze", "missing.npz"], "no such file"),
        (["--analyze", "missing.npz", "--gates"], "--gate"),
        (["--export-clips", "clips", "--speeds", "3.0"], "3"),
        (["--export-clips", "clips", "--cmu", "missing"], "missing"),
        (["--export-clips", "clips", "--duration", "nan"], "nan"),
    ],
)
def test_other_uses_refuse_bad_input_in_one_line(
    arguments, complaint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert reference(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and complaint in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
