"""TorchRL specs of the locomotion environment: which keys it has, their shapes and types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torchrl.data import Binary, Bounded, Composite, Unbounded

from envs.layout import Layout


def observation_spec(
    layouts: Mapping[str, Layout], num_envs: int, device: torch.device, harness: bool
) -> Composite:
    """A (num_envs, size) block for each layout, and `start`; in harness mode `fallen` as well."""
    spec: dict[str, Unbounded | Binary] = {
        key: _values(layout.size, num_envs, device) for key, layout in layouts.items()
    }
    spec["start"] = Unbounded(shape=torch.Size([num_envs, 1]), device=device, dtype=torch.int64)
    if harness:
        spec["fallen"] = _flag(num_envs, device)
    return Composite(spec, shape=(num_envs,), device=device)


def action_spec(size: int, num_envs: int, device: torch.device) -> Bounded:
    """Actions (num_envs, size) in [-1, 1]."""
    return Bounded(low=-1.0, high=1.0, shape=torch.Size([num_envs, size]), device=device)


def reward_spec(
    terms: Iterable[str], metrics: Iterable[str], num_envs: int, device: torch.device
) -> Composite:
    """The reward, its terms and the metrics, each (num_envs, 1).

    They belong to a transition, so they are declared as rewards: TorchRL keeps those under "next"
    alone and does not carry them to the next root.
    """

    def block(names: Iterable[str]) -> Composite:
        values = {name: _values(1, num_envs, device) for name in names}
        return Composite(values, shape=(num_envs,), device=device)

    return Composite(
        {"reward": _values(1, num_envs, device), "terms": block(terms), "metrics": block(metrics)},
        shape=(num_envs,),
        device=device,
    )


def done_spec(num_envs: int, device: torch.device) -> Composite:
    """The flags done, terminated and truncated, each (num_envs, 1)."""
    flags = {key: _flag(num_envs, device) for key in ("done", "terminated", "truncated")}
    return Composite(flags, shape=(num_envs,), device=device)


def _values(size: int, num_envs: int, device: torch.device) -> Unbounded:
    return Unbounded(shape=torch.Size([num_envs, size]), device=device, dtype=torch.float32)


def _flag(num_envs: int, device: torch.device) -> Binary:
    return Binary(n=1, shape=torch.Size([num_envs, 1]), device=device, dtype=torch.bool)
