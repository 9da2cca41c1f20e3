"""The log of a run: one append-only file that can be read up to where a crash cut it.

    file    = MAGIC, then records
    record  = kind (u8), length (u32), payload, CRC-32 of all three (u32); little endian
    kinds   = header (JSON, the first), tick (fixed size, laid out as the header says),
              reasons (JSON: a number and the texts it stands for), event (JSON: time and text)

A thread writes, so that a slow disk does not hold the control loop.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from wildrobot_torch.contract import Readings
from wildrobot_torch.deploy.runtime.hardware import Sample

MAGIC = b"WRLOG\r\n\x01"
"""How a log begins: the last byte is the version; the line break shows a file changed as text."""
LARGEST = 1 << 20
"""Longest payload of a record [bytes]."""
WAITING = 500
"""Records that may wait for the disk: 10 s of ticks."""
WRITE_S, SYNC_S = 0.2, 1.0
"""How often what waits is written, and brought to the disk [s]: a process that is killed loses no
more than the first, a power cut no more than the second."""
SENSED = "sensed_"
"""What the names of a tick's readings begin with; those of its raw sample are the sample's."""
POLICIES = ("none", "home", "standing", "walking")
"""What asked for the targets; a tick has the number."""

_HEAD = struct.Struct("<BI")
_CHECK = struct.Struct("<I")


class Kind(IntEnum):
    """Of a record."""

    HEADER = 1
    TICK = 2
    REASONS = 3
    EVENT = 4


class LogError(UserError):
    """A file is no log, or one that cannot be used; the message is one line."""


def tick_layout(joints: int, plates: int, observation: int) -> np.dtype[Any]:
    """What a tick's record holds: numbers in fixed places, nothing between them."""
    sizes = {"quat": 4, "gyro": 3, "gravity": 3, "angvel": 3, "switches": plates}
    sizes |= dict.fromkeys(("position", "position_time", "voltage", "temperature"), joints)
    sizes |= dict.fromkeys(("joint_pos", "joint_time"), joints)

    def place(name: str, prefix: str = "") -> tuple[Any, ...]:
        return (prefix + name, "<f8", (sizes[name],)) if name in sizes else (prefix + name, "<f8")

    return np.dtype(
        [
            ("index", "<i8"),
            ("number", "<i8"),
            ("due", "<f8"),
            ("began", "<f8"),
            *(place(field.name) for field in fields(Sample)),
            *(place(field.name, SENSED) for field in fields(Readings) if field.name != "truth"),
            ("command", "<f8", (3,)),
            ("command_limited", "S8"),
            ("state", "S8"),
            ("policy", "u1"),
            ("observation", "<f4", (observation,)),
            ("requested", "<f8", (joints,)),
            ("applied", "<f8", (joints,)),
            ("reasons", "<u2"),
            ("read_s", "<f4"),
            ("act_s", "<f4"),
            ("apply_s", "<f4"),
        ]
    )


def sample_of(tick: Any) -> Sample:
    """The raw sample of a tick's record."""
    return Sample(**{field.name: _value(tick[field.name]) for field in fields(Sample)})


def readings_of(tick: Any) -> Readings:
    """The readings of a tick's record."""
    names = [field.name for field in fields(Readings) if field.name != "truth"]
    return Readings(**{name: _value(tick[SENSED + name]) for name in names})


def _value(entry: Any) -> Any:
    return float(entry) if np.ndim(entry) == 0 else np.asarray(entry, dtype=float)


def _record(kind: Kind, payload: bytes) -> bytes:
    head = _HEAD.pack(kind, len(payload))
    return head + payload + _CHECK.pack(zlib.crc32(payload, zlib.crc32(head)))


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


class LogWriter:
    """A log that is being written."""

    def __init__(self, path: Path | str, header: Mapping[str, Any], layout: np.dtype[Any]) -> None:
        """Make the file and write its header.

        Args:
            path: of the file, which must not exist; its folder is made.
            header: what a reader has to know, as JSON.
            layout: of ticks, see `tick_layout`.

        Raises:
            UserError: the file cannot be made, or is there already.
        """
        self.path = Path(path)
        self.tick = np.zeros((), dtype=layout)
        """The record of the present tick, to be filled in before `write`."""
        self.trouble = ""
        """Why nothing is written any more; empty while all is well."""
        self.lost = 0
        """Records that the disk was too slow for."""
        self._reasons: dict[tuple[str, ...], int] = {}
        layout_text = [[name, *_described(layout[name])] for name in layout.names or ()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self.path, flags, 0o644)
            content = {"tick_layout": layout_text, **header}
            self._append(MAGIC + _record(Kind.HEADER, _json(content)))
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"the log {path} cannot be written: {reason}; give another") from error
        self._waiting: deque[bytes] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def write(self, reasons: tuple[str, ...]) -> None:
        """Append the record `tick`, which was limited for `reasons`."""
        if reasons not in self._reasons:
            number = min(len(self._reasons), 0xFFFF)
            self._reasons[reasons] = number
            self._put(_record(Kind.REASONS, _json({"number": number, "reasons": reasons})))
        self.tick["reasons"] = self._reasons[reasons]
        self._put(_record(Kind.TICK, self.tick.tobytes()))

    def event(self, when: float, text: str) -> None:
        """Append what happened at a time [s]."""
        self._put(_record(Kind.EVENT, _json({"time": when, "text": text})))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._ended.set()
        self._thread.join(5.0)

    def _put(self, record: bytes) -> None:
        if self.trouble:
            return
        if len(self._waiting) < WAITING:
            self._waiting.append(record)
        else:
            self.lost += 1

    def _write_all(self) -> None:
        """The thread: write until told to end, or until nothing can be written any more."""
        synced = time.monotonic()
        try:
            ended = False
            while not ended:
                ended = self._ended.wait(WRITE_S)
                number = len(self._waiting)
                self._append(b"".join(self._waiting.popleft() for _ in range(number)))
                if ended or time.monotonic() - synced > SYNC_S:
                    os.fdatasync(self._file)
                    synced = time.monotonic()
        except OSError as error:
            self.trouble = error.strerror or str(error)  # a part of a record may stay at the end
        finally:
            os.close(self._file)

    def _append(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            done += os.write(self._file, data[done:])


def _described(layout: np.dtype[Any]) -> tuple[str, list[int]]:
    """Type and shape of a place in a tick's record, as the header has them."""
    return layout.base.str, list(layout.shape)


@dataclass(frozen=True)
class Log:
    """A log that was read."""

    header: dict[str, Any]
    ticks: NDArray[Any]
    """(T,): see `tick_layout`."""
    reasons: dict[int, tuple[str, ...]]
    """What a tick's `reasons` stands for."""
    events: tuple[tuple[float, str], ...]
    """Time [s] and text."""
    cut: int
    """Bytes at the end that are no whole record: of a run that crashed."""


def read_log(path: Path | str) -> Log:
    """A log, up to its last whole record.

    Raises:
        LogError: it is no log, or of another version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LogError(f"the log {path} cannot be read: {error.strerror}") from error
    if data[: len(MAGIC)] != MAGIC:
        other = "a log of another version" if data[: len(MAGIC) - 1] == MAGIC[:-1] else "no log"
        raise LogError(f"{path} is {other}; give a file that `wildrobot run` wrote")
    records, end = _records(data)
    if not records or records[0][0] != Kind.HEADER:
        raise LogError(f"{path} ends before its header does; nothing of it can be used")
    try:
        header = json.loads(records[0][1])
        layout = np.dtype([(n, t, tuple(s)) if s else (n, t) for n, t, s in header["tick_layout"]])
        ticks = [payload for kind, payload in records if kind == Kind.TICK]
        if any(len(payload) != layout.itemsize for payload in ticks):
            raise ValueError("a tick has another size than the header says")
        read = {
            kind: [json.loads(payload) for found, payload in records if found == kind]
            for kind in (Kind.REASONS, Kind.EVENT)
        }
        return Log(
            header=header,
            ticks=np.frombuffer(b"".join(ticks), layout),
            reasons={entry["number"]: tuple(entry["reasons"]) for entry in read[Kind.REASONS]},
            events=tuple((entry["time"], entry["text"]) for entry in read[Kind.EVENT]),
            cut=len(data) - end,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LogError(f"the log {path} has records that mean nothing: {error}") from error


def _records(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Kind and payload of each whole record, and where the last of them ends."""
    found, at = [], len(MAGIC)
    while at + _HEAD.size <= len(data):
        kind, length = _HEAD.unpack_from(data, at)
        begin, end = at + _HEAD.size, at + _HEAD.size + length
        if length > LARGEST or end + _CHECK.size > len(data):
            break
        if _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
            break
        found.append((kind, data[begin:end]))
        at = end + _CHECK.size
    return found, at


def fill(place: Any, sample: Sample, readings: Readings) -> None:
    """Put a raw sample and its readings into a tick's record."""
    for name in _SAMPLE:
        place[name] = getattr(sample, name)
    for name in _READINGS:
        place[SENSED + name] = getattr(readings, name)


_SAMPLE = tuple(field.name for field in fields(Sample))
_READINGS = tuple(field.name for field in fields(Readings) if field.name != "truth")
