"""What a robot is told to do: where commands come from, how old they are, and what is allowed."""

from __future__ import annotations

import contextlib
import json
import math
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from envs.errors import UserError
from wildrobot_torch.contract import Array, CommandRange

STAND = np.zeros(3)
"""The command that stands."""
DEADMAN = 0.5
"""Age of a command after which the robot is told to stand [s]. Ours: a person notices half a
second; at 0.6 m/s it is 0.3 m."""
NAMES = ("forward", "to the left", "turning")
UNITS = ("m/s", "m/s", "rad/s")


class Source(Protocol):
    """Where commands come from."""

    def latest(self, now: float) -> tuple[Array, float]:
        """The newest command (3,) and when it came [s]; minus infinity before the first.

        Forward velocity and velocity to the left [m/s], yaw rate to the left [rad/s]. It returns at
        once and never raises.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Held:
    """One command for ever: of a person who stands by, or of a test."""

    def __init__(self, command: Sequence[float]) -> None:
        """`command` (3,).

        Raises:
            UserError: these are not three finite numbers.
        """
        self._command = np.array(command, dtype=float)
        if self._command.shape != (3,) or not np.isfinite(self._command).all():
            raise UserError(
                f"the command is {list(command)}; give three finite numbers: forward and to the "
                "left [m/s], turning to the left [rad/s]"
            )

    def latest(self, now: float) -> tuple[Array, float]:
        """See `Source.latest`: always fresh."""
        return self._command, now

    def close(self) -> None:
        """Nothing to let go of."""


class Listener:
    """Commands that other programs of this machine send: UDP packets `[forward, left, turn]`.

    A packet is a JSON list of three numbers. What is none is counted and otherwise ignored, so that
    the command grows old and the robot stands.
    """

    def __init__(self, port: int) -> None:
        """Listen at a port of this machine alone; 0 for any that is free.

        Raises:
            UserError: the port is taken or not allowed.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise UserError(
                f"commands cannot be received at port {port} ({error}); give a free one"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self.ignored = 0
        """Packets that were no command."""
        self._command, self._time = STAND, -math.inf

    def latest(self, now: float) -> tuple[Array, float]:
        """See `Source.latest`."""
        with contextlib.suppress(OSError):
            for _ in range(100):  # a flood of packets must not hold the loop
                self._take(self._socket.recv(512), now)
        return self._command, self._time

    def _take(self, packet: bytes, now: float) -> None:
        try:
            command = np.array(json.loads(packet), dtype=float)
        except (ValueError, TypeError, RecursionError):
            command = np.zeros(0)
        if command.shape == (3,) and np.isfinite(command).all():
            self._command, self._time = command, now
        else:
            self.ignored += 1

    def close(self) -> None:
        """End listening."""
        self._socket.close()


def clamped(command: Array, trained: CommandRange) -> Array:
    """The command (3,) that was trained and is nearest to a given one.

    Standing (all 0) is always allowed: it is what a robot does that is told nothing.
    """
    forward, left, turn = (float(value) for value in command)
    low, high = trained.forward
    left = min(max(left, -trained.lateral), trained.lateral)
    turn = min(max(turn, -trained.yaw_rate), trained.yaw_rate)
    if forward == 0.0 and left == 0.0 and (turn == 0.0 or trained.turns):
        return np.array([0.0, 0.0, turn])
    nearest = min(max(forward, low), high)
    # Too slow a walk becomes a stand where that is nearer.
    if left == 0.0 and abs(forward) < abs(forward - nearest):
        return np.array([0.0, 0.0, turn if trained.turns else 0.0])
    return np.array([nearest, left, turn])


@dataclass(frozen=True)
class Command:
    """What the policy is told."""

    values: Array
    """(3,): velocity forward and to the left [m/s], yaw rate [rad/s]."""
    limited: str
    """Why it is not what was asked for, `old` or `clamped`; empty if it is."""


class Commands:
    """Commands of a source, not older than allowed and within what was trained."""

    def __init__(self, source: Source, trained: CommandRange, deadman: float = DEADMAN) -> None:
        """`deadman` is the age that commands may have [s]."""
        self.say: Callable[[str], None] = print
        """Gets one line whenever commands begin or cease to be limited."""
        self._source, self._trained, self._deadman = source, trained, deadman
        self._old = False
        self._refused = False
        self._asked, self._answer = np.full(3, math.nan), STAND

    def at(self, now: float) -> Command:
        """The command at a time [s]."""
        asked, came = self._source.latest(now)
        old = not now - came <= self._deadman
        if old != self._old:
            since = "none has come" if came == -math.inf else f"the last is {now - came:.2f} s old"
            self.say(f"commands: {since}; the robot stands" if old else "commands: they come again")
            self._old = old
        if old:
            return Command(STAND, "old")
        if not np.array_equal(asked, self._asked):  # mostly it is the one of the last tick
            self._asked, self._answer = asked.copy(), clamped(asked, self._trained)
            self._report()
        same = np.array_equal(self._asked, self._answer)
        return Command(self._answer, "" if same else "clamped")

    def _report(self) -> None:
        """Say once which values are outside, until they are inside again."""
        changed = self._asked != self._answer
        if changed.any() and not self._refused:
            parts = [
                f"{NAMES[i]} {self._asked[i]:g} becomes {self._answer[i]:g} {UNITS[i]}"
                for i in np.flatnonzero(changed)
            ]
            low, high = self._trained.forward
            self.say(
                f"commands: {', '.join(parts)}; trained were forward {low:g} to {high:g} m/s, to a "
                f"side {self._trained.lateral:g} m/s, turning {self._trained.yaw_rate:g} rad/s"
            )
        self._refused = bool(changed.any())
