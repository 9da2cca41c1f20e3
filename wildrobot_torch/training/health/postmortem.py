"""What is kept of a training that went wrong: its last rollout and its last metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from wildrobot_torch.training.health.alarms import Metrics

MAX_BYTES = 64 * 2**20
"""Size of a dumped rollout [byte]; of a larger one only some robots are kept."""


def write_postmortem(
    folder: Path,
    iteration: int,
    reason: str,
    history: Sequence[Metrics],
    batch: TensorDictBase | None,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """The new folder <folder>/<iteration> with batch.pt and metrics.json.

    batch.pt is a dictionary of tensors (e, T, ...) on the CPU, by key (`next/reward`); its entry
    `environments` (e,) numbers the robots kept, those with numbers that are not finite first.
    `torch.load(..., weights_only=True)` reads it.

    Args:
        folder: where dumps go; made if it is not there.
        iteration: number of the iteration.
        reason: one line for metrics.json.
        history: metrics of the last iterations, the present one last.
        batch: rollout [E, T]; None where there is none yet.
        max_bytes: limit on the tensors' size.

    Raises:
        OSError: the files cannot be written.
    """
    where = folder / str(iteration)
    where.mkdir(parents=True, exist_ok=True)
    record = {
        "iteration": iteration,
        "reason": reason,
        "metrics": [{name: _json(value) for name, value in metrics.items()} for metrics in history],
    }
    (where / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    if batch is not None:
        torch.save(_tensors(batch, max_bytes), where / "batch.pt")
    return where


def _json(value: float) -> float | str:
    """A number that JSON can hold, or its name."""
    return value if math.isfinite(value) else str(value)


def _tensors(batch: TensorDictBase, max_bytes: int) -> dict[str, Tensor]:
    entries: dict[Any, Tensor] = dict(batch.items(include_nested=True, leaves_only=True))
    num_envs = batch.batch_size[0]
    broken = torch.zeros(num_envs, dtype=torch.bool, device=batch.device)
    for value in entries.values():
        broken |= ~torch.isfinite(value).flatten(1).all(dim=1)
    size = sum(value.numel() * value.element_size() for value in entries.values())
    fitting = max(1, min(num_envs, max_bytes * num_envs // max(size, 1)))
    kept = torch.argsort(~broken, stable=True)[:fitting]
    tensors = {
        key if isinstance(key, str) else "/".join(key): value[kept].detach().cpu().clone()
        for key, value in entries.items()
    }
    return tensors | {"environments": kept.cpu()}
