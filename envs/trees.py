"""Tensors in nested tuples, dicts and dataclasses; None may be in a tensor's place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def leaves(value: Any) -> Iterator[Tensor | None]:
    """Tensors, and Nones in place of them, in order."""
    if value is None or isinstance(value, Tensor):
        yield value
        return
    for part in _parts(value):
        yield from leaves(part)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, tuple):
        return value
    return (value if isinstance(value, dict) else vars(value)).values()


def rebuilt(value: Any, tensors: Iterator[Tensor]) -> Any:
    """`value` with its tensors replaced by others, in order."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple):
        return tuple(rebuilt(part, tensors) for part in value)
    named = value if isinstance(value, dict) else vars(value)
    parts = {name: rebuilt(part, tensors) for name, part in named.items()}
    return type(value)(**parts) if is_dataclass(value) else parts


def select(mask: Tensor, new: Any, old: Any) -> Any:
    """Values of `new` where `mask` (E,) is set and of `old` elsewhere, in the same containers."""
    if new is None:
        return None
    if isinstance(new, Tensor):
        if old is None:
            return new
        return torch.where(mask.reshape(-1, *[1] * (new.dim() - 1)), new, old)
    if isinstance(new, dict):
        return {name: select(mask, value, (old or {}).get(name)) for name, value in new.items()}
    parts = {
        f.name: select(mask, getattr(new, f.name), None if old is None else getattr(old, f.name))
        for f in fields(new)
    }
    return type(new)(**parts)


def named(prefix: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors in nested dataclasses and dicts, by their path."""
    if isinstance(value, Tensor):
        yield prefix, value
    elif value is not None:
        inside = vars(value) if is_dataclass(value) else value
        for name, part in inside.items():
            yield from named(f"{prefix}.{name}", part)


def from_named(prefix: str, like: Any, saved: dict[str, Tensor], device: torch.device) -> Any:
    """Inverse of `named`, with the containers of `like`."""
    if like is None:
        return None
    if isinstance(like, Tensor):
        return saved[prefix].to(device, copy=True)
    inside = vars(like) if is_dataclass(like) else like
    parts = {n: from_named(f"{prefix}.{n}", part, saved, device) for n, part in inside.items()}
    return type(like)(**parts) if is_dataclass(like) else parts
