"""Tests of wildrobot_torch/evaluation/suite.py and suite_report.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.frames import quat_from_euler
from envs.locomotion import LocomotionEnv
from envs.recorder import zero_policy
from envs.recording import Recording
from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from envs.task.terminations import ENDS
from tests.tasks import ideal_task
from wildrobot_torch.evaluation import Scenario
from wildrobot_torch.evaluation.evaluate import without
from wildrobot_torch.evaluation.measures import Walks
from wildrobot_torch.evaluation.outcomes import (
    HOME_HOLD,
    EntryResult,
    Outcome,
    SuiteResult,
    falls,
    outcome,
    successes,
    within,
)
from wildrobot_torch.evaluation.statistics import Estimate
from wildrobot_torch.evaluation.suite import Column, columns_of, run_suite
from wildrobot_torch.evaluation.suite_report import markdown, write_suite
from wildrobot_torch.evaluation.suites import Entry, Group, Suite, load_suite
from wildrobot_torch.motion.metrics import Limit

Walking = Callable[..., Recording]


def make_entry(name: str = "e", episodes: int = 100, **changes: Any) -> Entry:
    scenario = Scenario(name=name, commands=(0.1, 0.3), episodes=episodes, seconds=10.0)
    given: dict[str, Any] = {
        "title": name,
        "success": {"fallen": Limit(max=0.0)},
        "limits": {},
        "family": name,
    }
    return Entry(scenario=scenario, **(given | changes))


def made(success: int, of: int, **values: Tensor) -> Outcome:
    flags = torch.arange(of) < success
    return Outcome(flags, values, {}, {"time": of}, (), {}, {}, {})


def result(entry: Entry, found: Outcome) -> EntryResult:
    return EntryResult(entry, {"p": found}, {}, 0.0)


@pytest.mark.parametrize(
    ("success", "of", "above", "passed"),
    [
        (72, 72, 0.95, True),
        (71, 71, 0.95, False),  # all of too few
        (99, 100, 0.95, False),  # a mean of 99 %, a bound of 94.6 %
        (127, 128, 0.95, True),
        (20, 20, 0.8, True),
        (19, 20, 0.8, False),
        (0, 50, 0.0, False),
    ],
)
def test_a_verdict_goes_by_the_bound(success: int, of: int, above: float, passed: bool) -> None:
    found = result(make_entry(above=above), made(success, of))
    assert found.passed("p") is passed


def test_a_limit_on_a_mean_goes_by_the_bound() -> None:
    """Mean 2.4 with an interval of +-0.184 of 4 or +-0.089 of 8: the first reaches over 2.5."""
    half = torch.tensor([2.3, 2.5])
    for number, passed in ((2, False), (4, True)):
        torques = half.repeat(number)
        entry = make_entry(limits={"torque_mean": Limit(max=2.5)})
        assert result(entry, made(1, 1, torque_mean=torques)).passed("p") is passed
    assert within(Estimate(1.0, 0.9, 1.1, 9), Limit(min=0.9, max=1.1))
    assert not within(Estimate(math.nan, -math.inf, math.inf, 0), Limit(max=3.0))
    assert not within(Estimate(1.0, -math.inf, math.inf, 1), Limit(max=3.0))


def test_success_is_every_limit_and_no_undefined_number() -> None:
    values = {
        "fallen": torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]),
        "distance": torch.tensor([12.0, 8.0, 12.0, math.nan, math.inf]),
    }
    limits = {"fallen": Limit(max=0.0), "distance": Limit(min=10.0)}
    assert successes(values, limits).tolist() == [True, False, False, False, False]


def test_a_group_passes_with_enough_of_its_entries() -> None:
    entries = [make_entry(name, above=0.8) for name in "abc"]
    found = tuple(
        replace(result(e, made(n, 40)), entry=e) for e, n in zip(entries, (40, 40, 10), strict=True)
    )
    for passing, passed in ((2, True), (3, False)):
        suite = Suite("s", tuple(entries), (Group("g", ("a", "b", "c"), passing),))
        whole = SuiteResult(suite, ("p",), found)
        assert whole.group_passes("p") == {"g": (2, passed)}
        assert whole.passed() is passed
    assert not SuiteResult(Suite("s", tuple(entries), ()), ("p",), found).passed()


def test_an_entry_that_could_not_be_run_misses_its_target() -> None:
    entry = make_entry(above=0.8)
    gone = EntryResult(entry, {}, {"p": "observes no IMU"}, 0.0)
    assert gone.passed("p") is False
    assert replace(gone, entry=make_entry()).passed("p") is None


def test_falls_are_told_by_cause_with_the_second_before(robot: RobotSpec, walking: Walking) -> None:
    """The first falls forwards after 4 s with a lean of 0.2 rad, the second to a side after 6 s."""
    walk = walking((0.1, 0.3, 0.3))
    valid, qpos = walk.valid.clone(), walk.qpos.clone()
    valid[200:, 0] = valid[300:, 1] = False
    zero = torch.zeros(50)
    qpos[150:200, 0, 3:7] = quat_from_euler(zero, zero + 0.2, zero)
    qpos[250:300, 1, 3:7] = quat_from_euler(zero - 0.3, zero, zero)
    ends = torch.tensor([ENDS.index(cause) for cause in ("pitch", "roll", "time")])
    recording = walking(
        (0.1, 0.3, 0.3), valid=valid, qpos=qpos, end_cause=ends,
        terminated=torch.tensor([True, True, False]),
    )  # fmt: skip
    pitch, roll = falls(Walks(recording, robot, 2.0))
    assert (pitch.cause, pitch.count, pitch.time_s) == ("pitch forwards", 1, pytest.approx(4.0))
    assert pitch.pitch_deg == pytest.approx(math.degrees(0.2), abs=0.01)
    assert pitch.speed == pytest.approx(0.1, abs=1e-3)
    assert (roll.cause, roll.time_s) == ("roll", pytest.approx(6.0))
    assert roll.roll_deg == pytest.approx(math.degrees(0.3), abs=0.01)
    found = outcome(recording, make_entry(episodes=3), robot)
    assert found.ends == {"pitch": 1, "roll": 1, "time": 1}
    assert found.success.tolist() == [False, False, True]
    assert found.misses == {"fallen": 2}
    assert found.servo_rms["left_knee_pitch"] == pytest.approx(2.0)


def test_a_removed_signal_is_0_with_its_history() -> None:
    env = LocomotionEnv(LocomotionConfig(), 2, num_threads=1)
    layout, seen = env.layouts["observation"], []

    def look(observation: Tensor) -> Tensor:
        seen.append(observation)
        return observation[:, :8]

    without(look, ["encoder_vel"], layout)(torch.ones(2, layout.size))
    parts = layout.unpack(seen[0])
    assert {name for name, part in parts.items() if not part.any()} == {
        "encoder_vel",
        "encoder_vel_history",
    }
    with pytest.raises(UserError, match=r"'encoder_ve' \(did you mean 'encoder_vel'"):
        without(look, ["encoder_ve"], layout)


SUITE = """
defaults: {commands: [0.2], seconds: 0.8, settle_s: 0.2, seed: 5, servo: {model: robot}}
entries:
  pushed:
    episodes: 6
    disturbances: {at_s: [0.2], impulses: [0.5], directions: [0.0, 1.57]}
    randomization: {mass: {low: 0.8, high: 1.2}}
    success: {fallen: {max: 0}}
    above: 0.3
  late:
    episodes: 2
    randomization: {imu_age: {low: 20.0, high: 20.0}}
    success: {fallen: {max: 0}}
    above: 0.0
  ladder:
    episodes: 4
    disturbances: {at_s: [0.2], directions: [0.0, 1.57]}
    ladder: {largest: 0.4, rounds: 2}
    success: {fallen: {max: 0}}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> SuiteResult:
    """A policy that stands, the robot that holds its pose, and a policy that falls over."""
    path = tmp_path_factory.mktemp("suite") / "mine.yaml"
    path.write_text(SUITE)

    def topple(observation: Tensor) -> Tensor:
        action = observation.new_zeros(len(observation), 8)
        action[:, [3, 7]] = 1.0
        action[:, [0, 4]] = -1.0
        return action

    columns = [
        Column("stands", LocomotionConfig(), zero_policy(8)),
        Column(HOME_HOLD, LocomotionConfig(), None),
        Column("falls", ideal_task(), topple),
    ]
    lines: list[str] = []
    found = run_suite(load_suite(path), columns, num_threads=1, say=lines.append)
    assert len(lines) == 3
    return found


def test_columns_meet_the_same_robots_and_pushes(ran: SuiteResult) -> None:
    """Action 0 is the home pose, so the two columns do the same to the last digit."""
    pushed = ran.entries[0]
    mine, held = pushed.outcomes["stands"], pushed.outcomes[HOME_HOLD]
    for name, values in mine.values.items():
        assert torch.equal(values.nan_to_num(), held.values[name].nan_to_num()), name
    assert len(set(mine.values["torque_mean"].tolist())) == 6  # six different robots
    less = pushed.differences("stands", HOME_HOLD)
    assert less["success"].value == less["torque_mean"].value == 0.0
    assert pushed.differences("stands", "falls")["success"].value == 1.0


def test_a_task_that_cannot_have_an_entry_misses_its_target(ran: SuiteResult) -> None:
    late = ran.entries[1]
    assert set(late.outcomes) == {"stands", HOME_HOLD}
    assert "IMU" in late.absent["falls"]
    assert late.passed("stands") is True and late.passed("falls") is False
    assert ran.passed() and not ran.passed("falls")


def test_a_ladder_is_climbed_in_every_direction(ran: SuiteResult) -> None:
    stands, lies = (ran.entries[2].outcomes[name].rungs for name in ("stands", "falls"))
    assert [rung.direction for rung in stands] == pytest.approx([0.0, 1.57])
    assert [rung.survived for rung in stands] == [pytest.approx((0.3, 0.3))] * 2
    assert [rung.survived for rung in lies] == [(0.0, 0.0)] * 2


def test_processes_side_by_side_change_no_number(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    suite, columns = load_suite(path), columns_of([make_checkpoint(env_steps=7)])
    one, two = (
        run_suite(suite, columns, num_threads=2, workers=workers).entries for workers in (1, 2)
    )
    assert [result.entry.name for result in two] == ["pushed", "late", "ladder"]
    for mine, other in zip(one, two, strict=True):
        assert mine.absent == other.absent and set(mine.outcomes) == set(other.outcomes)
        for name, found in mine.outcomes.items():
            assert found.rungs == other.outcomes[name].rungs
            for measure, values in found.values.items():
                theirs = other.outcomes[name].values[measure]
                assert torch.equal(values.nan_to_num(), theirs.nan_to_num()), measure


def test_a_report_has_every_number(
    ran: SuiteResult, robot_model: RobotModel, tmp_path: Path
) -> None:
    robot = robot_model.robot
    about = {"stands": {"file": "s.ckpt"}, "falls": {"file": "f.ckpt"}}
    written = write_suite(ran, robot_model, tmp_path / "new", about, "native")
    report = json.loads(written[0].read_text())
    assert report["passed"] == {"stands": True, HOME_HOLD: True, "falls": False}
    pushed = report["entries"][0]["columns"]["stands"]
    assert pushed["success"]["value"] == 1.0
    assert pushed["success"]["low"] == pytest.approx(0.025 ** (1 / 6))
    assert pushed["means"]["recovery_time"]["episodes"] == 6
    assert len(pushed["episodes"]["torque_mean"]) == 6
    page = written[1].read_text()
    assert "| pushed | success | > 0.3 | 100.0% [54.1%, 100.0%] | pass |" in page
    assert "## stands less falls" in page and "| late |" in page
    assert "## Falls, and the second before" not in page
    assert "## Falls, and the second before" in markdown(
        replace(ran, columns=("falls", HOME_HOLD, "stands")), robot, about, "native"
    )
    for block in page.replace("\\|", "").split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.rstrip().splitlines()}) == 1
