"""Functions of tensors recorded once as a CUDA graph and replayed: hundreds of launches become one.

A graph reads and writes fixed addresses. So each call copies its inputs into the graph's own memory
and its outputs out of it; callers share no memory with the graph. Everything but the inputs keeps
the value it had at the recording.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from envs.trees import leaves, rebuilt

F = TypeVar("F", bound=Callable[..., Any])
Recorder = Callable[[Callable[[], Any]], tuple[Any, Callable[[], None]]]


def recorded(function: F, device: torch.device) -> F:
    """The function to call in place of `function`: itself, or on a CUDA device its `Replay`.

    Args:
        function: a pure function whose positional arguments and result are tensors, None, or
            tuples, dicts and dataclasses of them. Nothing else that it uses may ever change.
        device: of all its tensors.
    """
    return cast(F, Replay(function)) if device.type == "cuda" else function


def cuda_graph(run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Result of `run`, and a function that computes it again into the same memory.

    Waits for the device.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # so that nothing is loaded or compiled during the recording
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # If the garbage collector freed another library's memory during a recording, it would end.
    enabled = gc.isenabled()
    gc.disable()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = run()
    finally:
        if enabled:
            gc.enable()
    return result, graph.replay


class Replay:
    """A function of tensors that is recorded at its first call and replayed afterwards.

    It is recorded again when an input changes its shape, type or device, or is None in place of a
    tensor.
    """

    def __init__(self, function: Callable[..., Any], record: Recorder = cuda_graph) -> None:
        """Records nothing yet; see `recorded` for what `function` may be."""
        self._function, self._record = function, record
        self.recordings = 0
        """How many times it was recorded."""
        self._signature: tuple[Any, ...] | None = None
        self._inputs: list[Tensor] = []
        self._result: Any = None
        self._replay: Callable[[], None] = lambda: None

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:
        """The function's result, in new memory."""
        flat = list(leaves(inputs))
        given = [leaf for leaf in flat if leaf is not None]
        signature = tuple(
            None if leaf is None else (leaf.shape, leaf.dtype, leaf.device) for leaf in flat
        )
        if signature != self._signature:
            self._signature = None  # in case this recording fails
            self._prepare(inputs, given)
            self._signature = signature
        _copy(self._inputs, given)
        self._replay()
        results = [leaf for leaf in leaves(self._result) if leaf is not None]
        fresh = [torch.empty_like(leaf) for leaf in results]
        _copy(fresh, results)
        return rebuilt(self._result, iter(fresh))

    def _prepare(self, inputs: tuple[Any, ...], given: list[Tensor]) -> None:
        # Tensors made in inference mode could not be written outside it.
        with torch.inference_mode(False), torch.no_grad():
            self._inputs = [torch.empty_like(leaf) for leaf in given]
            _copy(self._inputs, given)
            own = rebuilt(inputs, iter(self._inputs))
            self._result, self._replay = self._record(lambda: self._function(*own))
        self.recordings += 1


def _copy(into: Iterable[Tensor], given: Iterable[Tensor]) -> None:
    """Copy each tensor, in one launch per type."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for own, other in zip(into, given, strict=True):
        pair = by_type.setdefault(own.dtype, ([], []))
        pair[0].append(own)
        pair[1].append(other)
    for own, other in by_type.values():
        torch._foreach_copy_(own, other)  # pyright: ignore[reportPrivateImportUsage]
