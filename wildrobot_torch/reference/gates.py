"""Gates: bounds on metrics that a stretch of motion must keep to become reference.

Gates are data (configs/gates.yaml). They fail closed: a metric that is missing or not a number
rejects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wildrobot_torch.reference.metrics import METRICS

SCOPES = ("window", "segment")
MOTIONS = ("any", "moving")
_REQUIRED = {"name", "metric", "unit", "meaning"}
_OPTIONAL = {"min", "max", "scope", "motion"}


class GateError(ValueError):
    """A gate file cannot be used; the message names the file, the gate and the key."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A bound on one metric."""

    name: str
    metric: str
    unit: str
    meaning: str
    min: float | None = None
    max: float | None = None
    scope: str = "window"
    """window: must hold in every window and in the whole segment; segment: in the segment only."""
    motion: str = "any"
    """any: judges every clip; moving: only clips that go somewhere."""

    def reason(self, metrics: Mapping[str, float]) -> str | None:
        """Why `metrics` do not pass, or None when they do."""
        value = metrics.get(self.metric, math.nan)
        if not math.isfinite(value):
            return f"{self.name}: {self.metric} is not measured ({value})"
        if self.min is not None and value < self.min:
            return f"{self.name}: {self.metric} {value:.4g} < {self.min:g} {self.unit}"
        if self.max is not None and value > self.max:
            return f"{self.name}: {self.metric} {value:.4g} > {self.max:g} {self.unit}"
        return None


@dataclass(frozen=True)
class Verdict:
    """What the gates say of one stretch of motion."""

    metrics: dict[str, float]
    failed: tuple[str, ...]
    """Names of the gates that rejected it, in the order of the gate file."""
    reasons: tuple[str, ...]
    """One line for each of them."""

    @property
    def accepted(self) -> bool:
        """Whether every gate passed."""
        return not self.failed


def judge(metrics: Mapping[str, float], gates: Sequence[Gate]) -> Verdict:
    """Verdict of `gates` on the metrics of one stretch of motion.

    Raises:
        GateError: there are no gates; nothing may be accepted unjudged.
    """
    if not gates:
        raise GateError("no gates to judge by: a stretch of motion is never accepted unjudged")
    found = [(gate.name, gate.reason(metrics)) for gate in gates]
    failed = [(name, reason) for name, reason in found if reason is not None]
    return Verdict(dict(metrics), tuple(n for n, _ in failed), tuple(r for _, r in failed))


def load_gates(path: Path | str) -> tuple[Gate, ...]:
    """The gates of a YAML file: a list of {name, metric, min and/or max, unit, meaning}.

    Raises:
        GateError: file missing or not a list, an unknown or missing key, a metric that does not
            exist or has another unit, bounds missing, not finite or crossed, or a name repeated.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise GateError(f"gates {path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, list) or not content:
        raise GateError(f"gates {path}: expected a list of gates, got {type(content).__name__}")
    gates = tuple(_parse(entry, f"gates {path}, entry {i}") for i, entry in enumerate(content))
    names = [gate.name for gate in gates]
    if len(set(names)) != len(names):
        raise GateError(f"gates {path}: names repeat: {names}")
    return gates


def _parse(entry: Any, where: str) -> Gate:
    if not isinstance(entry, dict):
        raise GateError(f"{where}: expected keys and values, got {entry!r}")
    unknown, missing = set(entry) - _REQUIRED - _OPTIONAL, _REQUIRED - set(entry)
    if unknown or missing:
        raise GateError(
            f"{where}: unknown keys {sorted(map(str, unknown))}, missing keys {sorted(missing)}; "
            f"allowed are {sorted(_REQUIRED)} and {sorted(_OPTIONAL)}"
        )
    metric = entry["metric"]
    if metric not in METRICS:
        raise GateError(f"{where}: unknown metric {metric!r}; there are {sorted(METRICS)}")
    if entry["unit"] != METRICS[metric].unit:
        raise GateError(
            f"{where}: {metric} is in {METRICS[metric].unit!r}, the gate says {entry['unit']!r}"
        )
    for key, allowed in (("scope", SCOPES), ("motion", MOTIONS)):
        if key in entry and entry[key] not in allowed:
            raise GateError(f"{where}: {key} {entry[key]!r} is not one of {list(allowed)}")
    bounds = {key: entry[key] for key in ("min", "max") if key in entry}
    if not bounds:
        raise GateError(f"{where}: give min, max or both")
    for key, value in bounds.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise GateError(f"{where}: {key} {value!r} is not a finite number")
    if len(bounds) == 2 and bounds["min"] > bounds["max"]:
        raise GateError(f"{where}: min {bounds['min']} exceeds max {bounds['max']}")
    return Gate(**entry)
