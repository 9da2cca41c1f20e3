"""Messages between a runtime and a simulated robot: binary frames on a local stream socket.

    "WR"  kind u8  length u32  payload  CRC-32 of kind, length and payload u32        little endian

A client asks and the robot answers; every answer begins with the robot's clock (f64) [s]. Samples
are float64, so what arrives is bit for bit what was measured. A stream that holds anything else is
not understood any further: the side that finds it ends the connection.
"""

from __future__ import annotations

import socket
import struct
import zlib
from dataclasses import fields
from enum import IntEnum

import numpy as np

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.hardware import Array, Sample

VERSION = 1
"""Of these messages; both sides must have the same."""
LARGEST = 1 << 20
"""No payload is longer [bytes]."""
_MAGIC = b"WR"
_HEAD = struct.Struct("<2sBI")
_CHECK = struct.Struct("<I")
_COUNTS = struct.Struct("<HH")


class WireError(ValueError):
    """Bytes that are no message; the text says what was wrong with them."""


class Kind(IntEnum):
    """What a message is; those up to INJECT are a client's, the others are answers."""

    HELLO = 1
    """Version (u16). Answered by WELCOME or REFUSED."""
    READ = 2
    """Answered by SAMPLE."""
    WRITE = 3
    """Targets (J f64). Answered by DONE."""
    RELEASE = 4
    """Answered by DONE."""
    ADVANCE = 5
    """Time to simulate (f64) [s]; lock-step alone. Answered by DONE."""
    PLACE = 6
    """Put the robot back to where it started. Answered by DONE."""
    TRUTH = 7
    """Answered by STATE."""
    INJECT = 8
    """A fault (text). Answered by DONE or REFUSED."""
    WELCOME = 16
    """JSON: what the robot is."""
    SAMPLE = 17
    """See `pack_sample`."""
    STATE = 18
    """Root and joints of the simulation (f64): qpos (7 + J), qvel (6 + J), loaded (J)."""
    DONE = 19
    """Nothing."""
    REFUSED = 20
    """Why (text)."""


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """One message."""
    head = _HEAD.pack(_MAGIC, kind, len(payload))
    return head + payload + _CHECK.pack(zlib.crc32(payload, zlib.crc32(head[2:])))


class Frames:
    """Messages of a stream of bytes, however it is cut."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def rest(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._bytes)

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Messages (kind, payload) that are complete with `data`.

        Raises:
            WireError: the stream holds something else.
        """
        self._bytes += data
        found = []
        while len(self._bytes) >= _HEAD.size:
            magic, kind, length = _HEAD.unpack_from(self._bytes)
            if magic != _MAGIC or length > LARGEST:
                raise WireError(f"no message begins with {bytes(self._bytes[:8])!r}")
            end = _HEAD.size + length
            if len(self._bytes) < end + _CHECK.size:
                break
            (check,) = _CHECK.unpack_from(self._bytes, end)
            if check != zlib.crc32(self._bytes[2:end]):
                raise WireError("the check sum of a message is wrong")
            if kind not in iter(Kind):
                raise WireError(f"messages of kind {kind} are unknown")
            found.append((Kind(kind), bytes(self._bytes[_HEAD.size : end])))
            del self._bytes[: end + _CHECK.size]
        return found


def pack_sample(sample: Sample) -> bytes:
    """Bytes of a sample: counts of joints and plates (u16), then its fields in order (f64)."""
    values = [np.atleast_1d(getattr(sample, field.name)) for field in fields(Sample)]
    counts = _COUNTS.pack(len(sample.position), len(sample.switches))
    return counts + np.concatenate(values).astype("<f8").tobytes()


def unpack_sample(data: bytes) -> Sample:
    """The sample of `pack_sample`.

    Raises:
        WireError: the bytes are none.
    """
    if len(data) < _COUNTS.size:
        raise WireError("a sample ends before its counts")
    joints, plates = _COUNTS.unpack_from(data)
    sizes = {"quat": 4, "gyro": 3, "switches": plates}
    sizes |= dict.fromkeys(("position", "position_time", "voltage", "temperature"), joints)
    numbers = sum(sizes.get(field.name, 1) for field in fields(Sample))
    if len(data) != _COUNTS.size + 8 * numbers:
        raise WireError(
            f"a sample of {joints} joints and {plates} plates has {len(data)} bytes; it needs "
            f"{_COUNTS.size + 8 * numbers}"
        )
    values: Array = np.frombuffer(data, "<f8", offset=_COUNTS.size).astype(float)
    found, at = {}, 0
    for field in fields(Sample):
        size = sizes.get(field.name)
        found[field.name] = float(values[at]) if size is None else values[at : at + size]
        at += 1 if size is None else size
    return Sample(**found)


def address_of(text: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """Family and address of `HOST:PORT` on this machine, or of a Unix socket's path.

    Raises:
        UserError: the host is another machine, or the port no number.
    """
    host, colon, port = text.rpartition(":")
    if not colon or "/" in text:
        return socket.AF_UNIX, text
    if host not in ("127.0.0.1", "localhost") or not port.isdigit() or int(port) > 65535:
        raise UserError(
            f"address {text!r} cannot be used; allowed: 127.0.0.1:PORT or the path of a Unix "
            "socket, because a robot that anybody in the network can move is not safe"
        )
    return socket.AF_INET, ("127.0.0.1", int(port))
