"""Windows of consecutive frames, each from one episode only."""

from __future__ import annotations

import torch
from torch import Tensor

from envs.task.starts import AT_HOME


def reference_past(amp: Tensor, first: Tensor, frame: Tensor, num: int) -> Tensor:
    """The `num` reference frames (..., num, F) before given frames, oldest first.

    Before the beginning of a segment, its first frame is repeated.

    Args:
        amp: (N, F) frames of all segments.
        first: (N,) long: first frame of each frame's segment.
        frame: (...) long: numbers of the given frames; negative numbers give nonsense, no error.
        num: how many frames.
    """
    frame = frame.clamp(min=0)
    before = torch.arange(-num, 0, device=amp.device)
    return amp[torch.maximum(frame[..., None] + before, first[frame][..., None])]


def windows(
    amp: Tensor,
    next_amp: Tensor,
    start: Tensor,
    past: Tensor,
    reference: tuple[Tensor, Tensor],
    window: int,
) -> Tensor:
    """Windows (E, T, K, F) that end with the frame after each step, oldest frame first.

    For the step from t to t+1 a window holds the frames t+2-K .. t+1, the last before any reset.
    The frames before an episode are filled in: a start at home repeats the first frame, because
    the robot stood there; a start in a reference state takes the reference's earlier frames.

    Args:
        amp: (E, T, F) frames before each step, after any reset.
        next_amp: (E, T, F) frames after each step, before any reset.
        start: (E, T) long: where an episode begins with a frame of `amp`, the number of its
            reference frame or `AT_HOME`; a smaller number elsewhere.
        past: (E, K-2, F) frames before the first of `amp`; read where no episode begins there.
        reference: frames (N, F) and the first frame (N,) of each frame's segment.
        window: K.
    """
    num_envs, num_steps, features = amp.shape
    if window == 1:
        return next_amp[:, :, None]
    result = amp.new_empty(num_envs, num_steps, window, features)
    result[:, :, -1] = next_amp
    result[:, :, -2] = amp
    if window == 2:
        return result
    for step in range(num_steps):
        before = past if step == 0 else result[:, step - 1, 1:-1]
        number = start[:, step]
        earlier = reference_past(*reference, number, window - 2)
        filled = torch.where((number >= 0)[:, None, None], earlier, amp[:, step, None])
        begins = (number >= AT_HOME)[:, None, None]
        result[:, step, :-2] = torch.where(begins, filled, before)
    return result


class History:
    """The last frames of a rollout, from which the next rollout's windows go on."""

    def __init__(self, window: int) -> None:
        """For windows of K = `window` frames."""
        self.window = window
        self._past: Tensor | None = None

    def windows(
        self,
        amp: Tensor,
        next_amp: Tensor,
        start: Tensor,
        reference: tuple[Tensor, Tensor],
    ) -> Tensor:
        """`windows` of a rollout that continues the last one, with the same arguments."""
        past = self._past
        if past is None or past.shape[0] != amp.shape[0]:
            # The simulations are new as well, so an episode begins everywhere.
            past = amp[:, :1].expand(-1, max(self.window - 2, 0), -1)
        result = windows(amp, next_amp, start, past, reference, self.window)
        self._past = result[:, -1, 1:-1].clone() if self.window > 2 else None
        return result

    def state_dict(self) -> dict[str, Tensor | None]:
        """The last frames, for an exact resume."""
        return {"past": self._past}

    def load_state_dict(self, state: dict[str, Tensor | None], device: torch.device | str) -> None:
        """Put back what `state_dict` returned."""
        past = state["past"]
        self._past = None if past is None else past.to(device)
