"""The newest sample of a robot in another process, in memory that both map; a read never waits.

    sequence u64   beat f64   length u32   CRC-32 u32   sample        little endian

The writer makes the sequence odd, writes, and makes it even again. A reader that sees an odd one,
or two different ones before and after, tries again. The check sum is for processors that reorder
writes.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from pathlib import Path

from wildrobot_torch.deploy.runtime.hardware import HardwareError

_SEQUENCE = struct.Struct("<Q")
_HEAD = struct.Struct("<QdII")
SIZE = 1 << 14
"""Of the memory [bytes]; a sample of 8 joints takes 400."""
TRIES = 100
"""How often a reader tries while the writer writes, which takes some microseconds."""


class NewestWriter:
    """The robot's side."""

    def __init__(self, folder: Path | None = None) -> None:
        """In a file of `folder`; None for a folder of temporary files."""
        if folder is None and Path("/dev/shm").is_dir():
            folder = Path("/dev/shm")  # never written to a disk
        descriptor, name = tempfile.mkstemp(prefix="wildrobot-newest-", dir=folder)
        self.path = Path(name)
        """Of the memory; only this user may read it."""
        try:
            os.truncate(descriptor, SIZE)
            self._memory = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._sequence = 0

    def write(self, beat: float, sample: bytes) -> None:
        """Put a sample in the place of the last one; `beat` is when the robot lived [s]."""
        memory, sequence = self._memory, self._sequence
        _SEQUENCE.pack_into(memory, 0, sequence + 1)
        memory[_HEAD.size : _HEAD.size + len(sample)] = sample
        _HEAD.pack_into(memory, 0, sequence + 1, beat, len(sample), zlib.crc32(sample))
        _SEQUENCE.pack_into(memory, 0, sequence + 2)
        self._sequence = sequence + 2

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        self.path.unlink(missing_ok=True)


class NewestReader:
    """The runtime's side."""

    def __init__(self, path: Path | str) -> None:
        """Map what a `NewestWriter` writes.

        Raises:
            HardwareError: there is no such memory.
        """
        try:
            with open(path, "rb") as file:
                self._memory = mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise HardwareError(f"the robot's memory {path} cannot be read: {error}") from error

    def read(self) -> tuple[float, bytes] | None:
        """Beat and bytes of the newest sample; None before the first, or while it is written."""
        memory = self._memory
        for _ in range(TRIES):
            sequence, beat, length, check = _HEAD.unpack_from(memory, 0)
            if sequence == 0:
                return None
            if sequence % 2 or length > SIZE - _HEAD.size:
                continue
            sample = memory[_HEAD.size : _HEAD.size + length]
            same = _SEQUENCE.unpack_from(memory, 0)[0] == sequence
            if same and zlib.crc32(sample) == check:
                return beat, sample
        return None

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
