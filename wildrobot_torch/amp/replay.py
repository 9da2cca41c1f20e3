"""Past policy motion, so that the discriminator does not forget what it has refused before."""

from __future__ import annotations

import torch
from torch import Tensor


class Replay:
    """The last `capacity` windows put in, oldest overwritten first.

    Not a module: its content differs between processes and must not be broadcast between them.
    """

    def __init__(
        self, capacity: int, shape: tuple[int, ...], device: torch.device | str = "cpu"
    ) -> None:
        """Empty; windows have the given shape."""
        self.capacity = capacity
        self._windows = torch.zeros(capacity, *shape, device=device)
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def insert(self, windows: Tensor) -> None:
        """Put in windows (n, ...), n <= capacity.

        Raises:
            ValueError: there are more of them than fit.
        """
        num = windows.shape[0]
        if num > self.capacity:
            raise ValueError(f"{num} windows do not fit a replay of {self.capacity}")
        where = (self._next + torch.arange(num, device=self._windows.device)) % self.capacity
        self._windows[where] = windows
        self._next = (self._next + num) % self.capacity
        self._size = min(self._size + num, self.capacity)

    def sample(self, num: int) -> Tensor:
        """Windows (num, ...), drawn uniformly with replacement.

        Raises:
            ValueError: there are none.
        """
        if self._size == 0:
            raise ValueError("an empty replay cannot be sampled")
        return self._windows[torch.randint(self._size, (num,), device=self._windows.device)]

    def state_dict(self) -> dict[str, Tensor | int]:
        """Content, for an exact resume."""
        return {"windows": self._windows[: self._size].clone(), "next": self._next}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Put back what `state_dict` returned.

        Raises:
            ValueError: it is of another capacity or of other windows.
        """
        windows, after = state["windows"], state["next"]
        assert isinstance(windows, Tensor) and isinstance(after, int)
        size = windows.shape[0]
        fits = windows.shape[1:] == self._windows.shape[1:] and size <= self.capacity
        if not fits or (size < self.capacity and after != size):
            raise ValueError(
                f"a saved replay of {size} windows {tuple(windows.shape[1:])} does not fit one of "
                f"{self.capacity} windows {tuple(self._windows.shape[1:])}; keep amp.replay_size"
            )
        self._windows[:size] = windows
        self._size, self._next = size, after % self.capacity
