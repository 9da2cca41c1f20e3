"""wildrobot_torch.deploy.runtime.loop: whole runs with the real safety layer, clock and log."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.wildrobot_torch.deploy.runtime.conftest import Robot, Run
from tests.wildrobot_torch.deploy.runtime.test_commands import Stick
from tests.wildrobot_torch.deploy.runtime.test_log import largest_file
from wildrobot_torch.deploy.runtime.log import POLICIES
from wildrobot_torch.deploy.runtime.loop import Runtime
from wildrobot_torch.deploy.runtime.pilot import Policy

Drive = Callable[..., Run]


def test_nothing_moves_because_the_program_started(follower: Robot, drive: Drive) -> None:
    def wait(runtime: Runtime) -> None:
        runtime.hold_arming("press the button")
        follower.at[20.0] = lambda: runtime.ask_to_stop("asked by a test")

    run = drive(with_runtime=wait)
    assert follower.sent == []
    assert (run.ending.code, run.ending.reason) == (0, "asked by a test")
    assert "ready; to arm: press the button" in run.said
    assert len(run.log.ticks) > 400 and set(run.log.ticks["state"]) == {b"off"}


def test_it_arms_when_it_is_told_to(follower: Robot, drive: Drive) -> None:
    def wait(runtime: Runtime) -> None:
        runtime.hold_arming("press the button")
        follower.at[12.0] = runtime.release_arming

    run = drive(1.0, with_runtime=wait)
    assert run.ending.code == 0
    assert follower.sent[0][0] >= 12.0


def test_a_run_begins_at_the_measured_pose_and_ends_at_home_let_go(
    follower: Robot, walking: Policy, drive: Drive
) -> None:
    start = follower.read().position
    run = drive(2.0)
    assert (run.ending.code, run.ending.reason) == (0, "2 s are over")
    home = walking.contract.home
    low, high = walking.contract.joint_range.T
    assert np.abs(follower.sent[0][1] - np.clip(start, low, high)).max() < 0.002
    assert follower.sent[-1][1] == pytest.approx(home, abs=1e-3)
    assert follower.released > 0
    # No target jumps by more than the servos can turn in 20 ms: 5.8 rad/s.
    sent = np.array([targets for _, targets in follower.sent])
    assert np.abs(np.diff(sent, axis=0)).max() < 5.82 * 0.02 + 1e-9
    assert np.abs(sent - home).max() > 0.1  # and it did walk


def test_the_log_says_what_was_read_asked_for_and_sent(follower: Robot, drive: Drive) -> None:
    run = drive(1.0)
    ticks = run.log.ticks
    assert ticks["index"].tolist() == list(range(len(ticks)))
    assert np.diff(ticks["began"]) == pytest.approx(0.02)
    sent = ticks[np.isin(ticks["state"], [b"ready", b"running", b"stopping"])]
    logged = {float(tick["began"]): tick["applied"] for tick in sent}
    for when, targets in follower.sent:
        assert (logged[when] == targets).all()
    names = [POLICIES[number] for number in ticks["policy"]]
    order = [name for name, after in zip(names, [*names[1:], ""], strict=True) if name != after]
    assert order[:3] == ["none", "home", "walking"]
    assert run.log.header["joint_names"] == list(follower.joint_names)
    assert any("arm: armed" in text for _, text in run.log.events)


def test_it_stands_for_a_second_before_it_is_stopped(follower: Robot, drive: Drive) -> None:
    def ask(runtime: Runtime) -> None:
        follower.at[16.0] = lambda: runtime.ask_to_stop("enough")

    run = drive(None, with_runtime=ask)
    assert (run.ending.code, run.ending.reason) == (0, "enough")
    ticks = run.log.ticks
    stopping = float(ticks["began"][ticks["state"] == b"stopping"][0])
    told = ticks[(ticks["began"] > 16.0) & (ticks["began"] < stopping)]
    assert stopping == pytest.approx(17.0, abs=0.05)
    assert (told["command"] == 0.0).all() and set(told["command_limited"]) == {b"stop"}


def test_asked_twice_it_stops_at_once(follower: Robot, drive: Drive) -> None:
    def ask(runtime: Runtime) -> None:
        follower.at[16.0] = lambda: runtime.ask_to_stop("enough")
        follower.at[16.1] = lambda: runtime.ask_to_stop("now")

    ticks = drive(None, with_runtime=ask).log.ticks
    assert float(ticks["began"][ticks["state"] == b"stopping"][0]) < 16.2


def test_a_fall_is_a_safety_stop(follower: Robot, drive: Drive) -> None:
    follower.at[16.0] = lambda: setattr(follower, "tilt", np.radians(70.0))
    run = drive(None)
    assert run.ending.code == 1 and "tilt" in run.ending.reason
    assert follower.sent[-1][0] < 16.03 and follower.released > 0


def test_a_robot_that_leans_does_not_start(follower: Robot, drive: Drive) -> None:
    follower.tilt = np.radians(25.0)
    run = drive(1.0)
    assert run.ending.code == 1 and "leans by 25.0 deg" in run.ending.reason
    assert follower.sent == []


def test_a_lost_connection_ends_the_run(follower: Robot, drive: Drive) -> None:
    follower.at[16.0] = lambda: setattr(follower, "gone", True)
    run = drive(None)
    assert run.ending.code == 1 and "cable is out" in run.ending.reason
    assert follower.released > 0


def test_a_soft_stop_by_a_rule_is_named_at_the_end(follower: Robot, drive: Drive) -> None:
    def slow() -> None:  # 12 ticks pass in which nothing is done, one after another
        follower.at |= {16.0 + 0.06 * n: lambda: setattr(follower, "now", follower.now + 0.04)
                     for n in range(1, 13)}  # fmt: skip

    follower.at[16.0] = slow
    run = drive(None)
    assert run.ending.code == 1 and "too_many_missed: stopped" in run.ending.reason
    assert run.log.events[-1][1] == f"end: {run.ending.reason}"


def test_a_clock_that_steps_back_ends_the_run(follower: Robot, drive: Drive) -> None:
    follower.at[16.0] = lambda: setattr(follower, "now", 15.0)
    run = drive(None)
    assert run.ending.code == 1 and "stepped back" in run.ending.reason
    assert follower.released > 0


def test_old_commands_stand_and_the_run_goes_on(follower: Robot, drive: Drive) -> None:
    stick = Stick()
    stick.command, stick.time = np.array([0.3, 0.0, 0.0]), 15.0  # and no other one
    run = drive(3.0, source=stick)
    ticks = run.log.ticks
    late = ticks[ticks["began"] > 15.5]
    assert len(late) and (late["command"] == 0.0).all()
    assert run.ending.code == 0 and any("the robot stands" in text for text in run.said)


def test_a_full_disk_does_not_end_the_run(follower: Robot, drive: Drive) -> None:
    with largest_file(60_000):
        run = drive(4.0)
    assert run.ending.code == 0
    assert any("nothing more is logged, control goes on" in text for text in run.said)
    assert follower.sent[-1][0] > float(run.log.ticks["began"][-1]) + 1.0


def test_standing_then_walking_then_standing(
    follower: Robot, walking: Policy, drive: Drive
) -> None:
    stick = Stick()

    def command(forward: float) -> Callable[[], None]:
        def tell() -> None:
            stick.command, stick.time = np.array([forward, 0.0, 0.0]), 1e9

        return tell

    for when, forward in ((10.5, 0.3), (18.0, 0.0)):
        follower.at[when] = command(forward)
    run = drive(10.0, standing=walking, source=stick)
    ticks = run.log.ticks
    names = np.array(POLICIES)[ticks["policy"]]
    began = {name: float(ticks["began"][names == name][0]) for name in set(names)}
    assert began["walking"] - began["standing"] == pytest.approx(2.0, abs=0.021)
    assert names[(ticks["began"] > 19.1) & (ticks["began"] < 21.0)].tolist() != []
    assert set(names[(ticks["began"] > 19.1) & (ticks["began"] < 21.0)]) == {"standing"}
    # Targets go on without a step from one policy to the other.
    running = ticks[names == "walking"][:26]["requested"]
    assert np.abs(np.diff(running, axis=0)).max() < 0.1
