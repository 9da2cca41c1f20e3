"""wildrobot_torch.deploy.runtime.log: what is written comes back, whatever happens to the end."""

from __future__ import annotations

import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.contract import Readings
from wildrobot_torch.deploy.runtime.hardware import Sample
from wildrobot_torch.deploy.runtime.log import (
    MAGIC,
    LogError,
    LogWriter,
    fill,
    read_log,
    readings_of,
    sample_of,
    tick_layout,
)

LAYOUT = tick_layout(joints=3, plates=2, observation=5)


def sample(random: np.random.Generator) -> Sample:
    """Any sample; what was never read is NaN."""
    return Sample(
        time=random.uniform(),
        quat=random.normal(size=4),
        gyro=random.normal(size=3),
        imu_time=random.uniform(),
        position=random.normal(size=3),
        position_time=random.uniform(size=3),
        switches=np.array([0.0, 1.0]),
        switch_time=random.uniform(),
        voltage=np.full(3, np.nan),
        temperature=random.normal(size=3),
    )


def readings(random: np.random.Generator) -> Readings:
    """Any readings."""
    parts = (random.normal(size=n) for n in (3, 3))
    position, times = random.normal(size=3), random.uniform(size=3)
    return Readings(*parts, 0.3, position, times, np.array([1.0, 0.0]), 0.02)


def written(path: Path, ticks: int = 4) -> list[tuple[Sample, Readings]]:
    """A log of so many ticks, and what was put into it."""
    random = np.random.default_rng(0)
    log, put = LogWriter(path, {"name": "test"}, LAYOUT), []
    for index in range(ticks):
        put.append((sample(random), readings(random)))
        fill(log.tick, *put[-1])
        log.tick["index"], log.tick["requested"] = index, [index, np.nan, 0.1]
        log.write(("rate", "torque") if index == 1 else ())
    log.event(1.5, "something, with ümlaut\n")
    log.close()
    return put


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    put = written(tmp_path / "new" / "a.wrlog")
    log = read_log(tmp_path / "new" / "a.wrlog")
    assert log.header["name"] == "test" and log.cut == 0
    assert log.events == ((1.5, "something, with ümlaut\n"),)
    assert [log.reasons[tick["reasons"]] for tick in log.ticks[:3]] == [(), ("rate", "torque"), ()]
    assert log.ticks["index"].tolist() == [0, 1, 2, 3]
    for tick, (one, other) in zip(log.ticks, put, strict=True):
        for before, after in ((one, sample_of(tick)), (other, readings_of(tick))):
            for name, value in vars(before).items():
                if name != "truth":
                    assert np.asarray(getattr(after, name)).tobytes() == np.asarray(value).tobytes()


def test_a_cut_log_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "a.wrlog"
    written(path)
    data = path.read_bytes()
    size = LAYOUT.itemsize
    header_ends = len(MAGIC) + 9 + struct.unpack_from("<I", data, len(MAGIC) + 1)[0]
    found = set()
    for end in range(len(data) - 1, header_ends, -7):
        path.write_bytes(data[:end])
        log = read_log(path)
        assert log.cut < size + 9
        assert log.ticks["index"].tolist() == list(range(len(log.ticks)))
        found.add(len(log.ticks))
    assert found == {0, 1, 2, 3, 4}
    path.write_bytes(data[: header_ends - 1])
    with pytest.raises(LogError, match="before its header"):
        read_log(path)


def test_an_altered_record_ends_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.wrlog"
    written(path)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1  # somewhere in the ticks
    path.write_bytes(data)
    log = read_log(path)
    assert len(log.ticks) < 4 and log.cut > 0


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for content, said in ((b"", "no log"), (b"PNG", "no log"), (MAGIC[:-1] + b"\x09", "version")):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(LogError, match=said) as raised:
            read_log(tmp_path / "x")
        assert "\n" not in str(raised.value)
    with pytest.raises(LogError, match="No such file"):
        read_log(tmp_path / "absent")


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.wrlog").write_text("precious")
    with pytest.raises(UserError, match="File exists"):
        LogWriter(tmp_path / "a.wrlog", {}, LAYOUT)
    assert (tmp_path / "a.wrlog").read_text() == "precious"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within it the system lets no file grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_the_log_and_nothing_else(tmp_path: Path) -> None:
    path, size = tmp_path / "a.wrlog", LAYOUT.itemsize + 9
    log = LogWriter(path, {}, LAYOUT)
    room = path.stat().st_size + 20 * size
    with largest_file(room):
        for index in range(60):
            log.tick["index"] = index
            log.write(())
        log.close()
    assert log.trouble == "File too large"
    log.write(())  # still no error
    ticks = read_log(path).ticks
    assert ticks["index"].tolist() == list(range(len(ticks))) and 18 <= len(ticks) <= 20


def test_a_disk_that_is_full_before_the_run_is_said(tmp_path: Path) -> None:
    with largest_file(10), pytest.raises(UserError, match="cannot be written"):
        LogWriter(tmp_path / "a.wrlog", {}, LAYOUT)
