"""What a run's directory, or a policy's file, holds for a diagnosis."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.training.health.alarms import COLLAPSED, Metrics
from wildrobot_torch.training.health.why.evidence import Run

RANK = "Evaluation/rank"
STEP = "step"
"""Column of the environment steps."""


@dataclass(frozen=True)
class Subject:
    """What is diagnosed."""

    policy: Path
    """The checkpoint, or the exported policy."""
    task: LocomotionConfig | None = None
    """Of the run; None without one."""
    run: Run | None = None


def find(path: Path) -> Subject:
    """The subject that a path names: a run's directory, a checkpoint in one, or a policy alone.

    Raises:
        UserError: there is no run, no checkpoint yet, or a file of settings that cannot be read.
    """
    if path.is_dir():
        return _of_run(path)
    if not path.exists():
        raise UserError(f"{path}: no such run or policy; give a run's folder, a .ckpt or an .onnx")
    folder = path.parent.parent
    if path.parent.name == "checkpoints" and (folder / "config.yaml").is_file():
        return _read(folder, path)
    return Subject(path)


def _of_run(folder: Path) -> Subject:
    if not (folder / "config.yaml").is_file():
        inside = sorted(path.parent for path in folder.glob("*/config.yaml"))
        hint = f"; did you mean {inside[-1]}?" if inside else "; give the folder of one run"
        raise UserError(f"{folder} is no run of `wildrobot fit`: it holds no config.yaml{hint}")
    checkpoints = folder / "checkpoints"
    last = checkpoints / "last.ckpt"
    found = last if last.is_file() else max(checkpoints.glob("*.ckpt"), default=None)
    if found is None:
        raise UserError(
            f"{folder} has no checkpoint yet; wait for the first evaluation "
            "(data.iterations_per_epoch), or interrupt the training with Ctrl-C, which saves one"
        )
    return _read(folder, found)


def _read(folder: Path, checkpoint: Path) -> Subject:
    file = folder / "config.yaml"
    content = read_yaml(file)

    def group(*names: str) -> Any:
        value: Any = content
        for name in names:
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(f"{file}: key {'.'.join(names)!r} is missing; is it of a run?")
            value = value[name]
        return value

    task = from_mapping(LocomotionConfig, group("data", "env"), f"{file}: data.env")
    ppo = from_mapping(PPOConfig, group("model", "ppo"), f"{file}: model.ppo")
    amp = group("model", "amp")
    metrics = read_metrics(folder / "metrics.csv")
    history = [row for row in metrics if "Loss/kl" in row]
    ranks = [(row[STEP], row[RANK]) for row in metrics if RANK in row]
    best = sorted((folder / "checkpoints").glob("best-*.ckpt"), key=lambda p: p.stat().st_mtime)
    run = Run(
        folder=folder,
        ppo=ppo,
        amp=None if amp is None else from_mapping(AMPConfig, amp, f"{file}: model.amp"),
        data={name: value for name, value in group("data").items() if name != "env"},
        env_steps=int(max((row[STEP] for row in metrics), default=0)),
        budget=int(group("run", "env_steps")),
        history=history,
        ranks=ranks,
        best=best[-1] if best else None,
        diverged=_diverged(folder / "postmortem"),
    )
    return Subject(checkpoint, task, run)


def read_metrics(path: Path) -> list[Metrics]:
    """Rows of a run's metrics.csv, one for each number of environment steps, ascending.

    Without cells that hold no finite number; no rows where there is no file yet.
    """
    if not path.is_file():
        return []
    rows: dict[float, dict[str, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            numbers = _numbers(row)
            if STEP in numbers:
                rows.setdefault(numbers[STEP], {}).update(numbers)
    return [rows[step] for step in sorted(rows)]


def _numbers(row: Mapping[Any, Any]) -> dict[str, float]:
    """A training that still writes may have left the last row unfinished."""
    numbers = {}
    for name, text in row.items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            numbers[name] = value
    return numbers


def _diverged(postmortem: Path) -> str | None:
    """Why the training ended with numbers that are not finite; an alarm's dump is no end."""
    records = [json.loads(path.read_text()) for path in sorted(postmortem.glob("*/metrics.json"))]
    reasons = [str(record["reason"]) for record in records]
    return next((reason for reason in reversed(reasons) if not reason.startswith(COLLAPSED)), None)
