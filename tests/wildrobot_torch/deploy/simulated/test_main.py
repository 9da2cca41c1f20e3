"""The program that serves a simulated robot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.wire import address_of
from wildrobot_torch.deploy.simulated.__main__ import main
from wildrobot_torch.deploy.simulated.faults import KINDS
from wildrobot_torch.deploy.simulated.options import RobotOptions, perfect


def test_help_names_every_option_and_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert not [field.name for field in fields(RobotOptions) if f"--{field.name}" not in said]
    assert not [kind for kind in KINDS if kind not in said]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--battrey=3"], "battrey"),
        (["--joint_lost=2"], "joint_lost is 2.0; allowed: 0 to 1"),
        (["--joint_lost=many"], "joint_lost"),
        (["--faults", '["silnt:left_knee_pitch@0"]'], "did you mean 'silent'"),
        (["--address", "192.168.0.7:8474"], "allowed: 127.0.0.1:PORT"),
        (["--address", "/no/folder/socket"], "No such file or directory"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["0.0.0.0:80", "robot.local:80", "127.0.0.1:eighty", "localhost:"])
def test_only_addresses_of_this_machine_are_used(text: str) -> None:
    with pytest.raises(UserError, match="not safe"):
        address_of(text)


def test_perfect_options_are_options() -> None:
    RobotOptions(**perfect(seed=3))


def test_it_listens_on_a_port_of_its_own_choice() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "wildrobot_torch.deploy.simulated", "--address", "127.0.0.1:0",
         "--lockstep", "--perfect", "--owned"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    address = process.stdout.readline().decode().split()[-1]
    with RemoteRobot(address) as robot:
        robot.sleep(0.02)
        assert robot.clock() == pytest.approx(0.02)
        assert (robot.read().position_time == robot.clock()).all()
    process.terminate()
    assert process.wait(10) == 0
    process.stdin.close()
    process.stdout.close()
