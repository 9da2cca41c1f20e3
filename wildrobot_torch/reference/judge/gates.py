"""Gates: bounds on metrics that a stretch of motion must keep to become reference.

Gates are data (configs/gates.yaml), with bounds for each tier of quality. They fail closed: a
metric that is missing or not a number rejects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.yaml_files import read_yaml
from wildrobot_torch.reference.judge.metrics import METRICS

TIERS = ("0+", "0", "1", "2")
GOOD_TIERS = TIERS[:2]
"""Tiers that training uses unless told otherwise, and that count when there is to be enough."""
"""Qualities of reference motion, best first: strict gates, the same with more harness, relaxed
gates, merely standing (for ablations)."""
COMMON = ("0+", "0", "1")
"""Tiers for which a gate's own bounds hold where it gives no others; "2" is only for those that
name it."""
SCOPES = ("window", "segment")
MOTIONS = ("any", "moving", "standing")
_REQUIRED = {"name", "metric", "unit", "meaning"}
_OPTIONAL = {"min", "max", "tiers", "good", "scope", "motion"}


class GateError(UserError):
    """A gate file cannot be used; the message names the file, the gate and the key."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Lowest and highest value that passes; None is no bound."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Bounds on one metric."""

    name: str
    metric: str
    unit: str
    meaning: str
    min: float | None = None
    max: float | None = None
    tiers: Mapping[str, Limit | None] = field(default_factory=dict)
    """Tier -> what holds there instead of min and max; None: the gate does not judge that tier."""
    good: float | None = None
    """Value from which on a stretch could not be better in this; None: no matter of quality."""
    scope: str = "window"
    """window: must hold in every window and in the whole segment; segment: in the segment only."""
    motion: str = "any"
    """any: judges every clip; moving: only clips that go somewhere; standing: only the others."""

    def limit(self, tier: str) -> Limit | None:
        """Bounds that hold in a tier; None where the gate does not judge it."""
        if tier in self.tiers:
            return self.tiers[tier]
        bounded = self.min is not None or self.max is not None
        return Limit(min=self.min, max=self.max) if bounded and tier in COMMON else None

    def reason(self, metrics: Mapping[str, float], tier: str) -> str | None:
        """Why `metrics` do not pass in a tier, or None when they do."""
        limit = self.limit(tier)
        if limit is None:
            return None
        value = metrics.get(self.metric, math.nan)
        if not math.isfinite(value):
            return f"{self.name}: {self.metric} is not measured ({value})"
        unit = "" if self.unit == "1" else f" {self.unit}"
        if limit.min is not None and value < limit.min:
            return f"{self.name}: {self.metric} {value:.4g} < {limit.min:g}{unit}"
        if limit.max is not None and value > limit.max:
            return f"{self.name}: {self.metric} {value:.4g} > {limit.max:g}{unit}"
        return None

    def merit(self, metrics: Mapping[str, float]) -> float:
        """Quality in [0, 1] of the metric: 0 at the strictest tier's bound, 1 at `good`, linear."""
        limit, value = self.limit(TIERS[0]), metrics.get(self.metric, math.nan)
        assert self.good is not None and limit is not None, f"{self.name} judges no quality"
        bound = limit.max if limit.min is None else limit.min
        assert bound is not None
        if not math.isfinite(value):
            return 0.0
        return min(max((value - bound) / (self.good - bound), 0.0), 1.0)


@dataclass(frozen=True)
class Verdict:
    """What the gates of one tier say of one stretch of motion."""

    metrics: dict[str, float]
    failed: tuple[str, ...]
    """Names of the gates that rejected it, in the order of the gate file."""
    reasons: tuple[str, ...]
    """One line for each of them."""
    tier: str
    """The tier it was judged for."""

    @property
    def accepted(self) -> bool:
        """Whether every gate passed."""
        return not self.failed


def judge(metrics: Mapping[str, float], gates: Sequence[Gate], tier: str) -> Verdict:
    """Verdict of `gates` on the metrics of one stretch of motion, by the bounds of a tier.

    Raises:
        GateError: there is no such tier, or no gate judges it; nothing may be accepted unjudged.
    """
    if tier not in TIERS:
        raise GateError(f"tier {tier!r} is unknown; there are {list(TIERS)}")
    if not judging(gates, tier):
        raise GateError(f"no gates judge tier {tier!r}: motion is never accepted unjudged")
    found = [(gate.name, gate.reason(metrics, tier)) for gate in gates]
    failed = [(name, reason) for name, reason in found if reason is not None]
    return Verdict(dict(metrics), tuple(n for n, _ in failed), tuple(r for _, r in failed), tier)


def judging(gates: Sequence[Gate], tier: str) -> bool:
    """Whether any gate judges a tier."""
    return any(gate.limit(tier) is not None for gate in gates)


def best_tier(metrics: Mapping[str, float], gates: Sequence[Gate]) -> str | None:
    """The best tier all of whose gates pass; None without one.

    Raises:
        GateError: no gate judges any tier.
    """
    tiers = [tier for tier in TIERS if judging(gates, tier)]
    if not tiers:
        raise GateError("no gates: motion is never accepted unjudged")
    return next((tier for tier in tiers if judge(metrics, gates, tier).accepted), None)


def quality(metrics: Mapping[str, float], gates: Sequence[Gate]) -> float:
    """How good a stretch is, in [0, 1]: the mean merit over the gates that have a `good`.

    1 where none has: nothing then tells a good stretch from a better one.
    """
    merits = [gate.merit(metrics) for gate in gates if gate.good is not None]
    return sum(merits) / len(merits) if merits else 1.0


def load_gates(path: Path | str) -> tuple[Gate, ...]:
    """The gates of a YAML file: a list of {name, metric, unit, meaning, min and/or max, ...}.

    `min` and `max` hold in the tiers 0+, 0 and 1; under `tiers`, a tier has its own {min, max}, or
    null where the gate does not judge it.

    Raises:
        GateError: file missing or not a list, an unknown or missing key, a metric that does not
            exist or has another unit, bounds missing, not finite or crossed, a tier that does not
            exist, a `good` that does not pass, or a name repeated.
    """
    path = Path(path)
    content = read_yaml(path, GateError)
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
    tiers = _tiers(entry.get("tiers", {}), where)
    bounds = {key: entry[key] for key in ("min", "max") if key in entry}
    if not bounds and not any(tiers.values()):
        raise GateError(f"{where}: give min, max or both")
    if bounds:
        _limit(bounds, where)
    gate = Gate(**{**entry, "tiers": tiers})
    if gate.good is not None:
        _require_good(gate, where)
    return gate


def _tiers(entry: Any, where: str) -> dict[str, Limit | None]:
    if not isinstance(entry, dict):
        raise GateError(f"{where}: tiers {entry!r} is not a mapping of tiers to bounds")
    for tier in entry:
        if tier not in TIERS:
            raise GateError(f"{where}: tier {tier!r} is not one of {list(TIERS)} (in quotes)")
    return {
        tier: None if bounds is None else _limit(bounds, f"{where}, tier {tier}")
        for tier, bounds in entry.items()
    }


def _limit(bounds: Any, where: str) -> Limit:
    if not isinstance(bounds, dict) or not bounds or set(bounds) - {"min", "max"}:
        raise GateError(f"{where}: expected min, max or both, got {bounds!r}")
    for key, value in bounds.items():
        _require_number(key, value, where)
    if len(bounds) == 2 and bounds["min"] > bounds["max"]:
        raise GateError(f"{where}: min {bounds['min']} exceeds max {bounds['max']}")
    return Limit(**bounds)


def _require_number(key: str, value: Any, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise GateError(f"{where}: {key} {value!r} is not a finite number")


def _require_good(gate: Gate, where: str) -> None:
    _require_number("good", gate.good, where)
    assert gate.good is not None
    limit = gate.limit(TIERS[0])
    if limit is None or (limit.min is None) == (limit.max is None):
        raise GateError(f"{where}: good needs either min or max in tier {TIERS[0]}, not both")
    low, high = limit.min, limit.max
    if (low is not None and gate.good <= low) or (high is not None and gate.good >= high):
        raise GateError(f"{where}: good {gate.good} must pass tier {TIERS[0]}, not touch its bound")
