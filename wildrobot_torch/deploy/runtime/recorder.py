"""A hardware that records another one to a file, and one that plays the file back.

A recording is a stream of the messages of `wire.py`: WELCOME with the joints' names, then SAMPLE,
WRITE and RELEASE as they happened, each with its time. What was read comes back bit for bit.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from envs.errors import UserError
from wildrobot_torch.deploy.runtime.hardware import Array, Hardware, HardwareError, Sample
from wildrobot_torch.deploy.runtime.wire import (
    Frames,
    Kind,
    WireError,
    frame,
    pack_sample,
    unpack_sample,
)

_TIME = struct.Struct("<d")


@dataclass(frozen=True)
class Targets:
    """Targets that were sent."""

    time: float
    """[s]."""
    values: Array
    """(J,) [rad]."""
    after: int
    """Number of samples that had been read before."""


@dataclass(frozen=True)
class Recording:
    """What a robot measured and was told."""

    joint_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    targets: tuple[Targets, ...]
    releases: tuple[float, ...]
    """Times of `release` [s]."""
    whole: bool
    """False where the file ends within a message, as after a loss of power."""

    @classmethod
    def load(cls, path: Path | str) -> Recording:
        """The recording in a file, up to its last whole message.

        Raises:
            UserError: the file is no recording, or altered.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        frames = Frames()
        samples, targets, releases = [], [], []
        try:
            messages = frames.feed(data)
            if not messages or messages[0][0] is not Kind.WELCOME:
                raise WireError("it does not begin with a robot's joints")
            names = tuple(json.loads(messages[0][1][_TIME.size :])["joint_names"])
            for kind, payload in messages[1:]:
                (now,) = _TIME.unpack_from(payload)
                content = payload[_TIME.size :]
                if kind is Kind.SAMPLE:
                    samples.append(unpack_sample(content))
                elif kind is Kind.WRITE:
                    values = np.frombuffer(content, "<f8").astype(float)
                    targets.append(Targets(now, values, len(samples)))
                elif kind is Kind.RELEASE:
                    releases.append(now)
                else:
                    raise WireError(f"it holds a message {kind.name}")
        except (WireError, struct.error, ValueError, KeyError) as error:
            raise UserError(f"{path} is no recording that can be played: {error}") from error
        return cls(names, tuple(samples), tuple(targets), tuple(releases), not frames.rest)


class Recorder:
    """A `Hardware` that passes everything to another one and writes it to a file.

    The robot comes first: where the file cannot be written any more, recording ends, `error` says
    why, and the robot goes on.
    """

    def __init__(self, hardware: Hardware, path: Path | str) -> None:
        """Record `hardware` to a new file.

        Raises:
            UserError: the file cannot be made, or is there already.
        """
        self._hardware = hardware
        self.error: str | None = None
        """Why recording has ended; None while it has not."""
        try:
            # Without a buffer, so that a process that is killed leaves what it has recorded.
            self._file: FileIO | None = open(path, "xb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path}: cannot be recorded to: {error.strerror}") from error
        names = json.dumps({"joint_names": hardware.joint_names}).encode()
        self._record(Kind.WELCOME, names)

    def _record(self, kind: Kind, content: bytes = b"") -> None:
        if self._file is None:
            return
        try:
            message = frame(kind, _TIME.pack(self.clock()) + content)
            while message:
                message = message[self._file.write(message) :]
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError | None = None) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        if error is not None:
            self.error = f"recording has ended: {error.strerror}"
        try:
            file.close()
        except OSError as failure:
            self.error = self.error or f"recording has ended: {failure.strerror}"

    @property
    def joint_names(self) -> tuple[str, ...]:
        """See `Hardware.joint_names`."""
        return self._hardware.joint_names

    def clock(self) -> float:
        """See `Hardware.clock`."""
        return self._hardware.clock()

    def read(self) -> Sample:
        """See `Hardware.read`."""
        sample = self._hardware.read()
        self._record(Kind.SAMPLE, pack_sample(sample))
        return sample

    def write(self, targets: Array) -> None:
        """See `Hardware.write`."""
        self._hardware.write(targets)
        self._record(Kind.WRITE, np.asarray(targets, "<f8").tobytes())

    def release(self) -> None:
        """See `Hardware.release`."""
        self._hardware.release()
        self._record(Kind.RELEASE)

    def close(self) -> None:
        """See `Hardware.close`; ends the file."""
        self._hardware.close()
        self._end()


class Player:
    """A `Hardware` that says what a recording says, one sample a read, and moves nothing."""

    def __init__(self, recording: Recording) -> None:
        """From the recording's beginning."""
        self.recording = recording
        self.asked: list[Array] = []
        """(J,) [rad] each: targets that were sent to it, to be held against the recording's."""
        self.released = False
        """Whether it has been told to let go since the last targets."""
        self._next = 0
        self._closed = False

    @property
    def joint_names(self) -> tuple[str, ...]:
        """See `Hardware.joint_names`."""
        return self.recording.joint_names

    def clock(self) -> float:
        """See `Hardware.clock`: the time of the last sample, of the first before any."""
        samples = self.recording.samples
        return samples[max(0, self._next - 1)].time if samples else 0.0

    def sleep(self, seconds: float) -> None:
        """Nothing: time goes on with the samples."""

    def read(self) -> Sample:
        """See `Hardware.read`.

        Raises:
            HardwareError: the recording has ended.
        """
        if self._closed or self._next == len(self.recording.samples):
            raise HardwareError(f"the recording has ended after {self._next} samples")
        self._next += 1
        return self.recording.samples[self._next - 1]

    def write(self, targets: Array) -> None:
        """See `Hardware.write`; the targets are kept in `asked`."""
        self.asked.append(np.array(targets, dtype=float))
        self.released = False

    def release(self) -> None:
        """See `Hardware.release`."""
        self.released = True

    def close(self) -> None:
        """See `Hardware.close`."""
        self.release()
        self._closed = True
