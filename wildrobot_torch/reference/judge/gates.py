"""Gates: limits of metrics that a stretch of motion must keep to become reference.

Gates are data (configs/gates.yaml), with limits for each tier of quality. They fail closed: a
metric that is missing or not a number rejects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from envs.yaml_files import read_yaml
from wildrobot_torch.motion.metrics import METRICS, Limit, require_number

TIERS = ("0+", "0", "1", "2")
"""Qualities of reference motion, best first: strict gates, the same with more support, relaxed
gates, merely standing (for ablations)."""
GOOD_TIERS = TIERS[:2]
"""Tiers that training uses by default, and that count when a dataset must be large enough."""
COMMON = ("0+", "0", "1")
"""Tiers for which a gate's own limit holds where it gives no other; "2" is only for gates that
name it."""
SCOPES = ("window", "segment")
MOTIONS = ("any", "moving", "standing")
_SIZES: Mapping[str, Callable[[RobotSpec], float]] = {
    "m": lambda robot: robot.scale,
    "m/s": lambda robot: robot.speed_scale,
    "rad/s": lambda robot: 1.0 / robot.speed_scale,
}
"""Unit of a metric -> what it is multiplied by on a robot of another size."""
_STANDARD_WIDTH = 0.0827
"""Width of the WildRobot's sole [m]."""
_REQUIRED = {"name", "metric", "unit", "meaning"}
_OPTIONAL = {"min", "max", "tiers", "good", "scope", "motion"}


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits of one metric."""

    name: str
    metric: str
    unit: str
    meaning: str
    min: float | None = None
    max: float | None = None
    tiers: Mapping[str, Limit | None] = field(default_factory=dict)
    """Tier -> what holds there instead of min and max; None: the gate does not judge that tier."""
    good: float | None = None
    """Value at which the quality of a stretch is 1 in this metric; None: no matter of quality."""
    scope: str = "window"
    """window: must hold in every window and in the whole segment; segment: in the segment only."""
    motion: str = "any"
    """any: judges every clip; moving: only clips that go somewhere; standing: only the others."""

    def limit(self, tier: str) -> Limit | None:
        """Limit that holds in a tier; None where the gate does not judge it."""
        if tier in self.tiers:
            return self.tiers[tier]
        bounded = self.min is not None or self.max is not None
        return Limit(min=self.min, max=self.max) if bounded and tier in COMMON else None

    def sized(self, robot: RobotSpec) -> Gate:
        """The gate of a robot of the WildRobot's size, for `robot`.

        Lengths go with the leg, speeds and the inverse of times with its root; soles keep the same
        room between them in legs, whatever their width.
        """
        factor = _SIZES.get(self.unit, lambda robot: 1.0)(robot)
        shift = 0.0
        if self.metric == "foot_separation_p05":
            shift = robot.leg.sole_width - factor * _STANDARD_WIDTH
        if robot.is_standard or (factor == 1.0 and shift == 0.0):
            return self

        def moved(value: float | None) -> float | None:
            return None if value is None else round(value * factor + shift, 6)

        tiers = {
            tier: limit and Limit(min=moved(limit.min), max=moved(limit.max))
            for tier, limit in self.tiers.items()
        }
        bounds = {name: moved(getattr(self, name)) for name in ("min", "max", "good")}
        return replace(self, **bounds, tiers=tiers)

    def reason(self, metrics: Mapping[str, float], tier: str) -> str | None:
        """Why `metrics` do not pass in a tier, or None when they do."""
        limit = self.limit(tier)
        violation = limit and limit.violation(metrics.get(self.metric, math.nan), self.unit)
        return f"{self.name}: {self.metric} {violation}" if violation else None

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
class GateResult:
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


def judge(metrics: Mapping[str, float], gates: Sequence[Gate], tier: str) -> GateResult:
    """Result of `gates` for the metrics of one stretch of motion, by the limits of a tier.

    Raises:
        UserError: no gate judges the tier; nothing may be accepted unjudged.
    """
    if all(gate.limit(tier) is None for gate in gates):
        raise UserError(f"no gates judge tier {tier!r}: motion is never accepted unjudged")
    found = [(gate.name, gate.reason(metrics, tier)) for gate in gates]
    failed = [(name, reason) for name, reason in found if reason is not None]
    return GateResult(dict(metrics), tuple(n for n, _ in failed), tuple(r for _, r in failed), tier)


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
        UserError: file missing or not a list, an unknown or missing key, a metric that does not
            exist or has another unit, a limit missing, not finite or crossed, a tier that does not
            exist, a `good` that does not pass, or a name repeated.
    """
    content = read_yaml(path)
    if not isinstance(content, list) or not content:
        raise UserError(f"gates {path}: expected a list of gates, got {type(content).__name__}")
    gates = tuple(_parse(entry, f"gates {path}, entry {i}") for i, entry in enumerate(content))
    names = [gate.name for gate in gates]
    if len(set(names)) != len(names):
        raise UserError(f"gates {path}: names repeat: {names}")
    return gates


def _parse(entry: Any, where: str) -> Gate:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected keys and values, got {entry!r}")
    unknown, missing = set(entry) - _REQUIRED - _OPTIONAL, _REQUIRED - set(entry)
    if unknown or missing:
        raise UserError(
            f"{where}: unknown keys {sorted(map(str, unknown))}, missing keys {sorted(missing)}; "
            f"allowed are {sorted(_REQUIRED)} and {sorted(_OPTIONAL)}"
        )
    metric = entry["metric"]
    if metric not in METRICS:
        raise UserError(f"{where}: unknown metric {metric!r}; allowed: {', '.join(METRICS)}")
    if entry["unit"] != METRICS[metric].unit:
        raise UserError(
            f"{where}: {metric} is in {METRICS[metric].unit!r}, the gate says {entry['unit']!r}"
        )
    for key, allowed in (("scope", SCOPES), ("motion", MOTIONS)):
        if key in entry and entry[key] not in allowed:
            raise UserError(f"{where}: {key} {entry[key]!r} is not one of {list(allowed)}")
    tiers = _tiers(entry.get("tiers", {}), where)
    bounds = {key: entry[key] for key in ("min", "max") if key in entry}
    if not bounds and not any(tiers.values()):
        raise UserError(f"{where}: give min, max or both")
    if bounds:
        Limit.parse(bounds, where)
    gate = Gate(**{**entry, "tiers": tiers})
    if gate.good is not None:
        _require_good(gate, gate.good, where)
    return gate


def _tiers(entry: Any, where: str) -> dict[str, Limit | None]:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: tiers {entry!r} is not a mapping of tiers to limits")
    for tier in entry:
        if tier not in TIERS:
            raise UserError(f"{where}: tier {tier!r} is not one of {list(TIERS)} (in quotes)")
    return {
        tier: None if bounds is None else Limit.parse(bounds, f"{where}, tier {tier}")
        for tier, bounds in entry.items()
    }


def _require_good(gate: Gate, good: float, where: str) -> None:
    require_number(good, f"{where}: good")
    limit = gate.limit(TIERS[0])
    if limit is None or (limit.min is None) == (limit.max is None):
        raise UserError(f"{where}: good needs either min or max in tier {TIERS[0]}, not both")
    if not limit.holds(good) or good in (limit.min, limit.max):
        raise UserError(f"{where}: good {good} must pass tier {TIERS[0]}, not touch its bound")
