"""`wildrobot terms`: what can differ from robot to robot, and the faults and pushes that pass."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import docstring_parser

from envs.config import LocomotionConfig
from envs.reality.disturbances import PushConfig
from envs.reality.faults import FaultConfig
from envs.reality.randomization import TERMS, Draw

_TITLES = {
    "faults": (FaultConfig, "Faults that pass: data.env.faults.NAME"),
    "push": (PushConfig, "Pushes: data.env.push.NAME"),
}


def main(options: argparse.Namespace) -> int:
    """0 when the lists were printed."""
    config = _task(options.config) if options.config else None
    print("Randomisation: data.env.randomization.NAME: {low: A, high: B} or {sd: S}, per episode")
    print(
        "read by model: the engine's model, whose fields are named; a * marks what acts per step\n"
    )
    print(_table(_terms(config)))
    for group, (kind, title) in _TITLES.items():
        print(f"\n{title}\n")
        print(_table(_settings(kind, None if config is None else getattr(config, group))))
    return 0


def _task(paths: Sequence[str]) -> LocomotionConfig:
    """The task of the merged files, which may not be used."""
    # Reading settings of a training imports all of it, which the bare list does not need.
    from wildrobot_torch.cli import fit

    parser = fit.parser()
    settings = parser.read([word for path in paths for word in ("--config", path)])
    return parser.construct(settings).data.config


def _terms(config: LocomotionConfig | None) -> list[list[str]]:
    used = {} if config is None else config.randomization.active()
    rows = [["term", "unit", "operation", "per", "default", "typical", "read by", "meaning"]]
    for name, term in TERMS.items():
        read_by = f"{term.reader} ({', '.join(term.model_fields)})"
        rows.append(
            [
                f"{name}{' *' if term.acts == 'step' else ''}",
                term.unit,
                term.operation,
                term.per,
                f"{term.neutral:g}",
                _range(term.typical),
                read_by if term.model_fields else term.reader,
                term.meaning,
            ]
        )
    if config is not None:
        _insert(rows, [_range(used[name]) if name in used else "" for name in TERMS])
    return rows


def _settings(kind: type, config: Any) -> list[list[str]]:
    """Rows of a config dataclass: names, defaults and meanings with units."""
    meanings = {p.arg_name: p.description for p in docstring_parser.parse_from_object(kind).params}
    defaults = kind()
    rows = [["name", "default", "meaning"]]
    for field in fields(kind):
        meaning = " ".join((meanings[field.name] or "").split())
        rows.append([field.name, _value(getattr(defaults, field.name)), meaning])
    if config is not None:
        own = [(getattr(config, f.name), getattr(defaults, f.name)) for f in fields(kind)]
        _insert(rows, ["" if value == default else _value(value) for value, default in own])
    return rows


def _insert(rows: list[list[str]], values: list[str]) -> None:
    """Put a second column with what a config sets into the rows."""
    for row, value in zip(rows, ["config", *values], strict=True):
        row.insert(1, value)


def _range(draw: Draw) -> str:
    return f"sd {draw.sd:g}" if draw.sd is not None else f"{draw.low:g} to {draw.high:g}"


def _value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _table(rows: list[list[str]]) -> str:
    """Columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
