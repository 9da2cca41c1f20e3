"""What is kept of a training that went wrong: its last rollout and its last metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tensordict import TensorDictBase
from torch import Tensor

from wildrobot_torch.training.health.alarms import Metrics

MAX_BYTES = 64 * 2**20
"""Size of a dumped rollout [byte]; of a larger one only some robots are kept."""


def write_postmortem(
    where: Path,
    reason: str,
    history: Sequence[Metrics],
    batch: TensorDictBase,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write batch.pt and metrics.json into the folder `where`, which is named by its iteration.

    batch.pt is a dictionary of tensors (e, T, ...) on the CPU, by key (`next/reward`); its entry
    `environments` (e,) numbers the robots kept, those with numbers that are not finite first.
    `torch.load(..., weights_only=True)` reads it. metrics.json has the `reason` and the metrics of
    the last iterations.

    Raises:
        OSError: the files cannot be written.
    """
    where.mkdir(parents=True, exist_ok=True)
    # JSON has no number that is not finite: its name stands for it.
    metrics = [{k: x if math.isfinite(x) else str(x) for k, x in m.items()} for m in history]
    record = {"iteration": int(where.name), "reason": reason, "metrics": metrics}
    (where / "metrics.json").write_text(json.dumps(record, indent=1) + "\n")
    entries: dict[str, Tensor] = dict(batch.flatten_keys("/").items())
    finite = torch.stack([torch.isfinite(x).flatten(1).all(dim=1) for x in entries.values()])
    per_robot = sum(x[0].numel() * x.element_size() for x in entries.values())
    kept = torch.argsort(finite.all(dim=0), stable=True)[: max(1, max_bytes // max(per_robot, 1))]
    tensors = {name: x[kept].detach().cpu().clone() for name, x in entries.items()}
    torch.save(tensors | {"environments": kept.cpu()}, where / "batch.pt")
