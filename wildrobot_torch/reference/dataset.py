"""Reference datasets: accepted segments of motion in one verifiable file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError
from envs.layout import Layout, LayoutMismatch
from wildrobot_torch.files import atomic_write
from wildrobot_torch.reference.judge.gates import TIERS
from wildrobot_torch.reference.sampling import WindowTable

FORMAT = 2
"""Version of the files; it changes with the meaning of anything in them."""
SUPPORTS = ("none", "harness")
"""What held the robot up: nothing outside it in any frame, or a harness in some."""
START_TAIL_S = 0.5
"""Motion that must follow a start state inside its segment [s]."""

_TENSORS = {
    "amp": torch.float32,
    "qpos": torch.float32,
    "qvel": torch.float32,
    "foot_force": torch.float32,
    "support_wrench": torch.float32,
    "segment_start": torch.int64,
    "segment_length": torch.int64,
    "segment_weight": torch.float32,
    "segment_velocity": torch.float32,
    "feature_mean": torch.float32,
    "feature_std": torch.float32,
}
_PER_FRAME = ("amp", "qpos", "qvel", "foot_force", "support_wrench")
_PER_SEGMENT = ("segment_length", "segment_weight", "segment_velocity")
_LABELS = ("segment_clip", "segment_tier", "segment_support")
_HEADER = "header"
_DIGEST = "sha256"


class DatasetError(UserError):
    """A reference file cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True)
class ReferenceDataset:
    """Accepted motion: N frames in S segments, concatenated; frames are `ctrl_dt` apart."""

    amp: Tensor
    """(N, F): style features, in the order of `amp_layout`."""
    qpos: Tensor
    """(N, nq)."""
    qvel: Tensor
    """(N, nv)."""
    foot_force: Tensor
    """(N, 2) [N]: normal force of the floor on the left and right foot."""
    support_wrench: Tensor
    """(N, 6): external force [N] and torque [N m] on the root, world; zero without support."""
    segment_start: Tensor
    """(S,) long: first frame."""
    segment_length: Tensor
    """(S,) long: number of frames."""
    segment_weight: Tensor
    """(S,): sampling weight of a segment's frames, > 0."""
    segment_velocity: Tensor
    """(S,) [m/s]: mean heading-frame v_x."""
    segment_clip: tuple[str, ...]
    """S names of the clips the segments come from."""
    segment_tier: tuple[str, ...]
    """S tiers, of `TIERS`: how good the motion is by the gates."""
    segment_support: tuple[str, ...]
    """S supports, of `SUPPORTS`: who held the robot up."""
    ctrl_dt: float
    """Time between frames [s]."""
    amp_layout: Layout
    robot_digest: str
    manifest: dict[str, Any]
    """How it was made: settings, clip hashes, gates and their metrics per segment."""
    feature_mean: Tensor = field(default_factory=lambda: torch.empty(0))
    """(F,): mean of `amp`; computed when not given."""
    feature_std: Tensor = field(default_factory=lambda: torch.empty(0))
    """(F,): standard deviation of `amp`; computed when not given."""

    def __post_init__(self) -> None:
        if self.feature_mean.numel() == 0 and self.amp.numel():
            std, mean = torch.std_mean(self.amp.double(), dim=0, correction=0)
            object.__setattr__(self, "feature_mean", mean.to(self.amp.dtype))
            object.__setattr__(self, "feature_std", std.to(self.amp.dtype))
        self._check()

    @property
    def num_frames(self) -> int:
        """N."""
        return self.amp.shape[0]

    @property
    def num_segments(self) -> int:
        """S."""
        return self.segment_start.shape[0]

    @property
    def duration_s(self) -> float:
        """Motion in all segments [s]."""
        return self.num_frames * self.ctrl_dt

    def to(self, device: torch.device | str) -> ReferenceDataset:
        """The same dataset with its tensors on `device`."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    def seconds(self, tier: str) -> float:
        """Motion in the segments of a tier [s]."""
        chosen = [t == tier for t in self.segment_tier]
        return int(self.segment_length.cpu()[chosen].sum()) * self.ctrl_dt

    def select(self, tiers: Collection[str]) -> ReferenceDataset:
        """The segments of some tiers; statistics and manifest stay those of the whole.

        Raises:
            DatasetError: there is none.
        """
        chosen = [i for i, tier in enumerate(self.segment_tier) if tier in tiers]
        if not chosen:
            there = [f"{self.seconds(t):.1f} s of {t}" for t in TIERS if t in self.segment_tier]
            raise DatasetError(f"no segment of tier {' or '.join(tiers)}, only {', '.join(there)}")
        return self.take(chosen)

    def take(self, chosen: Sequence[int], *, own_statistics: bool = False) -> ReferenceDataset:
        """The segments of these numbers, ascending; the manifest stays that of the whole.

        So do mean and standard deviation of the features, but with `own_statistics`.
        """
        keep = torch.tensor(chosen, device=self.amp.device)
        kept = torch.zeros(self.num_segments, dtype=torch.bool, device=self.amp.device)
        frame = torch.repeat_interleave(kept.index_fill(0, keep, True), self.segment_length)
        changed: dict[str, Any] = {name: getattr(self, name)[frame] for name in _PER_FRAME}
        changed |= {name: getattr(self, name)[keep] for name in _PER_SEGMENT}
        for name in _LABELS:
            changed[name] = tuple(getattr(self, name)[i] for i in chosen)
        if own_statistics:
            changed |= dict.fromkeys(("feature_mean", "feature_std"), self.amp.new_empty(0))
        length = changed["segment_length"]
        return replace(self, **changed, segment_start=length.cumsum(0) - length)

    def draw_windows(
        self,
        num: int,
        frames: int,
        generator: torch.Generator | None = None,
        *,
        batches: int = 1,
    ) -> Tensor:
        """First frames (num,) of windows of `frames` consecutive frames, each inside one segment.

        A window is drawn with probability proportional to its segment's weight, so a long segment
        counts for more than a short one of the same weight.

        Args:
            num: number of windows.
            frames: length of each.
            generator: on the dataset's device.
            batches: equal parts of the windows, one after the other; the first windows of each come
                from different clips (`WindowTable.draw`).

        Raises:
            ValueError: no segment is that long, or `num` is not a multiple of `batches`.
        """
        if num % batches:
            raise ValueError(f"{num} windows cannot be drawn in {batches} equal batches")
        if frames not in self._tables:
            number = {name: i for i, name in enumerate(dict.fromkeys(self.segment_clip))}
            clip = torch.tensor([number[c] for c in self.segment_clip], device=self.amp.device)
            self._tables[frames] = WindowTable.of(
                self.segment_start, self.segment_length, self.segment_weight, clip, frames
            )
        return self._tables[frames].draw(batches, num // batches, generator).flatten()

    def sample_windows(
        self,
        num: int,
        frames: int,
        generator: torch.Generator | None = None,
        *,
        batches: int = 1,
    ) -> Tensor:
        """Features (num, frames, F) of the windows that `draw_windows` draws."""
        first = self.draw_windows(num, frames, generator, batches=batches)
        return self.amp[first[:, None] + torch.arange(frames, device=self.amp.device)]

    @cached_property
    def _tables(self) -> dict[int, WindowTable]:
        # Made once per window length: making one waits for the device, drawing from it does not.
        return {}

    def start_indices(self) -> Tensor:
        """(M,) long: frames with at least 0.5 s of motion after them in their segment."""
        tail = round(START_TAIL_S / self.ctrl_dt)
        frame = torch.arange(self.num_frames, device=self.amp.device)
        end = self.segment_start + self.segment_length
        return frame[frame < torch.repeat_interleave(end - tail, self.segment_length)]

    def start_states(self) -> tuple[Tensor, Tensor, Tensor]:
        """Start states of episodes: qpos (M, nq), qvel (M, nv), velocity command (M,) [m/s].

        The frames are those of `start_indices`, at the origin in x and y; the command is the mean
        forward speed of the frame's segment.
        """
        index = self.start_indices()
        qpos = self.qpos[index].clone()
        qpos[:, :2] = 0.0
        velocity = torch.repeat_interleave(self.segment_velocity, self.segment_length)
        return qpos, self.qvel[index].clone(), velocity[index]

    @property
    def content_hash(self) -> str:
        """64 hex digits over every array and the header: equal for equal content."""
        return _digest(self._arrays(), self._header())

    def save(self, path: Path | str) -> None:
        """Write one .npz, whole or not at all; equal datasets give equal bytes."""
        arrays, header = self._arrays(), self._header()
        with atomic_write(path) as file:
            _write_npz(file, {**arrays, _HEADER: np.array(header)}, _digest(arrays, header))

    @staticmethod
    def load(path: Path | str, amp_layout: Layout, robot_digest: str) -> ReferenceDataset:
        """The dataset in a file, verified.

        Args:
            path: a file written by `save`.
            amp_layout: the features this code computes.
            robot_digest: `RobotSpec.digest` of the robot in use.

        Raises:
            DatasetError: file missing, truncated, altered, of another version, or made for other
                features or another robot.
        """
        path = Path(path)
        if not path.is_file():
            raise DatasetError(
                f"reference {path}: no such file; make it with `wildrobot reference`"
            )
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in _TENSORS}
                header, digest = str(content[_HEADER]), str(content[_DIGEST])
            if _digest(arrays, header) != digest:
                raise DatasetError(f"reference {path}: its content does not match its hash")
            about = json.loads(header)
            if about.get("format") != FORMAT:
                raise DatasetError(
                    f"reference {path} was made by another version of wildrobot_torch (0.3 or "
                    "older, or a newer one); make the reference again"
                )
            layout = Layout.from_dict(about["amp_layout"])
            dataset = ReferenceDataset(
                **{name: torch.from_numpy(array.copy()) for name, array in arrays.items()},
                segment_clip=tuple(about["segment_clip"]),
                segment_tier=tuple(about["segment_tier"]),
                segment_support=tuple(about["segment_support"]),
                ctrl_dt=float(about["ctrl_dt"]),
                amp_layout=layout,
                robot_digest=about["robot_digest"],
                manifest=about["manifest"],
            )
        except DatasetError:
            raise
        except Exception as error:  # A damaged zip raises almost anything.
            reason = " ".join(str(error).split())
            raise DatasetError(
                f"reference {path}: not a readable reference file, truncated or damaged "
                f"({type(error).__name__}: {reason})"
            ) from error
        try:
            amp_layout.require(layout, f"reference {path}")
        except LayoutMismatch as error:
            raise DatasetError(f"{error}; make the reference again") from error
        if dataset.robot_digest != robot_digest:
            raise DatasetError(
                f"reference {path} was made for robot {dataset.robot_digest}, this one is "
                f"{robot_digest}; make the reference again"
            )
        return dataset

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            name: np.ascontiguousarray(getattr(self, name).detach().cpu().to(dtype).numpy())
            for name, dtype in _TENSORS.items()
        }

    def _header(self) -> str:
        content = {
            "format": FORMAT,
            "amp_layout": self.amp_layout.to_dict(),
            "robot_digest": self.robot_digest,
            "ctrl_dt": self.ctrl_dt,
            **{name: list(getattr(self, name)) for name in _LABELS},
            "manifest": self.manifest,
        }
        return json.dumps(content, sort_keys=True, allow_nan=False)

    def _check(self) -> None:
        """Refuse contents that contradict themselves."""
        frames, segments = self.num_frames, self.num_segments
        if frames == 0 or segments == 0:
            raise DatasetError("a reference needs at least one segment with frames")
        if self.amp.shape[1] != self.amp_layout.size:
            raise DatasetError(
                f"amp has {self.amp.shape[1]} features, its layout {self.amp_layout.size}"
            )
        for name in (*_PER_FRAME, *_PER_SEGMENT, *_LABELS):
            size = frames if name in _PER_FRAME else segments
            if len(getattr(self, name)) != size:
                raise DatasetError(f"{name} has {len(getattr(self, name))} rows, expected {size}")
        for name, allowed in (("segment_tier", TIERS), ("segment_support", SUPPORTS)):
            if unknown := sorted(set(getattr(self, name)) - set(allowed)):
                raise DatasetError(f"{name} holds {unknown}; allowed are {list(allowed)}")
        for name in _TENSORS:
            if not bool(torch.isfinite(getattr(self, name)).all()):
                raise DatasetError(f"{name} holds a number that is not finite")
        end = torch.cumsum(self.segment_length, 0)
        contiguous = torch.equal(end - self.segment_length, self.segment_start)
        if not contiguous or int(end[-1]) != frames or int(self.segment_length.min()) < 1:
            raise DatasetError(f"segments do not tile the {frames} frames one after the other")
        if float(self.segment_weight.min()) <= 0.0:
            raise DatasetError("segment_weight holds a weight that is not positive")


def _digest(arrays: dict[str, np.ndarray], header: str) -> str:
    sha = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _write_npz(file: Any, arrays: dict[str, np.ndarray], digest: str) -> None:
    # numpy stamps the time of writing on every member; fixed stamps make equal data equal bytes.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {**arrays, _DIGEST: np.array(digest)}.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
