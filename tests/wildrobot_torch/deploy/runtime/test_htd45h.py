"""HTD-45H servos against a bus that is simulated byte by byte."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.contract import Controller, read
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.hardware import HardwareError
from wildrobot_torch.deploy.runtime.htd45h import (
    COUNT,
    BusCounts,
    BusRobot,
    Command,
    ImuReport,
    Packet,
    Packets,
    Port,
    ServoBus,
    packet,
)
from wildrobot_torch.deploy.simulated.options import RobotOptions
from wildrobot_torch.deploy.simulated.robot import SimulatedRobot
from wildrobot_torch.files import WALKING_POLICY

BYTE_S = 10 / 115200
"""Eight bits, a start and a stop bit."""
MOVE, TEMPERATURE, VOLTAGE, POSITION, LOAD = 1, 26, 27, 28, 31
SINGLE = {name: number for number, name in enumerate(("a", "b", "c", "d"), start=1)}


class Line:
    """A half-duplex line with servos, written from the vendor's document, in simulated time."""

    def __init__(self, ids: tuple[int, ...], turn_around: float = 0.0005) -> None:
        self.now = 0.0
        self.turn_around = turn_around
        self.position = dict.fromkeys(ids, 500)
        self.torque = dict.fromkeys(ids, False)
        self.silent: set[int] = set()
        self.echo = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self.log: list[tuple[float, int, int, bytes]] = []
        self.gone = False
        self._coming: list[tuple[float, int]] = []

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def write(self, data: bytes) -> None:
        if self.gone:
            raise OSError(5, "Input/output error")
        assert data[:2] == b"\x55\x55"
        assert data[3] == len(data) - 3
        assert (sum(data[2:-1]) + data[-1]) % 256 == 255
        for byte in data:
            self.pass_time(BYTE_S)
            if self.echo:
                self._coming.append((self.now, byte))
        self.log.append((self.now, data[2], data[4], data[5:-1]))
        self.obey(data[2], data[4], data[5:-1])

    def obey(self, id: int, command: int, parameters: bytes) -> None:
        for servo in self.position if id == 254 else {id} & set(self.position):
            if servo in self.silent:
                continue
            if command == MOVE:
                self.position[servo] = parameters[0] + 256 * parameters[1]
                self.torque[servo] = True
            elif command == LOAD:
                self.torque[servo] = bool(parameters[0])
            else:
                answer = {
                    POSITION: self.position[servo].to_bytes(2, "little", signed=True),
                    VOLTAGE: (11100).to_bytes(2, "little"),
                    TEMPERATURE: b"\x28",
                }[command]
                body = bytes([servo, 3 + len(answer), command]) + answer
                at = self.now + self.turn_around
                for byte in self.spoil(b"\x55\x55" + body + bytes([255 - sum(body) % 256])):
                    at += BYTE_S
                    self._coming.append((at, byte))

    def read(self, size: int, timeout: float) -> bytes:
        if self.gone:
            raise OSError(5, "Input/output error")
        first = self._coming[0][0] if self._coming else np.inf
        self.pass_time(max(0.0, min(first - self.now, timeout)))
        here = [byte for at, byte in self._coming[:size] if at <= self.now + 1e-12]
        del self._coming[: len(here)]
        return bytes(here)

    def close(self) -> None:
        self.gone = True

    def commands(self, command: int) -> list[tuple[float, int, bytes]]:
        return [(at, id, parameters) for at, id, what, parameters in self.log if what == command]


@pytest.fixture
def line() -> Line:
    return Line((1, 2, 3, 4))


def _upright() -> ImuReport:
    return ImuReport(np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(3), 0.0)


def _robot(line: Line, **options: object) -> BusRobot:
    defaults = {"parallel": False, "budget_s": 0.0195, "clock": lambda: line.now}
    return BusRobot([(line, SINGLE)], _upright, **(defaults | options))


def _tick(robot: BusRobot, line: Line, targets: np.ndarray | None = None) -> None:
    """One control period of 20 ms."""
    end = line.now + 0.02
    robot.read()
    if targets is not None:
        robot.write(targets)
    assert line.now <= end
    line.pass_time(end - line.now)


# Packets


@pytest.mark.parametrize(
    ("sent", "bytes_"),
    [
        # 1 + 3 + 27 = 31 = 0x1f, its complement 0xe0
        (packet(1, Command.VIN_READ), "55 55 01 03 1b e0"),
        # 500 = 0x01f4, 1000 = 0x03e8; 1 + 7 + 1 + 244 + 1 + 232 + 3 = 489 = 0x1e9, 0xe9 -> 0x16
        (packet(1, Command.MOVE_TIME_WRITE, b"\xf4\x01\xe8\x03"), "55 55 01 07 01 f4 01 e8 03 16"),
        # 254 + 4 + 31 + 0 = 289 = 0x121, 0x21 -> 0xde
        (packet(254, Command.LOAD_OR_UNLOAD_WRITE, b"\x00"), "55 55 fe 04 1f 00 de"),
        # 2 + 3 + 28 = 33 = 0x21 -> 0xde
        (packet(2, Command.POS_READ), "55 55 02 03 1c de"),
        # 7 + 3 + 26 = 36 = 0x24 -> 0xdb
        (packet(7, Command.TEMP_READ), "55 55 07 03 1a db"),
    ],
)
def test_packets_have_the_documents_bytes(sent: bytes, bytes_: str) -> None:
    assert sent == bytes.fromhex(bytes_)


# 2 + 5 + 28 + 244 + 1 = 280 = 0x118, 0x18 -> 0xe7: servo 2 is at 500
ANSWER = bytes.fromhex("55 55 02 05 1c f4 01 e7")


@pytest.mark.parametrize(
    ("before", "garbage", "check_sums"),
    [
        (b"", 0, 0),
        (b"\x00\xff\x12", 3, 0),
        (b"\x55", 1, 0),
        (b"\x55\x55\x55", 3, 0),
        (b"\x55\x55\x02\xff", 4, 0),
        (ANSWER[:5], 5, 1),
        (ANSWER[:-1] + b"\x00", 8, 1),
    ],
    ids=["nothing", "noise", "half a header", "long header", "impossible length", "cut off",
         "wrong check sum"],
)  # fmt: skip
def test_an_answer_is_found_after_garbage(before: bytes, garbage: int, check_sums: int) -> None:
    counts = BusCounts()
    packets, found = Packets(counts), []
    for byte in before + ANSWER:
        found += packets.feed(bytes([byte]))
    assert found == [Packet(2, 28, b"\xf4\x01")]
    assert (counts.garbage, counts.check_sums) == (garbage, check_sums)


def test_packets_survive_any_bytes() -> None:
    random = np.random.default_rng(0)
    packets = Packets(BusCounts())
    for _ in range(200):
        packets.feed(random.choice([0x55, 0x03, 0x01, 0xFF], 50).astype(np.uint8).tobytes())
    packets.give_up()
    packets.clear()
    assert packets.feed(ANSWER) == [Packet(2, 28, b"\xf4\x01")]


# One bus


def test_a_read_takes_its_bytes_and_the_turn_around(line: Line) -> None:
    bus = ServoBus(line, lambda: line.now)
    line.position[3] = -20  # turned by hand below 0
    assert bus.position(3) == -20
    assert line.now == pytest.approx(14 * BYTE_S + 0.0005)  # 1.22 ms and the turn-around
    assert bus.voltage(3) == 11.1
    assert bus.temperature(3) == 40.0
    begun = line.now
    bus.move(3, 1000, 0.02)
    assert line.now - begun == pytest.approx(0.00087, abs=1e-5)
    assert line.log[-1][3] == b"\xe8\x03\x14\x00"  # 1000 counts, 20 ms


@pytest.mark.parametrize("echo", [False, True])
def test_an_adapter_may_echo(line: Line, echo: bool) -> None:
    line.echo = echo
    bus = ServoBus(line, lambda: line.now)
    bus.move(2, 640, 0.02)
    assert bus.position(2) == 640
    assert bus.temperature(1) == 40.0


def test_a_silent_servo_costs_the_time_out_and_no_more(line: Line) -> None:
    line.silent = {2}
    bus = ServoBus(line, lambda: line.now)
    assert bus.position(2) is None
    assert line.now == pytest.approx(6 * BYTE_S + ServoBus.REPLY_S)
    assert bus.position(1) == 500
    assert bus.counts.lost == 1


def test_an_answer_that_comes_late_is_not_taken_for_the_next(line: Line) -> None:
    bus = ServoBus(line, lambda: line.now)
    line.turn_around = 0.01
    assert bus.position(2) is None
    line.turn_around, line.position[2] = 0.0005, 700
    line.pass_time(0.02)
    assert bus.position(2) == 700


@pytest.mark.parametrize(
    ("spoil", "answered"),
    [
        (lambda answer: answer[:-1] + bytes([answer[-1] ^ 1]), False),
        (lambda answer: answer[:5], False),
        (lambda answer: b"\x55\x55\x00\x07" + answer, True),
        (lambda answer: b"\x00" * 20 + answer, True),
        (lambda answer: answer.replace(b"\x02", b"\x09", 1), False),
        (lambda answer: b"\xa5" * 400, False),
    ],
    ids=["check sum", "cut off", "false beginning", "noise", "another servo", "babble"],
)
def test_a_spoilt_answer_is_none(
    line: Line, spoil: Callable[[bytes], bytes], answered: bool
) -> None:
    bus = ServoBus(line, lambda: line.now)
    line.spoil = spoil
    assert bus.position(2) == (500 if answered else None)
    line.spoil = bytes
    line.pass_time(0.1)
    assert bus.position(2) == 500  # and the next is right


# A robot


def test_nothing_but_questions_is_sent_before_the_first_target(line: Line) -> None:
    robot = _robot(line)
    for _ in range(50):
        _tick(robot, line)
    assert {what for _, _, what, _ in line.log} == {POSITION, VOLTAGE, TEMPERATURE}
    assert not any(line.torque.values())
    sample = robot.read()
    assert np.array_equal(sample.position, np.zeros(4))
    assert np.array_equal(sample.voltage, np.full(4, 11.1))
    assert np.array_equal(sample.temperature, np.full(4, 40.0))


def test_positions_and_targets_are_radians_about_the_middle(line: Line) -> None:
    robot = _robot(line)
    # 30 and -120 degrees are 125 and -500 counts; 200 degrees is beyond the servo's travel.
    robot.write(np.radians([30.0, -120.0, 200.0, 0.1]))
    for _ in range(5):
        _tick(robot, line)
    assert line.position == {1: 625, 2: 0, 3: 1000, 4: 500}
    assert robot.read().position == pytest.approx(np.radians([30.0, -120.0, 120.0, 0.0]))


def test_at_least_two_reads_follow_each_write(line: Line) -> None:
    robot = _robot(line)
    for step in range(100):
        _tick(robot, line, np.full(4, 0.3 * np.sin(0.3 * step)))
    kinds = "".join("w" if what == MOVE else "" if what == LOAD else "r"
                    for _, _, what, _ in line.log)  # fmt: skip
    assert min(len(reads) for reads in kinds.split("w")[1:-1]) >= 2
    # Of 4 servos all get each target: 4 x (0.87 + 2 x 1.72) ms = 17 ms.
    assert kinds.count("w") > 350


def test_joints_are_read_in_turn_and_their_times_are_when_they_were_asked(line: Line) -> None:
    robot = _robot(line)
    for step in range(100):
        _tick(robot, line, np.full(4, 0.3 * np.sin(0.3 * step)))
    asked = line.commands(POSITION)
    numbers = np.bincount([id for _, id, _ in asked])[1:]
    assert numbers.max() - numbers.min() <= 1
    sample = robot.read()
    for index, id in enumerate(SINGLE.values()):
        last = [at for at, asked_id, _ in line.commands(POSITION) if asked_id == id][-1]
        assert sample.position_time[index] == pytest.approx(last - 6 * BYTE_S)


def test_a_target_within_the_deadband_is_not_sent(line: Line) -> None:
    robot = _robot(line)
    _tick(robot, line, np.zeros(4))
    _tick(robot, line, np.zeros(4))
    sent = len(line.commands(MOVE))
    assert sent == 4
    for _ in range(5):
        _tick(robot, line, np.full(4, 2 * COUNT))
    assert len(line.commands(MOVE)) == sent
    _tick(robot, line, np.array([3 * COUNT, 0.0, 0.0, -3 * COUNT]))
    _tick(robot, line, np.array([3 * COUNT, 0.0, 0.0, -3 * COUNT]))
    assert [(id, parameters[0] + 256 * parameters[1]) for _, id, parameters in
            line.commands(MOVE)[sent:]] == [(1, 503), (4, 497)]  # fmt: skip


def test_only_the_newest_target_is_sent(line: Line) -> None:
    robot = _robot(line, budget_s=0.006)  # time for one write in a tick
    for step in range(20):
        _tick(robot, line, np.full(4, 0.1 * step))
    for at, id, parameters in line.commands(MOVE):
        newest = round(0.1 * int(at / 0.02) / COUNT) + 500
        assert parameters[0] + 256 * parameters[1] == min(newest, 1000), (at, id)
    assert {id for _, id, _ in line.commands(MOVE)[-4:]} == {1, 2, 3, 4}  # each in its turn


def test_a_silent_servo_does_not_keep_the_others_waiting(line: Line) -> None:
    def longest_gap() -> float:
        begun = line.now
        while line.now < begun + 2.0:
            _tick(robot, line, np.full(4, 0.2 * np.sin(10 * line.now)))
        times = [at for at, id, _ in line.commands(POSITION) if id == 1 and at > begun + 0.2]
        return float(np.diff(times).max())

    robot = _robot(line, budget_s=0.016)
    well = longest_gap()
    assert well < 0.03
    line.silent = {3}
    since = line.now
    assert longest_gap() < well + 2 * ServoBus.REPLY_S
    sample = robot.read()
    assert sample.position_time[2] <= since
    assert line.now - sample.position_time[[0, 1, 3]].min() < 0.05
    asked = [at for at, id, _ in line.commands(POSITION) if id == 3 and at > since + 0.2]
    assert len(asked) < 2.0 / 0.1 + 2
    line.silent = set()  # it comes back
    longest_gap()
    assert line.now - robot.read().position_time[2] < 0.05


def test_release_unloads_all_and_each_and_the_next_target_comes_before_torque(line: Line) -> None:
    robot = _robot(line)
    _tick(robot, line, np.full(4, 0.5))
    _tick(robot, line, np.full(4, 0.5))
    assert all(line.torque.values())
    robot.release()
    assert not any(line.torque.values())
    assert [(id, parameters) for _, id, parameters in line.commands(LOAD)][-5:] == [
        (254, b"\0"), (1, b"\0"), (2, b"\0"), (3, b"\0"), (4, b"\0")
    ]  # fmt: skip
    sent = len(line.commands(MOVE))
    for _ in range(5):
        _tick(robot, line)
    assert len(line.commands(MOVE)) == sent  # it is not driven by old targets
    line.log.clear()
    _tick(robot, line, np.full(4, 0.5))
    of_one = [what for _, id, what, _ in line.log if id == 1 and what in (MOVE, LOAD)]
    assert of_one == [MOVE, LOAD]
    robot.close()
    assert not any(line.torque.values())


def test_a_bus_that_is_gone_is_an_error_and_release_never_raises(line: Line) -> None:
    robot = _robot(line)
    _tick(robot, line, np.zeros(4))
    line.gone = True
    with pytest.raises(HardwareError, match="bus 0 is gone"):
        for _ in range(2):
            _tick(robot, line, np.full(4, 0.5))
    robot.release()
    robot.close()


@pytest.mark.parametrize("targets", [np.full(4, np.nan), np.zeros(3), np.full(4, np.inf)])
def test_targets_that_are_no_numbers_are_refused(line: Line, targets: np.ndarray) -> None:
    robot = _robot(line)
    with pytest.raises(HardwareError, match="not 4 finite numbers"):
        robot.write(targets)
    assert not line.commands(MOVE)


def test_servos_that_do_not_answer_at_the_start_are_named(line: Line) -> None:
    line.silent = {2, 4}
    with pytest.raises(HardwareError, match="no answer from b, d within 3 s"):
        _robot(line).await_all()


@pytest.mark.parametrize(
    ("buses", "said"),
    [
        ([{"a": 254}], "allowed: 0 to 253"),
        ([{"a": 1, "b": 1}], "not all different"),
        ([{"a": 1}, {"a": 2}], "not each on one bus"),
        ([], "not each on one bus"),
    ],
)
def test_wiring_that_cannot_be_is_refused(buses: list[dict[str, int]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        BusRobot([(Line(()), servos) for servos in buses], _upright, parallel=False)


# Threads and descriptors


def _serve(connection: socket.socket, line: Line, stop: threading.Event) -> None:
    """Answer what comes over a socket as `line` does."""
    connection.settimeout(0.05)
    while not stop.is_set():
        try:
            data = connection.recv(256)
        except TimeoutError:
            continue
        except OSError:
            return
        if not data:
            return  # all that was sent has been obeyed
        while data:
            one, data = data[: data[3] + 3], data[data[3] + 3 :]
            line.write(one)
            line.pass_time(0.01)
            if answer := line.read(64, 0.0):
                connection.sendall(answer)


@pytest.fixture
def sockets() -> Iterator[tuple[list[Line], list[Port], list[threading.Thread]]]:
    lines, ports, stop, threads, ends = [Line((1, 2)), Line((1, 2))], [], threading.Event(), [], []
    for one in lines:
        ours, theirs = socket.socketpair()
        ports.append(Port(ours.detach()))
        threads.append(threading.Thread(target=_serve, args=(theirs, one, stop)))
        ends.append(theirs)
        threads[-1].start()
    yield lines, ports, threads
    stop.set()
    for thread, end in zip(threads, ends, strict=True):
        thread.join()
        end.close()


def test_buses_work_in_parallel(
    sockets: tuple[list[Line], list[Port], list[threading.Thread]],
) -> None:
    lines, ports, threads = sockets
    names: list[dict[str, int]] = [{"a": 1, "b": 2}, {"c": 1, "d": 2}]
    robot = BusRobot(list(zip(ports, names, strict=True)), _upright, lambda: np.ones(4))
    robot.await_all()
    assert not any(one.commands(MOVE) for one in lines)
    targets = np.array([0.1, 0.2, 0.3, 0.4])
    robot.write(targets)
    end = robot.clock() + 20.0
    while np.abs(robot.read().position - targets).max() > 0.5001 * COUNT:
        assert robot.clock() < end
    assert robot.read().switches.tolist() == [1.0] * 4
    assert all(torque for one in lines for torque in one.torque.values())
    robot.close()
    for thread in threads:
        thread.join(20.0)
    assert not any(torque for one in lines for torque in one.torque.values())


def test_servos_are_unloaded_when_the_process_is_told_to_end() -> None:
    master, slave = os.openpty()
    tty.setraw(master)
    program = """
import sys, time
import numpy as np
from wildrobot_torch.deploy.runtime.htd45h import BusRobot, ImuReport, Port
from wildrobot_torch.deploy.runtime.release import released
robot = BusRobot([(Port.open(sys.argv[1]), {"knee": 1})],
                 lambda: ImuReport(np.array([1.0, 0, 0, 0]), np.zeros(3), 0.0))
with released(robot):
    robot.write(np.zeros(1))
    print("driven", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, os.ttyname(slave)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"driven\n"
    port, sent = Port(master), b""
    move = bytes.fromhex("55 55 01 07 01 f4 01 14 00 ed")  # 1 + 7 + 1 + 244 + 1 + 20 = 0x112
    while move not in sent:
        sent += port.read(256, 5.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    while data := port.read(256, 0.2):
        sent += data
    unload = bytes.fromhex("55 55 fe 04 1f 00 de")
    assert sent.rindex(unload) > sent.rindex(move)
    process.stdout.close()
    port.close()
    os.close(slave)


# A robot's body behind the bytes


class Body(Line):
    """A line whose servos are those of a simulated robot; its time is the simulation's."""

    def __init__(self, robot: SimulatedRobot) -> None:
        super().__init__(tuple(range(8)))
        self.robot = robot

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        while self.robot.steps * self.robot.dt < self.now - 1e-9:
            self.robot.step()

    def obey(self, id: int, command: int, parameters: bytes) -> None:
        shown = self.robot.servos.shown(self.robot.truth()[7:15])
        self.position = {joint: 500 + round(at / COUNT) for joint, at in enumerate(shown)}
        if command == MOVE:
            target = (parameters[0] + 256 * parameters[1] - 500) * COUNT
            self.robot.servos.send(id, target, self.robot.truth()[7 + id])
        elif command == LOAD and not parameters[0]:
            self.robot.release()
        else:
            super().obey(id, command, parameters)


def test_a_robot_is_held_upright_through_the_bytes_and_falls_when_released() -> None:
    body = SimulatedRobot(RobotOptions(start="holding"))
    line = Body(body)
    servos = {name: id for id, name in enumerate(body.joint_names)}
    robot = BusRobot([(line, servos)], _upright, parallel=False, clock=lambda: line.now)
    for step in range(150):
        bend = 0.2 * min(step / 50, 1.0)  # into the knees, soles flat
        end = line.now + 0.02
        robot.read()
        robot.write(np.array([bend, 0, 2 * bend, -bend, -bend, 0, 2 * bend, -bend]))
        line.pass_time(end - line.now)
    truth = body.truth()
    assert truth[2] == pytest.approx(0.456, abs=0.006)  # its legs are 0.37 (1 - cos 0.2) shorter
    assert robot.read().position == pytest.approx(truth[7:15], abs=COUNT)
    robot.release()
    line.pass_time(2.0)
    assert body.truth()[2] < 0.4


def test_the_shipped_policy_walks_through_the_bytes_of_one_bus() -> None:
    contract, network = read(WALKING_POLICY)
    body = SimulatedRobot(RobotOptions(start="holding"))
    line = Body(body)

    def imu() -> ImuReport:
        sample = body.read()
        return ImuReport(sample.quat, sample.gyro, sample.imu_time)

    servos = {name: id for id, name in enumerate(body.joint_names)}
    robot = BusRobot([(line, servos)], imu, lambda: body.read().switches, parallel=False,
                     budget_s=0.019, clock=lambda: line.now)  # fmt: skip
    robot.await_all()
    calibration = Calibration.identity(body.joint_names, body.plates)
    controller, command = Controller(contract, network), np.array([0.4, 0.0, 0.0])
    previous, places = robot.read(), []
    controller.begin(contract.home, calibration.readings(previous).heading)
    for _ in range(500):
        end = line.now + contract.ctrl_dt
        sample = robot.read()
        robot.write(controller.act(calibration.readings(sample, previous), command))
        previous = sample
        line.pass_time(max(0.0, end - line.now))
        places.append(body.truth()[:3])
    assert np.array(places)[:, 2].min() > 0.4
    speed = (places[-1][0] - places[99][0]) / (400 * contract.ctrl_dt)
    assert speed == pytest.approx(0.4, abs=0.06)
    assert robot.counts[0].lost == 0
