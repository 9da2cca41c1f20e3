"""Which tiers of reference motion a training uses, and from when on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from envs.errors import UserError
from envs.layout import Layout
from wildrobot_torch.reference.dataset import DatasetError, ReferenceDataset
from wildrobot_torch.reference.judge.gates import TIERS
from wildrobot_torch.reference.splits import split


def tiers_at(begin: Mapping[str, int], env_steps: int) -> tuple[str, ...]:
    """Tiers in use after `env_steps` environment steps, best first.

    `begin` gives the environment steps from which each tier is used.
    """
    return tuple(tier for tier in TIERS if tier in begin and begin[tier] <= env_steps)


def require_schedule(begin: Mapping[str, int], name: str) -> None:
    """Refuse a schedule that names other tiers, or leaves the start of the training without any.

    Raises:
        UserError: with the setting's `name`.
    """
    if unknown := [tier for tier in begin if tier not in TIERS]:
        raise UserError(f"{name} names the tiers {unknown}; allowed are {list(TIERS)}")
    if min(begin.values(), default=1) != 0:
        raise UserError(
            f"{name} is {dict(begin)}; it gives the environment steps from which a tier is used, "
            "never negative, and 0 for at least one tier"
        )


class Curriculum:
    """A reference of which better tiers come first, and some is never trained on."""

    held_out: ReferenceDataset | None
    """What is never trained on, of all tiers that are used at any time; None for nothing."""
    whole: ReferenceDataset
    """What is trained on at any time."""
    frames: tuple[Tensor, Tensor]
    """All features (N, F) that are trained on at any time, and the first frame (N,) of each frame's
    segment; frames are numbered as here."""

    def __init__(
        self,
        reference: ReferenceDataset,
        begin: Mapping[str, int],
        source: str,
        held_out: float = 0.0,
    ) -> None:
        """`reference` by the schedule `begin`, as `tiers_at` reads it; `source` names it in errors.

        `held_out` is the share held out by `split`, 0 for none.

        Raises:
            DatasetError: it has no segment of the tiers that the training starts with, or not
                enough to hold any out.
        """
        self._begin = begin
        self._tiers = tiers_at(begin, 0)
        self.held_out = None
        try:
            self.whole = reference.select(tuple(begin))
            if held_out > 0.0:
                self.whole, self.held_out = split(self.whole, held_out)
            self._present = self.whole.select(self._tiers)
        except DatasetError as error:
            remedy = "name other tiers in data.reference_tiers, or make a reference that has these"
            told = str(error) if "--data." in str(error) else f"{error}; {remedy}"
            raise DatasetError(f"{source}: {told}") from error
        start, length = self.whole.segment_start, self.whole.segment_length
        self.frames = self.whole.amp, torch.repeat_interleave(start, length)

    def at(self, env_steps: int) -> ReferenceDataset:
        """What is used after `env_steps`; the same object as long as that does not change."""
        tiers = tiers_at(self._begin, env_steps)
        if tiers != self._tiers:
            self._tiers, self._present = tiers, self.whole.select(tiers)
        return self._present

    def numbers(self, frame: Tensor) -> Tensor:
        """Numbers (M,) in `frames` of the frames (M,) of what is used at present."""
        used = torch.tensor(
            [tier in self._tiers for tier in self.whole.segment_tier], device=frame.device
        )
        return torch.repeat_interleave(used, self.whole.segment_length).nonzero()[frame, 0]


def load_curriculum(
    path: Path | str,
    amp_layout: Layout,
    robot_digest: str,
    ctrl_dt: float,
    device: torch.device,
    begin: Mapping[str, int],
    held_out: float = 0.0,
) -> Curriculum:
    """The reference in a file, on a device, by a schedule as `tiers_at` reads it, some held out.

    Raises:
        DatasetError: as `ReferenceDataset.load` and `Curriculum`, or its frames are not `ctrl_dt`
            [s] apart.
    """
    dataset = ReferenceDataset.load(path, amp_layout, robot_digest)
    if abs(dataset.ctrl_dt - ctrl_dt) > 1e-9:
        raise DatasetError(
            f"reference {path} has frames {dataset.ctrl_dt} s apart, data.env.ctrl_dt is "
            f"{ctrl_dt} s; make the reference again"
        )
    return Curriculum(dataset.to(device), begin, f"reference {path}", held_out)
