"""Windows of consecutive frames, each from one episode only."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.task.starts import AT_HOME


def reference_past(amp: Tensor, first: Tensor, frame: Tensor, num: int) -> Tensor:
    """The `num` frames (..., num, F) before frames (...) of reference `amp` (N, F), oldest first.

    Before the beginning of a segment, its first frame is repeated; `first` (N,) has the number of
    that for each frame. Negative numbers `frame` give nonsense, no error.
    """
    frame = frame.clamp(min=0)
    before = torch.arange(-num, 0, device=amp.device)
    return amp[torch.maximum(frame[..., None] + before, first[frame][..., None])]


class History:
    """Makes windows of rollouts, each of which continues the last one."""

    def __init__(self, window: int) -> None:
        """For windows of K = `window` frames."""
        self.window = window
        self._past: Tensor | None = None
        """(E, K-2, F): frames before the last of the last rollout's `amp`."""

    def windows(
        self, amp: Tensor, next_amp: Tensor, rsi_index: Tensor, reference: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Windows (E, T, K, F) that end with the frame after each step, oldest frame first.

        For the step from t to t+1 a window holds the frames t+2-K .. t+1, the last before any
        reset. The frames before an episode are filled in: a start at home repeats the first frame,
        because the robot stood there; a start in a reference state takes the reference's earlier
        frames.

        Args:
            amp: (E, T, F) frames before each step, after any reset.
            next_amp: (E, T, F) frames after each step, before any reset.
            rsi_index: (E, T) long: where an episode begins with a frame of `amp`, the number of its
                reference frame or `AT_HOME`; a smaller number elsewhere.
            reference: frames (N, F) and the first frame (N,) of each frame's segment.
        """
        num = self.window - 2
        if num < 0:
            return next_amp[:, :, None]
        past = self._past
        if past is None or past.shape[0] != amp.shape[0]:
            # The simulations are new as well, so an episode begins everywhere.
            past = amp[:, :1].expand(-1, num, -1)
        result = torch.cat([amp.new_empty(*amp.shape[:2], num, amp.shape[2]),
                            amp[:, :, None], next_amp[:, :, None]], dim=2)  # fmt: skip
        for step in range(amp.shape[1] if num else 0):
            number = rsi_index[:, step]
            earlier = reference_past(*reference, number, num)
            filled = torch.where((number >= 0)[:, None, None], earlier, amp[:, step, None])
            begins = (number >= AT_HOME)[:, None, None]
            result[:, step, :-2] = torch.where(begins, filled, past)
            past = result[:, step, 1:-1]
        self._past = past.clone() if num else None
        return result

    def state_dict(self) -> dict[str, Tensor | None]:
        """The last frames, for an exact resume."""
        return {"past": self._past}

    def load_state_dict(self, state: dict[str, Tensor | None], device: torch.device | str) -> None:
        """Put back what `state_dict` returned."""
        past = state["past"]
        self._past = None if past is None else past.to(device)
