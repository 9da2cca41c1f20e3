"""Diagnoses of policies and runs that are really broken, of a good policy, and of bad input."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from envs.config import LocomotionConfig, RewardConfig, RewardWeights, policy_settings
from envs.locomotion import LocomotionEnv
from envs.robot.spec import RobotSpec
from envs.task.commands import CommandConfig
from tests.tasks import ideal_task
from wildrobot_torch.cli.main import main
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.training.health.why.acting import Trial
from wildrobot_torch.training.health.why.diagnose import Diagnosis, diagnose, told
from wildrobot_torch.training.health.why.evidence import Acts, Evidence
from wildrobot_torch.training.health.why.rules import Finding, diagnosis
from wildrobot_torch.training.health.why.runs import find

TRIAL = Trial(robots=5, seconds=3.2)
MakeCheckpoint = Callable[..., Path]
MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer(policy: Policy) -> torch.nn.Linear:
    """The only layer of a linear policy."""
    (linear,) = policy.net
    assert isinstance(linear, torch.nn.Linear)
    return linear


@pytest.fixture
def policy() -> Policy:
    """Home hold: a linear policy whose action is 0 whatever it observes."""
    policy = Policy(39, 8, hidden=())
    with torch.no_grad():
        layer(policy).weight.zero_()
    return policy


@pytest.fixture
def make_run(tmp_path: Path, make_checkpoint: MakeCheckpoint) -> MakeRun:
    """Writes the directory of a run around a checkpoint of `policy`; keywords change the task."""

    def make(
        data: dict[str, Any] | None = None, amp: dict[str, Any] | None = None, **env: Any
    ) -> Path:
        task = ideal_task(**env)
        make_checkpoint(env_config=policy_settings(task))
        plain = json.loads(json.dumps(asdict(task)))
        content = {
            "run": {"env_steps": 2_000_000},
            "data": {"env": plain, "reference": None, "difficulty": None, **(data or {})},
            "model": {"ppo": {}, "amp": amp},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        write_metrics(tmp_path, [{"step": 2_000_000, "Loss/kl": 0.01}])
        return tmp_path

    return make


def write_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    names = sorted({name for row in rows for name in row})
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def finding(diagnosis: Diagnosis, words: str) -> Finding:
    """The one finding whose sentence has these words."""
    (found,) = [f for f in diagnosis.findings if words in f.what]
    return found


def test_the_shipped_walk_has_no_fault() -> None:
    found = diagnose(WALKING_POLICY, Trial(robots=8, seconds=5.0))
    assert found.findings == [] and not found.serious
    assert "nothing found" in told(found)
    unchecked = " ".join(found.evidence.unchecked)
    assert "noise" in unchecked and "give the run's folder" in unchecked


def test_home_hold_stands_still_and_its_action_is_constant(make_checkpoint: MakeCheckpoint) -> None:
    found = diagnose(make_checkpoint(), TRIAL)
    still = finding(found, "stands still")
    assert still.severity == "serious" and found.findings[0] == still
    assert finding(found, "same whatever is observed").severity == "serious"
    assert found.evidence.policy.falls == 0.0


def test_health_that_outweighs_tracking_pays_for_standing(make_run: MakeRun) -> None:
    weights = {"healthy": 10.0, "track_lin_vel_x": 0.4}
    reward = RewardConfig(weights=RewardWeights(**weights))
    absent = {"reference": "absent.npz", "reference_tiers": {"0+": 0}}
    found = diagnose(make_run(data=absent, amp={"weight": 0.0}, reward=reward), TRIAL)
    assert any("absent.npz: no such file" in text for text in found.evidence.unchecked)
    pays = finding(found, "Standing still pays")
    assert "mostly by healthy" in pays.what and "healthy 0.4" in pays.remedy
    # 10 x 0.1 in each step in which the root is at its height, which it always is.
    standing = found.evidence.standing
    assert standing is not None and standing.terms["healthy"] == pytest.approx(1.0)
    # exp(-4 |v|) of the commands at which it is compared, times 0.4 x 0.1.
    asked = standing.commands[:, 0]
    expected = 0.04 * float(torch.exp(-4.0 * asked).mean())
    assert standing.terms["track_lin_vel_x"] == pytest.approx(expected, rel=0.1)
    table = "\n".join(told(found))
    assert "reward per step" in table and "a walk" in table


def test_a_silent_input_is_named(make_checkpoint: MakeCheckpoint) -> None:
    task = ideal_task(command=CommandConfig(heading_hold=False))
    found = diagnose(make_checkpoint(env_config=policy_settings(task)), TRIAL)
    silent = finding(found, "never changes")
    assert "heading_error (1 of 1)" in silent.evidence
    assert silent.remedy == "--data.env.command.heading_hold true"


def test_an_input_without_weight_is_named(
    make_checkpoint: MakeCheckpoint, policy: Policy, robot: RobotSpec
) -> None:
    where = LocomotionEnv(ideal_task(), 1, num_threads=1).layouts["observation"].slices
    with torch.no_grad():
        layer(policy).weight.normal_(0.0, 0.05)
        layer(policy).weight[:, where["angvel"]] = 0.0
    found = diagnose(make_checkpoint(), TRIAL)
    assert "angvel 0.00%" in finding(found, "some of what is observed").evidence


def test_collapsed_noise_is_read_from_the_checkpoint(
    make_checkpoint: MakeCheckpoint, policy: Policy
) -> None:
    with torch.no_grad():
        policy.log_std[3] = math.log(0.004)
    found = diagnose(make_checkpoint(), TRIAL)
    assert "0.004 to 0.210" in finding(found, "collapsed").evidence


def test_commands_that_are_all_zero(make_run: MakeRun) -> None:
    found = diagnose(make_run(command=CommandConfig(standing_probability=1.0)), TRIAL)
    rests = finding(found, "Most commands ask for standing")
    assert rests.severity == "serious" and "100% are exactly 0" in rests.evidence
    # Nobody asked it to walk.
    assert not [f for f in found.findings if "stands still" in f.what]
    assert any("whether standing pays" in text for text in found.evidence.unchecked)


def test_a_reference_of_one_speed_does_not_cover_the_commands(
    make_run: MakeRun, tmp_path: Path, robot: RobotSpec
) -> None:
    env = LocomotionEnv(LocomotionConfig(), 1, num_threads=1)
    file = tmp_path / "slow.npz"
    ReferenceDataset(
        amp=env.reset()["amp"].repeat(90, 1),
        qpos=robot.home_qpos.repeat(90, 1),
        qvel=torch.zeros(90, 14),
        foot_force=torch.zeros(90, 2),
        support_wrench=torch.zeros(90, 6),
        segment_start=30 * torch.arange(3),
        segment_length=torch.full((3,), 30),
        segment_weight=torch.ones(3),
        segment_velocity=torch.full((3,), 0.3),
        segment_clip=("a", "b", "c"),
        segment_tier=("0+",) * 3,
        segment_support=("none",) * 3,
        ctrl_dt=0.02,
        amp_layout=env.layouts["amp"],
        robot_digest=robot.digest,
        manifest={},
    ).save(file)
    # The weight is 0 because the test's checkpoint holds no motion prior.
    settings = {"reference": str(file), "reference_tiers": {"0+": 0}}
    found = diagnose(make_run(data=settings, amp={"weight": 0.0}), TRIAL)
    covers = finding(found, "reference does not have")
    # Of 0.05 to 0.6 m/s, 0.2 to 0.4 are near; a tenth of the commands are 0.
    share = int(covers.evidence.partition("%")[0]) / 100
    assert share == pytest.approx(1.0 - 0.9 * 0.2 / 0.55, abs=0.02)
    assert "data.reference" in finding(found, "settings do nothing").evidence
    # The usual reward does not pay for standing.
    assert not [f for f in found.findings if "pays" in f.what]
    walk, standing = found.evidence.walk, found.evidence.standing
    assert walk is not None and standing is not None and walk.reward > 2.0 * standing.reward


def test_a_policy_that_shakes_its_joints_saturates_the_servos(
    make_checkpoint: MakeCheckpoint, policy: Policy
) -> None:
    where = LocomotionEnv(ideal_task(), 1, num_threads=1).layouts["observation"].slices
    with torch.no_grad():
        layer(policy).weight[:, where["joint_vel"]] = 10.0 * torch.eye(8)
        layer(policy).bias.fill_(0.3)
    found = diagnose(make_checkpoint(), TRIAL)
    assert finding(found, "torque limit").severity in ("serious", "warning")
    assert finding(found, "Actions are at their limits").severity == "serious"
    assert finding(found, "It falls").severity == "serious"


def test_the_course_of_a_run_is_read_from_its_metrics(make_run: MakeRun) -> None:
    folder = make_run()
    stopped = {"Loss/kl": 1e-6, "Loss/clip_fraction": 0.0, "Loss/learning_rate": 1e-5}
    rows = [{"step": 1000.0 * i, "Policy/mean_std": 0.2 - 0.003 * i} | stopped for i in range(61)]
    rows += [{"step": 30_000.0, "Evaluation/rank": 2.2}, {"step": 60_000.0, "Evaluation/rank": 0.4}]
    write_metrics(folder, rows)
    with (folder / "metrics.csv").open("a") as file:
        file.write("1e-6,0.0")  # a training is about to write this row
    (folder / "checkpoints" / "best-30000.ckpt").write_bytes(b"")
    dump = folder / "postmortem" / "61"
    dump.mkdir(parents=True)
    (dump / "metrics.json").write_text(json.dumps({"reason": "Loss/kl is nan in iteration 61"}))
    subject = find(folder)
    # A checkpoint that lies in a run is diagnosed with it.
    assert find(folder / "checkpoints" / "last.ckpt") == subject
    assert subject.task is not None and subject.run is not None
    assert len(subject.run.history) == 61
    acts = Acts(
        commands=torch.empty(0, 3), velocities=torch.empty(0, 3), lasted=torch.empty(0), ends={},
        swinging=math.nan, saturation={}, at_limit={}, terms={},
    )  # fmt: skip
    evidence = Evidence(task=subject.task, policy=acts, run=subject.run)
    found = Diagnosis(subject, TRIAL, evidence, diagnosis(evidence))
    assert "iteration 61" in finding(found, "not finite").evidence
    assert "1e-06" in finding(found, "Learning has stopped").evidence
    assert "best-30000.ckpt" in finding(found, "worse than an earlier").remedy
    assert "iteration 12" in finding(found, "Learning rate at its floor").evidence
    assert finding(found, "hardly begun").severity == "note"


def test_findings_are_printed_and_decide_the_exit_code(
    make_checkpoint: MakeCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--num-envs", "4", "--seconds", "4"]
    assert main(["why", str(WALKING_POLICY), *few]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["why", str(make_checkpoint()), "--json", *few]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["serious"] is True
    first = report["findings"][0]
    assert set(first) == {"severity", "what", "evidence", "remedy"}
    assert first["what"].startswith("It stands still")
    assert report["inputs"][0]["name"] == "gravity" and report["ends"]["time"] == 4


def test_bad_input_is_one_line(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path) -> str:
        assert main(["why", str(path)]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        return said.err

    (tmp_path / "empty").mkdir()
    (tmp_path / "no.ckpt").write_text("no checkpoint")
    (tmp_path / "no.onnx").write_text("no policy")
    assert "no such run or policy" in refused(tmp_path / "absent")
    assert "it holds no config.yaml" in refused(tmp_path / "empty")
    assert "cannot be read" in refused(tmp_path / "no.ckpt")
    assert "holds no policy" in refused(tmp_path / "no.onnx")
    (tmp_path / "runs" / "walk").mkdir(parents=True)
    (tmp_path / "runs" / "walk" / "config.yaml").write_text("")
    assert f"did you mean {tmp_path / 'runs' / 'walk'}?" in refused(tmp_path / "runs")
    folder = make_run()
    (folder / "checkpoints" / "last.ckpt").unlink()
    assert "no checkpoint yet" in refused(folder)
    (folder / "config.yaml").write_text("data: 3\n")
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    assert "'data.env' is missing" in refused(folder)
