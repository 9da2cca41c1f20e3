"""A sample in shared memory is whole or not there."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest

from wildrobot_torch.deploy.runtime.hardware import HardwareError
from wildrobot_torch.deploy.runtime.newest import NewestReader, NewestWriter


def test_the_newest_is_read_and_nothing_before_the_first(tmp_path: Path) -> None:
    writer = NewestWriter(tmp_path)
    reader = NewestReader(writer.path)
    assert reader.read() is None
    writer.write(1.0, b"first")
    writer.write(2.5, b"the second")
    assert reader.read() == (2.5, b"the second")
    assert reader.read() == (2.5, b"the second")
    assert writer.path.stat().st_mode & 0o777 == 0o600
    writer.close()
    assert not writer.path.exists()
    with pytest.raises(HardwareError, match="cannot be read"):
        NewestReader(writer.path)


@pytest.mark.parametrize(("at", "content"), [(0, struct.pack("<Q", 3)), (24, b"F")],
                         ids=["while it is written", "altered"])  # fmt: skip
def test_half_a_sample_is_none(tmp_path: Path, at: int, content: bytes) -> None:
    writer = NewestWriter(tmp_path)
    reader = NewestReader(writer.path)
    writer.write(1.0, b"first")
    with open(writer.path, "r+b") as file:
        file.seek(at)
        file.write(content)
    assert reader.read() is None


def test_samples_are_whole_while_another_thread_writes(tmp_path: Path) -> None:
    writer = NewestWriter(tmp_path)
    reader, stop = NewestReader(writer.path), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.write(float(number % 200), bytes([number % 200]) * (100 + number % 50))

    thread = threading.Thread(target=write)
    thread.start()
    found = [one for _ in range(20000) if (one := reader.read()) is not None]
    stop.set()
    thread.join()
    assert len({beat for beat, _ in found}) > 1
    assert all(set(sample) == {int(beat)} for beat, sample in found)
