"""A runtime and a simulated robot in another process."""

from __future__ import annotations

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wildrobot_torch.contract import Controller, Readings, read
from wildrobot_torch.deploy.runtime.hardware import HardwareError, Sample
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.files import WALKING_POLICY

HOME = np.zeros(8)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A robot in lock-step that clients come and go from."""
    path = str(tmp_path_factory.mktemp("robot") / "socket")
    process = subprocess.Popen(
        [sys.executable, "-m", "wildrobot_torch.deploy.simulated", "--owned", "--lockstep",
         "--address", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == f"listening on {path}\n".encode()
    yield path
    process.stdin.close()  # as when the process that started it is killed
    assert process.wait(10) == 0
    process.stdout.close()
    assert not Path(path).exists()


def _readings(sample: Sample, age: float) -> Readings:
    """Readings of a robot whose servos and IMU are mounted as the contract has them."""
    w, x, y, z = sample.quat
    return Readings(
        gravity=np.array([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1]),
        angvel=sample.gyro,
        heading=math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        joint_pos=sample.position,
        joint_time=sample.position_time,
        switches=sample.switches,
        age=age,
    )


def _stand(robot: RemoteRobot, home: np.ndarray, dt: float) -> None:
    """From the gantry to its own feet."""
    robot.place()
    robot.sleep(0.1)
    begun = robot.read().position
    for share in np.linspace(0.0, 1.0, 60):
        robot.write(begun + share * (home - begun))
        robot.sleep(dt)


def test_the_shipped_policy_walks(address: str) -> None:
    contract, network = read(WALKING_POLICY)
    with RemoteRobot(address) as robot:
        assert robot.joint_names == contract.joint_names
        _stand(robot, contract.offset, contract.ctrl_dt)
        controller = Controller(contract, network)
        heading = _readings(robot.read(), contract.ctrl_dt).heading
        controller.begin(contract.offset, heading)
        command, places = np.array([0.4, 0.0, 0.0]), []
        for step in range(501):
            robot.write(controller.act(_readings(robot.read(), contract.ctrl_dt), command))
            robot.sleep(contract.ctrl_dt)
            if step % 5 == 0:
                places.append(robot.truth().qpos[:3])
    heights = np.array(places)[:, 2]
    assert heights.min() > 0.40
    speed = (places[-1][0] - places[20][0]) / (400 * contract.ctrl_dt)
    assert speed == pytest.approx(0.4, abs=0.06)


def test_nothing_moves_before_the_first_target_and_everything_lets_go_after_the_last(
    address: str,
) -> None:
    with RemoteRobot(address) as robot:
        robot.place()
        robot.sleep(0.5)
        assert not robot.truth().loaded.any()
        _stand(robot, HOME, 0.02)
        assert robot.truth().loaded.all()
        robot.release()
        assert not robot.truth().loaded.any()
        robot.write(HOME)
        robot.sleep(0.02)
        assert robot.truth().loaded.all()
    with RemoteRobot(address) as robot:  # closed in between
        assert not robot.truth().loaded.any()


def test_a_client_that_is_killed_leaves_a_robot_without_torque(address: str) -> None:
    program = (
        "import sys, time, numpy as np\n"
        "from wildrobot_torch.deploy.runtime.remote import RemoteRobot\n"
        "robot = RemoteRobot(sys.argv[1])\n"
        "robot.place(); robot.write(np.zeros(8)); robot.sleep(0.1)\n"
        "print(robot.truth().loaded.sum(), flush=True)\n"
        "time.sleep(60)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert float(client.stdout.readline()) == 8.0
    with pytest.raises(HardwareError, match="another client drives the robot"):
        RemoteRobot(address)
    client.kill()
    client.wait()
    client.stdout.close()
    with RemoteRobot(address) as robot:
        assert not robot.truth().loaded.any()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: robot\r\n\r\n",
        b"WR\x02\xff\xff\xff\xff",
        b"WR\x63\x00\x00\x00\x00" + b"\x00" * 4,
        struct.pack("<2sBI", b"WR", 1, 2) + struct.pack("<H", 1) + b"\x00" * 4,
    ],
    ids=["another protocol", "too long", "unknown kind", "check sum"],
)
def test_a_robot_survives_what_is_no_message(address: str, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5.0)
        stranger.connect(address)
        stranger.sendall(sent)
        answers = b""
        while data := stranger.recv(4096):
            answers += data
    assert answers.startswith(b"WR\x14")  # refused, and the connection has ended
    with RemoteRobot(address) as robot:
        assert robot.read().position.shape == (8,)


def test_targets_that_are_no_numbers_end_the_connection_and_let_go(address: str) -> None:
    with RemoteRobot(address) as robot:
        robot.write(HOME)
        robot.write(np.full(8, np.nan))
        with pytest.raises(HardwareError, match="targets are not 8 finite numbers"):
            robot.read()
    with RemoteRobot(address) as robot:
        assert not robot.truth().loaded.any()


def test_a_fault_that_does_not_exist_is_named(address: str) -> None:
    with RemoteRobot(address) as robot:
        with pytest.raises(HardwareError, match="did you mean 'silent'"):
            robot.inject("silnt:left_knee_pitch@0")
        robot.read()


def test_time_is_simulated_in_lockstep(address: str) -> None:
    with RemoteRobot(address) as robot:
        begun = robot.clock()
        time.sleep(0.05)
        assert robot.clock() == begun
        robot.sleep(0.02)
        robot.sleep(0.0011)  # half a physics step is a whole one
        assert robot.clock() - begun == pytest.approx(0.022)
        assert robot.read().time == pytest.approx(robot.clock())


def test_real_time_is_this_machines_clock_and_a_killed_robot_is_noticed() -> None:
    with RemoteRobot.start() as robot:
        for _ in range(10):
            sample = robot.read()
            robot.sleep(0.02)
        assert abs(sample.time - robot.clock()) < 1.0
        assert robot.process_id is not None
        os.kill(robot.process_id, signal.SIGKILL)
        os.waitid(os.P_PID, robot.process_id, os.WEXITED | os.WNOWAIT)
        with pytest.raises(HardwareError, match=r"gone|ended the connection"):
            for _ in range(2):  # ticks
                robot.read()
                robot.write(HOME)
                robot.sleep(0.02)
        robot.release()  # never raises


def test_a_stopped_robot_delays_no_loop_and_is_noticed_by_its_samples_age() -> None:
    with RemoteRobot.start() as robot:
        first = robot.read()
        assert robot.process_id is not None
        os.kill(robot.process_id, signal.SIGSTOP)
        try:
            assert robot.read().time >= first.time
            robot.write(HOME)
            robot.sleep(0.6)
            with pytest.raises(HardwareError, match=r"no sign of life|answered nothing"):
                robot.read()
        finally:
            os.kill(robot.process_id, signal.SIGCONT)


def test_a_robot_that_cannot_start_says_why() -> None:
    with pytest.raises(HardwareError, match=r"joint_lost is 2\.0; allowed: 0 to 1"):
        RemoteRobot.start({"joint_lost": 2.0})


def test_nobody_at_the_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"no simulated robot answers at .*none"):
        RemoteRobot(str(tmp_path / "none"))
