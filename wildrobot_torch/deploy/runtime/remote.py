"""A robot in another process, reached by a local socket; see `wildrobot_torch.deploy.simulated`."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from wildrobot_torch.deploy.runtime.hardware import Array, HardwareError, Sample
from wildrobot_torch.deploy.runtime.newest import NewestReader
from wildrobot_torch.deploy.runtime.wire import (
    VERSION,
    Frames,
    Kind,
    WireError,
    address_of,
    frame,
    unpack_sample,
)

START_S = 30.0
"""Longest time in which a process that was started must listen [s]."""
LOCKSTEP_S = 60.0
"""Longest time to wait for an answer in lock-step, where nothing is late [s]."""
SILENT_S = 0.5
"""Real time: a robot that has given no sign of life for this long is gone [s]."""


@dataclass(frozen=True)
class Truth:
    """A simulated robot as it is; J servos in the hardware's order."""

    qpos: Array
    """(7 + J,): root position [m], orientation (wxyz), joints [rad]."""
    qvel: Array
    """(6 + J,): root velocity in the world [m/s], its rates in its own frame, joints [rad/s]."""
    loaded: Array
    """(J,): 1 where a servo has been told to hold."""


class RemoteRobot:
    """A `Hardware` that is a simulated robot in a process of its own.

    In real time its clock is this machine's `time.monotonic`. In lock-step the simulated time goes
    on when `sleep` says so, and nowhere else: a loop that gets its time from `clock` and waits by
    `sleep` runs the same on both. In lock-step targets and `sleep` are on their way when they
    return; `clock`, `read` and all else wait for their answers.
    """

    def __init__(self, address: str) -> None:
        """Connect to `127.0.0.1:PORT` or to a Unix socket's path.

        Raises:
            HardwareError: nobody answers there, or somebody else's robot.
        """
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        self._asked: list[Kind] = []  # requests without an answer; answers keep their order
        self._heard = time.monotonic()
        self._now = 0.0
        self._frames = Frames()
        self._last: Sample | None = None
        self._newest: NewestReader | None = None
        family, where = address_of(address)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._lockstep = True  # until it has said what it is, its answers are waited for
        try:
            self._socket.connect(where)
            if family == socket.AF_INET:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            said = self._request(Kind.HELLO, struct.pack("<H", VERSION))
        except OSError as error:
            self._socket.close()
            raise HardwareError(
                f"no simulated robot answers at {address} ({error.strerror or error}); start one: "
                "python -m wildrobot_torch.deploy.simulated"
            ) from error
        except HardwareError:
            self._socket.close()
            raise
        self.description: dict[str, Any] = json.loads(said)
        """What the robot is: names, and the signs, zeros and IMU mount that a calibration finds."""
        self._names = tuple(self.description["joint_names"])
        self._lockstep = bool(self.description["lockstep"])
        if not self._lockstep:
            try:
                self._newest = NewestReader(self.description["newest"])
            except HardwareError:
                self._socket.close()
                raise
            self._beat = time.monotonic()

    @classmethod
    def start(
        cls, options: Mapping[str, Any] | None = None, *, lockstep: bool = False
    ) -> RemoteRobot:
        """A robot in a new process, which ends with this object or with this process.

        Args:
            options: of `python -m wildrobot_torch.deploy.simulated --help`, by name.
            lockstep: time goes on in `sleep` alone.

        Raises:
            HardwareError: the process ends at once; the message is what it said.
        """
        folder = tempfile.TemporaryDirectory(prefix="wildrobot-")
        address = str(Path(folder.name) / "robot")
        words = [sys.executable, "-m", "wildrobot_torch.deploy.simulated", "--owned"]
        words += ["--lockstep"] * lockstep + ["--address", address]
        for name, value in (options or {}).items():
            words.append(f"--{name}={value if isinstance(value, str) else json.dumps(value)}")
        # In a session of its own: Ctrl-C is this process's, which then lets the robot go.
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            _await_line(process)
            robot = cls(address)
        except BaseException:
            _end(process)
            folder.cleanup()
            raise
        robot._process, robot._folder = process, folder
        return robot

    @property
    def joint_names(self) -> tuple[str, ...]:
        """See `Hardware.joint_names`."""
        return self._names

    @property
    def lockstep(self) -> bool:
        """Whether time goes on in `sleep` alone."""
        return self._lockstep

    @property
    def process_id(self) -> int | None:
        """Of the process that `start` started."""
        return None if self._process is None else self._process.pid

    def clock(self) -> float:
        """See `Hardware.clock`."""
        if not self._lockstep:
            return time.monotonic()
        self._listen(LOCKSTEP_S)
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass, in lock-step rounded up to a physics step."""
        if not self._lockstep:
            time.sleep(max(0.0, seconds))
        elif seconds > 0.0:
            self._ask(Kind.ADVANCE, struct.pack("<d", seconds))

    def read(self) -> Sample:
        """See `Hardware.read`."""
        if self._newest is None:
            return unpack_sample(self._request(Kind.READ))
        self._listen(0.0)
        self._look()
        found = self._newest.read()
        if found is not None:
            self._beat, sample = found
            self._last = unpack_sample(sample)
        if self._last is None:
            self._last = unpack_sample(self._request(Kind.READ))
        elif time.monotonic() - self._beat > SILENT_S:
            raise HardwareError(f"the simulated robot has given no sign of life for {SILENT_S:g} s")
        return self._last

    def write(self, targets: Array) -> None:
        """See `Hardware.write`."""
        payload = np.asarray(targets, dtype="<f8").tobytes()
        self._ask(Kind.WRITE, payload)
        if not self._lockstep:
            self._listen(0.0)

    def release(self) -> None:
        """See `Hardware.release`."""
        if self._closed:
            return
        # A robot that loses its client lets go by itself.
        with contextlib.suppress(HardwareError):
            self._request(Kind.RELEASE)

    def close(self) -> None:
        """See `Hardware.close`; ends the process that `start` started."""
        if self._closed:
            return
        self.release()
        self._closed = True
        self._socket.close()
        if self._newest is not None:
            self._newest.close()
        if self._process is not None:
            _end(self._process)
        if self._folder is not None:
            self._folder.cleanup()

    def place(self) -> None:
        """Put the robot back to where it started, as a person would."""
        self._request(Kind.PLACE)

    def inject(self, fault: str) -> None:
        """Begin a fault, as in `silent:left_knee_pitch@0+0.5`; its times count from now.

        Raises:
            HardwareError: there is no such fault; the message is the robot's.
        """
        self._request(Kind.INJECT, fault.encode())

    def truth(self) -> Truth:
        """What the simulation knows and no runtime may use."""
        values = np.frombuffer(self._request(Kind.TRUTH), "<f8")
        joints = len(self._names)
        return Truth(*np.split(values, np.cumsum([7 + joints, 6 + joints])))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a request; its answer comes later.

        Raises:
            HardwareError: there is no connection.
        """
        if self._closed:
            raise HardwareError("the connection to the simulated robot is closed")
        if not self._asked:
            self._heard = time.monotonic()
        self._asked.append(kind)
        try:
            self._socket.settimeout(SILENT_S)
            self._socket.sendall(frame(kind, payload))
        except OSError as error:
            self._listen(0.0)  # it may have said why
            raise HardwareError(f"the simulated robot is gone ({error.strerror})") from error

    def _look(self) -> None:
        """Notice that the robot is gone although nothing was asked.

        Raises:
            HardwareError: it is.
        """
        if self._closed:
            raise HardwareError("the connection to the simulated robot is closed")
        self._socket.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            try:
                gone = not self._socket.recv(1, socket.MSG_PEEK)
            except ConnectionError:
                gone = True
            if gone:
                raise HardwareError("the simulated robot has ended the connection")

    def _listen(self, seconds: float) -> bytes:
        """Take answers for at most `seconds`, until no request waits for one.

        Returns the content of the last answer.

        Raises:
            HardwareError: the connection has ended, the robot refuses, or is silent for too long.
        """
        end, content = time.monotonic() + seconds, b""
        while self._asked:
            self._socket.settimeout(max(0.0, end - time.monotonic()))
            try:
                data = self._socket.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                patience = LOCKSTEP_S if self._lockstep else SILENT_S
                if time.monotonic() - self._heard > patience:
                    raise HardwareError(
                        f"the simulated robot has answered nothing for {patience:g} s"
                    ) from None
                return content
            except OSError as error:
                raise HardwareError(f"the simulated robot is gone ({error.strerror})") from error
            if not data:
                raise HardwareError("the simulated robot has ended the connection")
            self._heard = time.monotonic()
            try:
                for kind, payload in self._frames.feed(data):
                    content = self._take(kind, payload)
            except (WireError, struct.error) as error:
                raise HardwareError(f"the simulated robot says what it cannot: {error}") from error
        return content

    def _take(self, kind: Kind, payload: bytes) -> bytes:
        """One answer; returns its content without the clock."""
        if self._asked:
            self._asked.pop(0)
        (now,) = struct.unpack_from("<d", payload)
        self._now = max(self._now, now)
        content = payload[8:]
        if kind is Kind.REFUSED:
            raise HardwareError(f"the simulated robot refuses: {content.decode(errors='replace')}")
        return content

    def _request(self, kind: Kind, payload: bytes = b"") -> bytes:
        """Send a request and wait for its answer, whose content is returned."""
        self._ask(kind, payload)
        content = self._listen(LOCKSTEP_S if self._lockstep else SILENT_S)
        if self._asked:
            raise HardwareError(f"the simulated robot has not answered {kind.name}")
        return content


def _await_line(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process that was started listens.

    Raises:
        HardwareError: it ends, or says nothing.
    """
    assert process.stdout is not None and process.stderr is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    if ready and process.stdout.readline().startswith(b"listening"):
        return
    if not ready:
        raise HardwareError(f"the simulated robot has not started within {START_S:g} s")
    said = process.stderr.read().decode(errors="replace").strip().splitlines()
    raise HardwareError(f"the simulated robot has not started: {said[-1] if said else 'no reason'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started, and wait until it has."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
