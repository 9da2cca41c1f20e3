"""wildrobot_torch.deploy.runtime.replay: the same bits, or where they first differ."""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from tests.wildrobot_torch.deploy.runtime.conftest import Robot, Run
from wildrobot_torch.deploy.runtime.log import MAGIC, LogError, read_log
from wildrobot_torch.deploy.runtime.pilot import Policy
from wildrobot_torch.deploy.runtime.replay import replay
from wildrobot_torch.files import WALKING_POLICY

Drive = Callable[..., Run]
TICK = 2


def rewritten(path: Path, change: Callable[[int, bytes], bytes | None]) -> None:
    """Change or drop payloads of ticks by their number, with sound check sums."""
    data, at, ticks = path.read_bytes(), len(MAGIC), 0
    out = MAGIC
    while at < len(data):
        kind, length = struct.unpack_from("<BI", data, at)
        payload: bytes | None = data[at + 5 : at + 5 + length]
        if kind == TICK:
            payload = change(ticks, payload or b"")
            ticks += 1
        if payload is not None:
            record = struct.pack("<BI", kind, len(payload)) + payload
            out += record + struct.pack("<I", zlib.crc32(record))
        at += 5 + length + 4
    path.write_bytes(out)


def test_a_run_is_done_again_bit_for_bit(drive: Drive, walking: Policy) -> None:
    run = drive(3.0, standing=walking)
    found = replay(run.path)
    assert found.difference is None and found.gap is None
    assert found.ticks == len(run.log.ticks) and found.driven > 200


def test_readings_that_were_not_believed_are_replayed_as_well(
    follower: Robot, drive: Drive
) -> None:
    follower.at[15.0] = lambda: follower._position.__setitem__(2, math.nan)
    follower.at[15.04] = lambda: follower._position.__setitem__(2, 0.1)
    run = drive(4.0)
    assert np.isnan(run.log.ticks["position"]).any()
    assert not np.isnan(run.log.ticks["observation"]).any()
    assert replay(run.path).difference is None


def test_the_smallest_change_of_a_reading_is_found_where_it_is(drive: Drive) -> None:
    run = drive(2.0)
    layout = run.log.ticks.dtype
    assert layout.fields is not None
    place = layout.fields["position"][1] + 8 * 3

    def nudge(number: int, payload: bytes) -> bytes:
        if number != 150:
            return payload
        (value,) = struct.unpack_from("<d", payload, place)
        changed = struct.pack("<d", math.nextafter(value, math.inf))
        return payload[:place] + changed + payload[place + 8 :]

    rewritten(run.path, nudge)
    difference = replay(run.path).difference
    assert difference is not None
    assert (difference.tick, difference.what) == (150, "joint_pos[3]")
    began = run.log.ticks["began"]
    assert difference.time == pytest.approx(began[150] - began[0])


def test_another_target_is_found_too(drive: Drive) -> None:
    run = drive(2.0)
    layout = run.log.ticks.dtype
    assert layout.fields is not None
    place = layout.fields["requested"][1]

    def bend(number: int, payload: bytes) -> bytes:
        return payload[:place] + b"\x01" + payload[place + 1 :] if number == 180 else payload

    rewritten(run.path, bend)
    difference = replay(run.path).difference
    assert difference is not None and (difference.tick, difference.what) == (180, "requested[0]")


def test_ticks_that_are_missing_end_it(drive: Drive) -> None:
    run = drive(2.0)
    rewritten(run.path, lambda number, payload: None if number in (90, 91) else payload)
    found = replay(run.path)
    assert (found.gap, found.ticks, found.difference) == (89, 90, None)


def test_another_policy_is_refused(drive: Drive, tmp_path: Path) -> None:
    run = drive(1.0)
    other = tmp_path / "other.onnx"
    shutil.copy(WALKING_POLICY, other)
    assert replay(run.path, {"walking": other}).difference is None  # the same file elsewhere
    measured = Path(__file__).parents[3] / "data" / "walking_policy.onnx"
    with pytest.raises(UserError, match="is not the walking policy of the run"):
        replay(run.path, {"walking": measured})
    with pytest.raises(UserError, match="is not there; give it with --walking"):
        replay(run.path, {"walking": tmp_path / "absent.onnx"})


def test_a_log_of_another_program_is_refused(drive: Drive) -> None:
    run = drive(1.0)
    data = run.path.read_bytes()
    length = struct.unpack_from("<I", data, len(MAGIC) + 1)[0]
    payload = data[len(MAGIC) + 5 : len(MAGIC) + 5 + length].replace(b'"policies"', b'"pollcies"')
    record = struct.pack("<BI", 1, length) + payload
    rest = data[len(MAGIC) + 9 + length :]
    run.path.write_bytes(MAGIC + record + struct.pack("<I", zlib.crc32(record)) + rest)
    read_log(run.path)
    with pytest.raises(LogError, match="lacks 'policies'"):
        replay(run.path)
