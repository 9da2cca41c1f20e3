"""What was recorded comes back as it was."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.hardware import Array, HardwareError, Sample
from wildrobot_torch.deploy.runtime.recorder import Player, Recorder, Recording


class Desk:
    """A robot of two servos on a desk that are where they were told to be, a tick later."""

    joint_names = ("pan", "tilt")

    def __init__(self) -> None:
        self.now, self.at, self.driven = 100.0, np.array([0.1, np.nan]), False

    def clock(self) -> float:
        return self.now

    def read(self) -> Sample:
        self.now += 0.02
        return Sample(
            time=self.now, quat=np.array([1.0, 0.0, 0.0, 1e-17]), gyro=np.array([0.1, 0.2, 0.3]),
            imu_time=self.now - 0.003, position=self.at.copy(),
            position_time=np.array([self.now, np.nan]), switches=np.zeros(0),
            switch_time=np.nan, voltage=np.array([11.1, np.nan]), temperature=np.full(2, 31.0),
        )  # fmt: skip

    def write(self, targets: Array) -> None:
        self.at, self.driven = targets.copy(), True

    def release(self) -> None:
        self.driven = False

    def close(self) -> None:
        self.release()


def _record(path: Path) -> tuple[list[Sample], list[Array]]:
    recorder, samples, targets = Recorder(Desk(), path), [], []
    for step in range(5):
        samples.append(recorder.read())
        targets.append(np.array([0.1 * step, -1 / 3]))
        recorder.write(targets[-1])
    recorder.release()
    recorder.close()
    return samples, targets


def test_samples_targets_and_releases_come_back_bit_for_bit(tmp_path: Path) -> None:
    samples, targets = _record(tmp_path / "run")
    recording = Recording.load(tmp_path / "run")
    assert recording.whole
    assert recording.joint_names == ("pan", "tilt")
    assert recording.releases == (pytest.approx(100.1),)
    assert [sent.after for sent in recording.targets] == [1, 2, 3, 4, 5]
    player = Player(recording)
    for sample, sent, target in zip(samples, recording.targets, targets, strict=True):
        played = player.read()
        for name, value in vars(sample).items():
            assert np.asarray(value).tobytes() == np.asarray(getattr(played, name)).tobytes(), name
        assert sent.values.tobytes() == target.tobytes()
        assert player.clock() == sample.time
        player.write(target)
    with pytest.raises(HardwareError, match="the recording has ended after 5 samples"):
        player.read()
    assert len(player.asked) == 5


def test_a_recording_that_was_cut_off_is_played_up_to_its_last_whole_message(
    tmp_path: Path,
) -> None:
    _record(tmp_path / "run")
    data = (tmp_path / "run").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    recording = Recording.load(tmp_path / "cut")
    assert not recording.whole
    assert 0 < len(recording.samples) < 5


def test_an_altered_recording_is_refused(tmp_path: Path) -> None:
    _record(tmp_path / "run")
    data = bytearray((tmp_path / "run").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "altered").write_bytes(data)
    with pytest.raises(UserError, match="no recording that can be played"):
        Recording.load(tmp_path / "altered")
    (tmp_path / "other").write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(UserError, match="no recording that can be played"):
        Recording.load(tmp_path / "other")


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"something")
    with pytest.raises(UserError, match="File exists"):
        Recorder(Desk(), tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == b"something"


def test_a_full_disk_ends_the_recording_and_not_the_robot(tmp_path: Path) -> None:
    desk = Desk()
    recorder = Recorder(desk, tmp_path / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        for _ in range(5):
            recorder.read()
            recorder.write(np.array([0.1, 0.2]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert desk.driven
    assert recorder.error == "recording has ended: File too large"
    recorder.close()
    assert not desk.driven
    recording = Recording.load(tmp_path / "run")
    assert recording.samples
    assert not recording.whole


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("raise RuntimeError('x')", 1), ("os.kill(os.getpid(), signal.SIGTERM)", 143),
     ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT)],
    ids=["end", "exception", "SIGTERM", "Ctrl-C"],
)  # fmt: skip
def test_a_robot_lets_go_however_its_process_ends(ending: str, code: int) -> None:
    program = f"""
import os, signal, sys, time
from wildrobot_torch.deploy.runtime.release import released
class Servos:
    def release(self): os.write(1, b"released ")
    def close(self): os.write(1, b"closed ")
with released(Servos()) as servos:
    {ending or "pass"}
    time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.stdout == b"released closed "
    assert done.returncode == code
