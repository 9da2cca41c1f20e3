"""wildrobot_torch.deploy.runtime.commands: what is allowed, how old, and from where."""

from __future__ import annotations

import math
import socket
import time

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.contract import CommandRange
from wildrobot_torch.deploy.runtime.commands import Commands, Held, Listener, clamped

AHEAD = CommandRange((0.05, 0.6), 0.0, 0.0, stands=True, turns=False)
"""What the shipped policy was trained with."""
ANYWHERE = CommandRange((-0.2, 0.6), 0.15, 0.8, stands=True, turns=True)


@pytest.mark.parametrize(
    ("trained", "asked", "allowed"),
    [
        (AHEAD, (0.3, 0.0, 0.0), (0.3, 0.0, 0.0)),
        (AHEAD, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),  # standing
        (AHEAD, (0.9, 0.0, 0.0), (0.6, 0.0, 0.0)),
        (AHEAD, (0.04, 0.0, 0.0), (0.05, 0.0, 0.0)),  # nearer to the slowest walk
        (AHEAD, (0.02, 0.0, 0.0), (0.0, 0.0, 0.0)),  # nearer to standing
        (AHEAD, (-0.5, 0.0, 0.0), (0.0, 0.0, 0.0)),  # it never walked backwards
        (AHEAD, (0.0, 0.2, 0.5), (0.0, 0.0, 0.0)),  # nor to a side
        (AHEAD, (0.3, 0.2, 0.5), (0.3, 0.0, 0.0)),
        (ANYWHERE, (-0.5, -0.3, 2.0), (-0.2, -0.15, 0.8)),
        (ANYWHERE, (0.0, 0.0, -2.0), (0.0, 0.0, -0.8)),  # turning in place
        (ANYWHERE, (0.0, 0.1, 0.0), (0.0, 0.1, 0.0)),
    ],
)
def test_a_command_becomes_the_nearest_one_that_was_trained(
    trained: CommandRange, asked: tuple[float, ...], allowed: tuple[float, ...]
) -> None:
    assert clamped(np.array(asked), trained) == pytest.approx(np.array(allowed))


class Stick:
    """A source that a test moves."""

    def __init__(self) -> None:
        self.command, self.time = np.zeros(3), -math.inf

    def latest(self, now: float) -> tuple[np.ndarray, float]:
        return self.command, self.time

    def close(self) -> None:
        pass


def test_old_commands_stand_and_that_is_said_once() -> None:
    stick, said = Stick(), []
    commands = Commands(stick, AHEAD, deadman=0.5)
    commands.say = said.append
    assert commands.at(10.0).values.tolist() == [0.0, 0.0, 0.0]
    assert said == ["commands: none has come; the robot stands"]
    stick.command, stick.time = np.array([0.3, 0.0, 0.0]), 11.0
    assert commands.at(11.0).values.tolist() == [0.3, 0.0, 0.0]
    assert commands.at(11.5).limited == ""  # just young enough
    assert commands.at(11.51).values.tolist() == [0.0, 0.0, 0.0]
    assert commands.at(12.0).limited == "old"
    stick.time = 12.1
    assert commands.at(12.2).values.tolist() == [0.3, 0.0, 0.0]
    assert [text.partition(":")[2][:12] for text in said[1:]] == [
        " they come a", " the last is", " they come a"
    ]  # fmt: skip


def test_a_clamped_command_is_said_once_until_it_is_allowed_again() -> None:
    stick, said = Stick(), []
    commands = Commands(stick, AHEAD)
    commands.say = said.append
    for forward in (0.8, 0.9, 0.7):
        stick.command, stick.time = np.array([forward, 0.0, 0.0]), 1.0
        assert commands.at(1.0).limited == "clamped"
    assert said == [
        "commands: forward 0.8 becomes 0.6 m/s; trained were forward 0.05 to 0.6 m/s, to a side 0 "
        "m/s, turning 0 rad/s"
    ]
    for forward in (0.5, 0.8):
        stick.command = np.array([forward, 0.0, 0.0])
        commands.at(1.0)
    assert len(said) == 2


@pytest.mark.parametrize("command", [(0.3,), (math.nan, 0.0, 0.0), (0.3, 0.0, math.inf)])
def test_a_held_command_is_three_finite_numbers(command: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="three finite numbers"):
        Held(command)


def test_commands_come_from_other_programs_and_nonsense_does_not() -> None:
    listener = Listener(0)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def sent(packet: bytes) -> tuple[list[float], float]:
        sender.sendto(packet, ("127.0.0.1", listener.port))
        time.sleep(0.01)
        command, when = listener.latest(5.0)
        return command.tolist(), when

    try:
        assert listener.latest(1.0)[1] == -math.inf
        assert sent(b"[0.2, 0, 0.1]") == ([0.2, 0.0, 0.1], 5.0)
        listener.latest(6.0)
        for nonsense in (b"", b"[0.1, 0.2]", b"[NaN, 0, 0]", b'{"a": 1}', b"\xff\x00", b"[[1], 2]",
                         b"[" * 400, b"[1e999, 0, 0]", b'["0.1", "x", 0]', b"null"):  # fmt: skip
            assert sent(nonsense) == ([0.2, 0.0, 0.1], 5.0), nonsense
        assert listener.ignored == 10
        with pytest.raises(UserError, match="give a free one"):
            Listener(listener.port)
    finally:
        listener.close()
        sender.close()
