"""What Lightning loads: whole rollouts, or one scenario, out of sized plain iterables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tensordict import TensorDictBase

from wildrobot_torch.evaluation import Scenario


class Source(Protocol):
    """Where rollouts come from."""

    def collect(self) -> TensorDictBase:
        """A rollout [E, T] of the present policy."""
        ...


class Rollouts:
    """Sized iterable of rollouts [E, T]; one pass is one epoch.

    Sized, or Lightning would fetch one rollout ahead and train each policy on the data of the one
    before. A rollout is valid until the next is asked for. It knows its place in the epoch, so a
    run stopped amid one goes on there.
    """

    def __init__(self, data: Source, length: int) -> None:
        """`length` rollouts per pass, collected by `data`."""
        self._data, self._length = data, length
        self._position = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[TensorDictBase]:
        start, self._position = self._position, 0
        for index in range(start, self._length):
            rollout = self._data.collect()
            self._position = (index + 1) % self._length
            yield rollout

    def state_dict(self) -> dict[str, int]:
        """Place in the epoch."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a saved place."""
        self._position = state["position"]


class Scenarios:
    """Sized iterable of one scenario; of a list Lightning would make one loader per entry."""

    def __init__(self, scenario: Scenario) -> None:
        """Hands out `scenario`."""
        self._scenario = scenario

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Scenario]:
        yield self._scenario
