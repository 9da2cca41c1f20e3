"""Hiwonder HTD-45H servos on serial buses: their protocol, a bus's schedule, a robot of buses.

    0x55 0x55  id  length  command  parameters  check sum

`length` counts itself, the command, the parameters and the check sum: parameters + 3. The check sum
is ~(id + length + command + parameters) & 0xFF. Numbers of two bytes come with the low one first.
Half duplex, 115200 baud, 8N1: 10 bits a byte. Only commands that read are answered, with the same
id and command. Source: LewanSoul (now Hiwonder) Bus Servo Communication Protocol, the vendor's
document for the LX-16A, whose family the HTD-45H belongs to.
"""

from __future__ import annotations

import math
import os
import select
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import numpy as np

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.hardware import Array, HardwareError, Sample

HEADER = b"\x55\x55"
BROADCAST = 254
"""Id that every servo obeys; servos have 0 to 253."""
BAUD = 115200
COUNT = math.radians(0.24)
"""Step of a position [rad]: 0 to 1000 are 0 to 240 degrees."""
CENTRE = 500
"""Position that is 0 rad here."""
DEADBAND = 3
"""A target nearer than this to the last one is not sent [counts]; the real robot's runtime."""
_SHORTEST, _LONGEST = 3, 10
"""Values of `length` of the packets of this protocol."""


class Command(IntEnum):
    """The vendor's commands that are used here."""

    MOVE_TIME_WRITE = 1
    """Position (u16) and time (u16) [ms]: travel there at uniform speed within the time."""
    TEMP_READ = 26
    """Answered by the temperature (u8) [deg C]."""
    VIN_READ = 27
    """Answered by the supply (u16) [mV]."""
    POS_READ = 28
    """Answered by the position (i16), which a joint turned by hand may have below 0."""
    LOAD_OR_UNLOAD_WRITE = 31
    """1 (u8): torque; 0: none."""


ANSWERS = {Command.TEMP_READ: 1, Command.VIN_READ: 2, Command.POS_READ: 2}
"""Command that reads -> bytes of its answer."""


@dataclass(frozen=True)
class Packet:
    """A packet whose check sum is right."""

    servo: int
    command: int
    parameters: bytes


def packet(servo: int, command: Command, parameters: bytes = b"") -> bytes:
    """The bytes of a packet."""
    body = bytes([servo, len(parameters) + 3, command]) + parameters
    return HEADER + body + bytes([~sum(body) & 0xFF])


@dataclass
class BusCounts:
    """What has happened on a bus."""

    reads: int = 0
    """Reads that were answered."""
    lost: int = 0
    """Reads that were not."""
    writes: int = 0
    """Targets that were sent."""
    check_sums: int = 0
    """Packets whose check sum was wrong."""
    garbage: int = 0
    """Bytes that belong to no packet."""


class Packets:
    """Packets of a stream of bytes, however it is cut and whatever else is in it."""

    def __init__(self, counts: BusCounts) -> None:
        self._bytes = bytearray()
        self._counts = counts

    def feed(self, data: bytes) -> list[Packet]:
        """Packets that are complete with `data`; what cannot be one is passed over."""
        self._bytes += data
        found, buffer = [], self._bytes
        while True:
            start = buffer.find(HEADER)
            if start < 0:
                # The last byte may be a header's first half.
                self._skip(len(buffer) - buffer.endswith(HEADER[:1]))
                return found
            self._skip(start)
            if len(buffer) < 4:
                return found
            servo, length = buffer[2], buffer[3]
            if servo > BROADCAST or not _SHORTEST <= length <= _LONGEST:
                self._skip(1)
                continue
            if len(buffer) < length + 3:
                return found
            if ~sum(buffer[2 : length + 2]) & 0xFF != buffer[length + 2]:
                self._counts.check_sums += 1
                self._skip(1)  # a packet may begin within what seemed to be one
                continue
            found.append(Packet(servo, buffer[4], bytes(buffer[5 : length + 2])))
            del buffer[: length + 3]

    def give_up(self) -> list[Packet]:
        """Packets within one that has not been completed in time."""
        found = []
        while len(self._bytes) > 1:
            self._skip(1)
            found += self.feed(b"")
        return found

    def clear(self) -> None:
        """Forget what is not complete."""
        self._skip(len(self._bytes))

    def _skip(self, number: int) -> None:
        self._counts.garbage += number
        del self._bytes[:number]


class Stream(Protocol):
    """A half-duplex line; an `OSError` of it means that it is gone."""

    def read(self, size: int, timeout: float) -> bytes:
        """Up to `size` bytes, as soon as there are any; none after `timeout` [s]."""
        ...

    def write(self, data: bytes) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Let go of the line."""
        ...


class Port:
    """A `Stream` of a file descriptor: a serial port, a pseudo-terminal or a socket."""

    def __init__(self, descriptor: int) -> None:
        """Owns the descriptor."""
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path | str) -> Port:
        """A serial port at 115200 baud, 8N1.

        Raises:
            UserError: there is none at that path.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            raise UserError(
                f"serial port {path} cannot be opened: {error.strerror}; `ls /dev/serial/by-id` "
                "lists those that are there"
            ) from error
        try:
            tty.setraw(descriptor)
            state = termios.tcgetattr(descriptor)
            state[2] |= termios.CLOCAL | termios.CREAD
            state[4] = state[5] = termios.B115200
            termios.tcsetattr(descriptor, termios.TCSANOW, state)
        except termios.error as error:
            os.close(descriptor)
            raise UserError(f"{path} is no serial port: {error.args[-1]}") from error
        return cls(descriptor)

    def read(self, size: int, timeout: float) -> bytes:
        """See `Stream.read`."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, timeout))
        if not ready:
            return b""
        data = os.read(self._descriptor, size)
        if not data:
            raise OSError("the line has ended")
        return data

    def write(self, data: bytes) -> None:
        """See `Stream.write`."""
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """See `Stream.close`."""
        os.close(self._descriptor)


class ServoBus:
    """Servos on one line: one transaction after another."""

    REPLY_S = 0.005
    """Longest time to wait for an answer [s]; its 14 bytes take 1.2 ms, measured were 2.4 ms."""

    def __init__(self, stream: Stream, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self.counts = BusCounts()
        self._packets = Packets(self.counts)

    def move(self, servo: int, position: int, seconds: float) -> None:
        """Travel to a position [counts, 0 to 1000] within `seconds`."""
        time_ms = round(1000.0 * seconds)
        self._send(servo, Command.MOVE_TIME_WRITE, struct.pack("<HH", position, time_ms))
        self.counts.writes += 1

    def load(self, servo: int, torque: bool) -> None:
        """Torque or none; `BROADCAST` is all of them."""
        self._send(servo, Command.LOAD_OR_UNLOAD_WRITE, bytes([torque]))

    def position(self, servo: int) -> int | None:
        """Position [counts]; None without an answer."""
        answer = self._ask(servo, Command.POS_READ)
        return None if answer is None else struct.unpack("<h", answer)[0]

    def voltage(self, servo: int) -> float | None:
        """Supply [V]; None without an answer."""
        answer = self._ask(servo, Command.VIN_READ)
        return None if answer is None else struct.unpack("<H", answer)[0] / 1000.0

    def temperature(self, servo: int) -> float | None:
        """[deg C]; None without an answer."""
        answer = self._ask(servo, Command.TEMP_READ)
        return None if answer is None else float(answer[0])

    def close(self) -> None:
        """Let go of the line."""
        self._stream.close()

    def _send(self, servo: int, command: Command, parameters: bytes = b"") -> None:
        self._stream.write(packet(servo, command, parameters))

    def _ask(self, servo: int, command: Command) -> bytes | None:
        # An answer that came too late for its question must not be taken for that to the next.
        for _ in range(16):
            if not self._stream.read(256, 0.0):
                break
        self._packets.clear()
        self._send(servo, command)
        end = self._clock() + self.REPLY_S

        def answers(found: Sequence[Packet]) -> list[bytes]:
            # An adapter that echoes returns the question, which has no parameters.
            size = ANSWERS[command]
            return [
                one.parameters for one in found
                if (one.servo, one.command, len(one.parameters)) == (servo, command, size)
            ]  # fmt: skip

        while (left := end - self._clock()) > 0.0:
            if found := answers(self._packets.feed(self._stream.read(64, left))):
                self.counts.reads += 1
                return found[-1]
        if found := answers(self._packets.give_up()):
            self.counts.reads += 1
            return found[-1]
        self.counts.lost += 1
        return None


@dataclass
class _Servo:
    """A servo and what is known of it."""

    index: int
    """Its joint."""
    id: int
    sent: int | None = None
    """Last target that was sent [counts]."""
    asked: float = -math.inf
    """When its position was last asked for [s]."""
    unanswered: int = 0
    """Reads in a row without an answer."""


class _State:
    """What all buses have found out, as in `Sample`."""

    def __init__(self, joints: int) -> None:
        self.lock = threading.Lock()
        self.position, self.position_time = np.full(joints, np.nan), np.full(joints, np.nan)
        self.voltage, self.temperature = np.full(joints, np.nan), np.full(joints, np.nan)


class BusSchedule:
    """Whose turn it is on one bus.

    A target is sent when it is `DEADBAND` or more from the last one sent; only the newest counts.
    At least `READS_PER_WRITE` reads follow each write, of the joint whose last read was asked for
    longest ago. A read without an answer is not repeated at once: the joint waits its turn, and
    after `UNANSWERED` of them it is asked only every `PATIENCE_S`, so that a servo that is silent
    does not keep the others waiting.
    """

    READS_PER_WRITE = 2
    UNANSWERED = 3
    PATIENCE_S = 0.1
    HEALTH_S = 1.0
    """Time between two readings of a servo's voltage, and of its temperature [s]."""
    WRITE_S, READ_S = 0.00087, 0.0024
    """What a write takes on the wire, and a read with its turn-around as measured [s]."""

    def __init__(
        self,
        bus: ServoBus,
        servos: Sequence[_Servo],
        state: _State,
        clock: Callable[[], float],
        travel_s: float,
    ) -> None:
        self._bus, self._servos, self._state = bus, list(servos), state
        self._clock, self._travel_s = clock, travel_s
        self._wanted: Mapping[int, int] = {}
        self._owed = 0  # reads that the last write still demands
        self._health = [(servo, voltage) for servo in self._servos for voltage in (True, False)]
        self._health_due = -math.inf
        self.line = threading.Lock()
        """Held for each transaction, and by whoever releases."""

    @property
    def ids(self) -> list[int]:
        """Of its servos."""
        return [servo.id for servo in self._servos]

    def want(self, targets: Mapping[int, int]) -> None:
        """New targets [counts] by joint; does not wait for a transaction."""
        self._wanted = targets

    def forget(self) -> None:
        """No targets any more, after a release."""
        self._wanted = {}
        for servo in self._servos:
            servo.sent = None

    def turn(self, end: float) -> None:
        """As many transactions as fit until `end` [s]."""
        while self.step(end):
            pass

    def step(self, end: float) -> bool:
        """One transaction, if one is due and fits until `end` [s]; says whether there was one."""
        now = self._clock()
        with self.line:
            wanted = self._wanted  # another thread may give new ones meanwhile
            due = self._writes(wanted)
            if due and self._owed <= 0:
                if now + self.WRITE_S > end:
                    return False
                self._write(due[0], wanted[due[0].index])
                self._owed = self.READS_PER_WRITE
                return True
            if now + self.READ_S > end:
                return False
            if now >= self._health_due:
                self._read_health()
                self._owed -= 1
                return True
            ready = [
                servo for servo in self._servos
                if servo.unanswered < self.UNANSWERED or now - servo.asked >= self.PATIENCE_S
            ]  # fmt: skip
            if ready:
                self._read(min(ready, key=lambda servo: servo.asked))
            self._owed = self._owed - 1 if ready else 0
            return bool(ready) or bool(due)

    def _writes(self, wanted: Mapping[int, int]) -> list[_Servo]:
        """Servos that need a target, the one first that has waited longest."""
        return [
            servo for servo in self._servos
            if servo.index in wanted
            and (servo.sent is None or abs(wanted[servo.index] - servo.sent) >= DEADBAND)
        ]  # fmt: skip

    def _write(self, servo: _Servo, target: int) -> None:
        self._bus.move(servo.id, target, self._travel_s)
        if servo.sent is None:
            # After the target, never before it: a servo that is loaded goes to its last one.
            self._bus.load(servo.id, True)
        servo.sent = target
        self._servos.remove(servo)  # whoever was written last is last in the queue
        self._servos.append(servo)

    def _read(self, servo: _Servo) -> None:
        servo.asked = self._clock()
        position = self._bus.position(servo.id)
        if position is None:
            servo.unanswered += 1
            return
        servo.unanswered = 0
        with self._state.lock:
            self._state.position[servo.index] = (position - CENTRE) * COUNT
            self._state.position_time[servo.index] = servo.asked

    def _read_health(self) -> None:
        servo, voltage = self._health.pop(0)
        self._health.append((servo, voltage))
        self._health_due = self._clock() + self.HEALTH_S / len(self._health)
        if servo.unanswered >= self.UNANSWERED:
            return
        value = (self._bus.voltage if voltage else self._bus.temperature)(servo.id)
        if value is not None:
            with self._state.lock:
                kind = self._state.voltage if voltage else self._state.temperature
                kind[servo.index] = value


@dataclass(frozen=True)
class ImuReport:
    """What an IMU last said, in its own axes."""

    quat: Array
    """(4,): orientation in the world, wxyz."""
    gyro: Array
    """(3,) [rad/s]."""
    time: float
    """When it was measured [s]."""


class BusRobot:
    """A `Hardware` of HTD-45H servos on one or several buses.

    With `parallel` each bus has a thread that reads all the time and writes what is new. Without,
    `write` works through the buses one after another, and `read` does where no `write` came before
    it, for `budget_s` in a tick; a servo that does not answer may add `ServoBus.REPLY_S` to that.

    Nothing is sent to a servo but questions before the first `write`. Wrap it in
    `release.released`, so that it lets go however the process ends.
    """

    def __init__(
        self,
        buses: Sequence[tuple[Stream, Mapping[str, int]]],
        imu: Callable[[], ImuReport],
        switches: Callable[[], Array] | None = None,
        *,
        travel_s: float = 0.02,
        parallel: bool = True,
        budget_s: float = 0.012,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to read.

        Args:
            buses: each bus's line, and the ids of its servos by joint.
            imu: the newest report, returns at once.
            switches: (plates,) 1 where a switch is closed, returns at once; None without switches.
            travel_s: time in which servos travel to a target: the control period [s].
            parallel: whether each bus has a thread.
            budget_s: time for all buses in a tick, without threads [s].
            clock: never steps back [s].

        Raises:
            UserError: ids or joints are wrong or given twice.
        """
        names = [name for _, servos in buses for name in servos]
        for _, servos in buses:
            for name, servo in servos.items():
                if not 0 <= servo < BROADCAST:
                    raise UserError(f"joint {name} has servo id {servo}; allowed: 0 to 253")
            if len(set(servos.values())) < len(servos):
                raise UserError(f"ids {list(servos.values())} of one bus are not all different")
        if len(set(names)) < len(names) or not names:
            raise UserError(f"joints {names} are not each on one bus")
        self._names, self._clock = tuple(names), clock
        self._imu, self._switches, self._budget_s = imu, switches, budget_s
        self._state = _State(len(names))
        self._buses = [ServoBus(stream, clock) for stream, _ in buses]
        self._schedules, first = [], 0
        for bus, (_, servos) in zip(self._buses, buses, strict=True):
            those = [_Servo(first + number, id) for number, id in enumerate(servos.values())]
            self._schedules.append(BusSchedule(bus, those, self._state, clock, travel_s))
            first += len(those)
        self._errors: list[str] = []
        self._closed = False
        self._written = False  # since the last read
        self._spent = 0.0  # of this tick's budget, by `read` [s]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True, name=f"bus {number}")
            for number in range(len(buses) if parallel else 0)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def joint_names(self) -> tuple[str, ...]:
        """See `Hardware.joint_names`: bus after bus."""
        return self._names

    @property
    def counts(self) -> tuple[BusCounts, ...]:
        """What has happened on each bus."""
        return tuple(bus.counts for bus in self._buses)

    def clock(self) -> float:
        """See `Hardware.clock`."""
        return self._clock()

    def await_all(self, seconds: float = 3.0) -> None:
        """Wait until every joint has been read.

        Raises:
            HardwareError: one has not answered within `seconds`.
        """
        end = self._clock() + seconds
        while np.isnan(position := self.read().position).any():
            if self._clock() > end:
                missing = [n for n, at in zip(self._names, position, strict=True) if np.isnan(at)]
                raise HardwareError(
                    f"no answer from {', '.join(missing)} within {seconds:g} s; check power, "
                    "cables and ids, and that each port is still its board's (names such as "
                    "/dev/serial/by-id/... stay, /dev/ttyUSB0 does not)"
                )
            if self._threads:
                time.sleep(0.005)

    def read(self) -> Sample:
        """See `Hardware.read`.

        Raises:
            HardwareError: a bus is gone, or the IMU or the switches cannot be read.
        """
        if not self._threads and not self._written:
            begun = self._clock()
            self._work(self._budget_s)
            self._spent = self._clock() - begun
        self._written = False
        self._raise()
        state = self._state
        try:
            report = self._imu()
            closed = np.zeros(0) if self._switches is None else self._switches()
        except OSError as error:
            raise HardwareError(f"the IMU or the switches cannot be read: {error}") from error
        now = self._clock()
        with state.lock:
            return Sample(
                time=now,
                quat=report.quat,
                gyro=report.gyro,
                imu_time=report.time,
                position=state.position.copy(),
                position_time=state.position_time.copy(),
                switches=closed,
                switch_time=now,
                voltage=state.voltage.copy(),
                temperature=state.temperature.copy(),
            )

    def write(self, targets: Array) -> None:
        """See `Hardware.write`: each bus sends the newest targets as it gets to them.

        Raises:
            HardwareError: a bus is gone, or the targets are no finite numbers.
        """
        self._raise()
        if np.shape(targets) != (len(self._names),) or not np.isfinite(targets).all():
            raise HardwareError(f"targets are not {len(self._names)} finite numbers")
        counts = np.clip(np.round(np.asarray(targets) / COUNT) + CENTRE, 0, 1000).astype(int)
        for schedule in self._schedules:
            schedule.want(dict(enumerate(counts.tolist())))
        if not self._threads:
            self._work(self._budget_s - self._spent)
            self._written, self._spent = True, 0.0

    def release(self) -> None:
        """See `Hardware.release`: to all at once, then to each one in case that was lost."""
        if not self._closed:
            self._let_go()

    def _let_go(self) -> None:
        for bus, schedule in zip(self._buses, self._schedules, strict=True):
            with schedule.line:
                schedule.forget()
                try:
                    bus.load(BROADCAST, False)
                    for servo in schedule.ids:
                        bus.load(servo, False)
                except OSError as error:
                    self._errors.append(f"a bus is gone: {error}")

    def close(self) -> None:
        """See `Hardware.close`."""
        if self._closed:
            return
        self._closed = True
        self._let_go()
        for thread in self._threads:
            thread.join(1.0)
        for bus in self._buses:
            try:
                bus.close()
            except OSError as error:
                self._errors.append(f"a bus is gone: {error}")

    def _raise(self) -> None:
        if self._closed:
            raise HardwareError("the buses are closed")
        if self._errors:
            raise HardwareError(self._errors[0])

    def _work(self, seconds: float) -> None:
        """Each bus's turn, one after another."""
        now, share = self._clock(), seconds / len(self._schedules)
        for number, schedule in enumerate(self._schedules, start=1):
            try:
                schedule.turn(now + number * share)
            except OSError as error:
                self._errors.append(f"bus {number - 1} is gone: {error}")

    def _run(self, number: int) -> None:
        """A bus's thread."""
        schedule = self._schedules[number]
        try:
            while not self._closed:
                if not schedule.step(math.inf):
                    time.sleep(0.001)
        except OSError as error:
            self._errors.append(f"bus {number} is gone: {error}")
