"""Replay of past policy windows, which keep the discriminator from forgetting them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError


class Replay:
    """Ring buffer of the last `capacity` windows."""

    def __init__(self, capacity: int) -> None:
        """Empty; the first windows inserted set shape and device."""
        self.capacity = capacity
        self._windows = torch.empty(0)
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def insert(self, windows: Tensor) -> None:
        """Insert windows (n, ...), n <= capacity; they overwrite the oldest."""
        num = windows.shape[0]
        if self._size == 0:
            self._windows = windows.new_zeros(self.capacity, *windows.shape[1:])
        where = (self._next + torch.arange(num, device=windows.device)) % self.capacity
        self._windows[where] = windows
        self._next = (self._next + num) % self.capacity
        self._size = min(self._size + num, self.capacity)

    def sample(self, num: int) -> Tensor:
        """Windows (num, ...), drawn uniformly with replacement; there must be some."""
        return self._windows[torch.randint(self._size, (num,), device=self._windows.device)]

    def state_dict(self) -> dict[str, Any]:
        """Content, for an exact resume."""
        return {"windows": self._windows[: self._size].clone(), "next": self._next}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Put back what `state_dict` returned.

        Raises:
            UserError: the saved replay had another capacity.
        """
        windows, after = state["windows"].to(device), state["next"]
        size = windows.shape[0]
        if size > self.capacity or (size < self.capacity and after != size):
            raise UserError(
                f"the checkpoint's replay of {size} windows does not fit amp.replay_size "
                f"{self.capacity}; resume with the size it was trained with"
            )
        self._size = 0
        if size:
            self.insert(windows)
        self._next = after
