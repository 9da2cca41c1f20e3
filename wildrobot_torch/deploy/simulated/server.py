"""The simulated robot's side of the socket: one client at a time, real time or lock-step."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.newest import NewestWriter
from wildrobot_torch.deploy.runtime.wire import (
    VERSION,
    Frames,
    Kind,
    WireError,
    address_of,
    frame,
    pack_sample,
)
from wildrobot_torch.deploy.simulated.robot import SimulatedRobot

CHUNK_S = 0.004
"""Real time: time between two samples [s]."""
LATE_S = 0.1
"""Real time: a simulation that is further behind skips the rest, as a robot would not [s]."""
TAKE_S = 1.0
"""A client that takes no answer for this long is gone [s]."""
MOST_ADVANCE_S = 10.0
"""Lock-step: longest time of one request [s]."""


class Server:
    """A robot that is served until `serve` is stopped."""

    def __init__(
        self, robot: SimulatedRobot, address: str, lockstep: bool, owned: bool = False
    ) -> None:
        """Listen.

        Args:
            robot: what is served.
            address: HOST:PORT on this machine, port 0 for any, or the path of a Unix socket.
            lockstep: time goes on when a client says so; otherwise as on the wall.
            owned: end when standard input ends, as it does when the process that started this one
                is no more.

        Raises:
            UserError: the address cannot be used.
        """
        self.robot, self.lockstep = robot, lockstep
        family, where = address_of(address)
        self._path = Path(str(where)) if family == socket.AF_UNIX else None
        if self._path is not None and self._path.is_socket() and not _answers(self._path):
            self._path.unlink()  # of a process that was killed
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(where)
        except OSError as error:
            self._socket.close()
            raise UserError(f"address {address!r} cannot be used: {error.strerror}") from error
        self._socket.listen()
        self._socket.setblocking(False)
        self.address = address
        if family == socket.AF_INET:
            self.address = "{}:{}".format(*self._socket.getsockname())
        self._client: socket.socket | None = None
        self._frames = Frames()
        self._greeted = False
        self._selector = selectors.PollSelector()  # standard input may be a file
        self._selector.register(self._socket, selectors.EVENT_READ, self._accept)
        self._running = True
        if owned:
            self._selector.register(sys.stdin, selectors.EVENT_READ, self._end)
        self._epoch = 0.0
        self._newest = None if lockstep else NewestWriter(self._path and self._path.parent)

    def serve(self) -> None:
        """Serve until the owner is gone, or an exception says so; then clean up."""
        robot = self.robot
        self._epoch = time.monotonic() - robot.steps * robot.dt
        robot.offset = 0.0 if self.lockstep else self._epoch
        try:
            while self._running:
                timeout = None if self.lockstep else CHUNK_S
                for key, _ in self._selector.select(timeout):
                    key.data()
                self._catch_up()
        finally:
            self._drop()
            self._selector.close()
            self._socket.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            if self._newest is not None:
                self._newest.close()

    def _end(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            self._running = False

    def _catch_up(self) -> None:
        """Real time: simulate up to now, and publish what is measured."""
        robot = self.robot
        if self._newest is None:
            return
        behind = time.monotonic() - self._epoch - robot.steps * robot.dt
        if behind > LATE_S:
            self._epoch += behind
            robot.offset = self._epoch
        else:
            for _ in range(int(behind / robot.dt)):
                robot.step()
        self._pause()
        self._newest.write(time.monotonic(), pack_sample(robot.read()))

    def _pause(self) -> None:
        """Do nothing for as long as a fault says."""
        until = self.robot.paused_until
        if until:
            time.sleep(min(until - self.robot.steps * self.robot.dt, 3600.0))
            self.robot.faults = [fault for fault in self.robot.faults if fault.kind != "pause"]

    def _accept(self) -> None:
        # What the last client has said comes first, above all that it is gone.
        while self._client is not None and select.select([self._client], [], [], 0)[0]:
            self._serve_client()
        with contextlib.suppress(OSError):
            client, _ = self._socket.accept()
            if self._client is not None:
                client.send(frame(Kind.REFUSED, self._stamped(b"another client drives the robot")))
                client.close()
                return
            client.setblocking(False)
            if client.family == socket.AF_INET:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client, self._frames, self._greeted = client, Frames(), False
            self._selector.register(client, selectors.EVENT_READ, self._serve_client)

    def _drop(self) -> None:
        """End the connection, whatever is left of it; the robot's servos let go."""
        if self._client is not None:
            self._selector.unregister(self._client)
            self._client.close()
            self._client = None
            self.robot.release()

    def _serve_client(self) -> None:
        if self._client is None:  # gone since it was found to have said something
            return
        try:
            data = self._client.recv(1 << 16)
            if not data:
                self._drop()
                return
            self._catch_up()
            for kind, payload in self._frames.feed(data):
                self._send(self._answer(kind, payload))
        except WireError as error:
            with contextlib.suppress(OSError):
                self._send(frame(Kind.REFUSED, self._stamped(str(error).encode())))
            self._drop()
        except BlockingIOError:
            return
        except OSError:  # it is gone, or takes nothing
            self._drop()

    def _send(self, answer: bytes) -> None:
        """Send to the client, which has `TAKE_S` to take it."""
        assert self._client is not None
        self._client.settimeout(TAKE_S)
        self._client.sendall(answer)
        self._client.setblocking(False)

    def _stamped(self, payload: bytes) -> bytes:
        return struct.pack("<d", self.robot.now) + payload

    def _answer(self, kind: Kind, payload: bytes) -> bytes:
        """The answer to a request.

        Raises:
            WireError: it is no request.
        """
        robot = self.robot
        if kind is Kind.HELLO:
            if payload != struct.pack("<H", VERSION):
                raise WireError(f"the client speaks another version than {VERSION}")
            self._greeted = True
            return frame(Kind.WELCOME, self._stamped(json.dumps(self._description()).encode()))
        if not self._greeted:
            raise WireError("the first message must be HELLO")
        if kind is Kind.READ:
            return frame(Kind.SAMPLE, self._stamped(pack_sample(robot.read())))
        if kind is Kind.TRUTH:
            return frame(Kind.STATE, self._stamped(robot.truth().astype("<f8").tobytes()))
        if kind is Kind.WRITE:
            try:
                robot.write(np.frombuffer(payload, "<f8"))
            except ValueError as error:  # a UserError, or no numbers at all
                raise WireError(str(error)) from error
        elif kind is Kind.ADVANCE and self.lockstep and len(payload) == 8:
            (seconds,) = struct.unpack("<d", payload)
            if not 0.0 <= seconds <= MOST_ADVANCE_S:
                raise WireError(f"time can be advanced by 0 to {MOST_ADVANCE_S:g} s")
            for _ in range(-int(-(seconds / robot.dt - 1e-6) // 1)):
                robot.step()
            self._pause()
        elif kind is Kind.RELEASE:
            robot.release()
        elif kind is Kind.PLACE:
            robot.place()
        elif kind is Kind.INJECT:
            try:
                robot.inject(payload.decode(errors="replace"))
            except UserError as error:
                return frame(Kind.REFUSED, self._stamped(str(error).encode()))
        else:
            raise WireError(f"{kind.name} is no request here")
        return frame(Kind.DONE, self._stamped(b""))

    def _description(self) -> dict[str, object]:
        robot = self.robot
        return {
            "joint_names": robot.joint_names,
            "plates": robot.plates,
            "lockstep": self.lockstep,
            "physics_step": robot.dt,
            "newest": None if self._newest is None else str(self._newest.path),
            "sign": robot.sign.tolist(),
            "zero": robot.zero.tolist(),
            "imu_mount": robot.mount.tolist(),
        }


def _answers(path: Path) -> bool:
    """Whether a process listens at a Unix socket."""
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
        return True
    except OSError:
        return False
    finally:
        probe.close()
