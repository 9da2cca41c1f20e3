"""A policy or a bundle for people: joints, observation, timing, envelope, safety, results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildrobot_torch.contract import HISTORY
from wildrobot_torch.deploy.runtime.bundle import (
    CHECKSUMS,
    Bundle,
    BundleError,
    described,
)

Rows = Sequence[Sequence[str]]
"""Rows of a table; the first has the names of its columns."""
Section = tuple[str, Rows | Sequence[str]]


def inspect(path: Path | str) -> str:
    """Everything that a policy (.onnx) or a bundle says of itself, checked, as text.

    Raises:
        UserError: it is damaged, incomplete, of another version, or contradicts itself.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise BundleError(f"no file {path}")
        model = path.read_bytes()
        spec, _, checked = described(model, str(path))
        lines = [f"{path}: a policy for {spec['robot']} ({len(model) / 1e3:.0f} kB)", ""]
        return "\n".join([*lines, *_text(spec), "checked", f"  {', '.join(checked)}", ""])
    bundle = Bundle.open(path)
    sizes = [(name, f"{len(data) / 1e3:.1f} kB") for name, data in sorted(bundle.files.items())]
    golden = [
        (name, f"{found.observation:.1e}", f"{found.target:.1e} rad")
        for name, found in bundle.require_golden().items()
    ]
    total = sum(map(len, bundle.files.values()))
    lines = [
        f"{path}: a bundle for {bundle.spec['robot']} ({total / 1e3:.0f} kB of files)",
        "",
        *_text(bundle.spec),
        "safety",
        *_indented(text_table([("limit", "value"), *safety_rows(bundle.yaml("safety.yaml"))])),
        "",
    ]
    if "suite.json" in bundle.files:
        lines += ["results", *_indented(_results(bundle)), ""]
    else:
        lines += ["results", "  no suite's report is in the bundle", ""]
    lines += [
        "golden vectors, reproduced here",
        *_indented(text_table([("run", "observations apart", "joint targets apart"), *golden])),
        "",
        "files",
        *_indented(text_table([("name", "size"), *sizes])),
        "",
        "checked",
        f"  {', '.join(bundle.checked)}, golden vectors",
        f"  SHA-256 of {CHECKSUMS}: {bundle.digest}",
        "",
    ]
    return "\n".join(lines)


def _text(spec: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for title, rows in sections(spec):
        lines += [title, *_indented(text_table(rows)), ""]
    return lines


def sections(spec: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """Titles and tables of everything in a contract; absent entries have no table."""
    found = [
        ("joints, in the policy's order", joint_rows(spec)),
        ("observation", observation_rows(spec)),
        ("timing", timing_rows(spec)),
        ("action", [("what", "value"), *_action_rows(spec)]),
    ]
    if "servo" in spec:
        known = ("model", "stall_torque", "no_load_speed", "voltage", "count", "deadband",
                 "travel_time", "law")  # fmt: skip
        rows = [(k, _word(spec["servo"][k])) for k in known if k in spec["servo"]]
        found.append(("servo", [("what", "value [rad, s, N m, V]"), *rows]))
    if "envelope" in spec:
        found.append(("trained envelope", envelope_rows(spec)))
    if "provenance" in spec:
        rows = [(name, _word(value)) for name, value in spec["provenance"].items()]
        found.append(("provenance", [("what", "value"), *rows]))
    return found


def joint_rows(spec: Mapping[str, Any]) -> Rows:
    """Name, range, home, and what actions 0 and 1 are of each joint."""
    names = ("#", "joint", "low [deg]", "high [deg]", "home [deg]", "action 0 [deg]",
             "action 1 [deg]", "torque [N m]")  # fmt: skip
    rows: list[Sequence[str]] = [names]
    action = spec["action"]
    for index, name in enumerate(spec["joint_names"]):
        low, high = spec["joint_range"][index]
        offset, gain = action["offset"][index], action["gain"][index]
        angles = (low, high, _at(spec, "default_joint_pos", index), offset, offset + gain)
        torque = _at(spec, "torque_limit", index)
        shown = ["" if a is None else f"{np.rad2deg(a) + 0.0:.1f}" for a in angles]
        rows.append((str(index), name, *shown, "" if torque is None else f"{torque:g}"))
    return rows


def observation_rows(spec: Mapping[str, Any]) -> Rows:
    """Place, name, unit and frame of each field, and how it is made."""
    rows, start = [("values", "field", "unit", "frame", "meaning")], 0
    for field in spec["observation_layout"]["fields"]:
        end = start + field["size"]
        rows.append(
            (f"{start}-{end - 1}", field["name"], field["unit"], field["frame"], field["meaning"])
        )
        start = end
    return rows


def timing_rows(spec: Mapping[str, Any]) -> Rows:
    """Control period, history and the delays that were trained with."""
    rows = [("what", "value"), ("control step", f"{1e3 * spec['ctrl_dt']:g} ms")]
    past = {f["name"] for f in spec["observation_layout"]["fields"] if HISTORY in f["name"]}
    steps = spec.get("history", {}).get("steps")
    if steps:
        rows.append(("history", f"{steps} steps of {len(past)} fields, newest first"))
    for name, (low, high) in spec.get("delays_ms", {}).items():
        rows.append((f"{name}, trained", f"{low:g} to {high:g} ms"))
    if "delays_ms" not in spec:
        rows.append(("delays trained with", "not recorded"))
    return rows


def _action_rows(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    action = spec["action"]
    return [(name, _word(action[name])) for name in ("mapping", "scale", "filter", "formula")
            if name in action]  # fmt: skip


def envelope_rows(spec: Mapping[str, Any]) -> Rows:
    """Commands, and what differed from robot to robot and over time in training."""
    envelope, rows = spec["envelope"], [("what", "from", "to", "unit", "meaning")]
    commands = envelope.get("commands", {})
    units = dict(zip(("forward", "left", "turn"), commands.get("units", ["", "", ""]), strict=True))
    for name, unit in units.items():
        if name in commands:
            low, high = commands[name]
            rows.append((f"command {name}", f"{low:g}", f"{high:g}", unit, ""))
    if "standing" in commands:
        rows.append(("standing (0)", "yes" if commands["standing"] else "no", "", "", ""))
    if "terrain" in envelope:
        rows.append(("terrain", envelope["terrain"], "", "", ""))
    for name, term in envelope.get("randomization", {}).items():
        unit = f"x ({term['operation']})" if term["unit"] == "1" else term["unit"]
        rows.append((name, f"{term['low']:g}", f"{term['high']:g}", unit, term["meaning"]))
    if push := envelope.get("push"):
        low, high = push["impulse"]
        meaning = f"over {push['duration']:g} s, every {push['interval']:g} s in the mean"
        rows.append(("push", f"{low:g}", f"{high:g}", "N s", meaning))
    for name, value in envelope.get("faults", {}).items():
        rows.append((f"faults.{name}", f"{value:g}", "", "", ""))
    if "randomization" not in envelope:
        rows.append(("randomisation, pushes, faults", "not recorded", "", "", ""))
    return rows


def safety_rows(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Every number of safety.yaml by its dotted name."""
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            rows += safety_rows(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _word(value)))
    return rows


def _results(bundle: Bundle) -> list[str]:
    report = json.loads(bundle.files["suite.json"])
    lines = [f"suite {report['suite']}", ""]
    return lines + text_table(result_rows(report))


def result_rows(report: Mapping[str, Any]) -> Rows:
    """Success and target of every judged entry of a suite's report."""
    column = report["columns"][0]
    rows = [("scenario", "episodes", "success", "95 % interval", "verdict")]
    for entry in report["entries"]:
        found = entry["columns"].get(column)
        passed = entry["passed"].get(column)
        if found is None or passed is None:
            continue
        rate = found["success"]
        interval = f"{_percent(rate['low'])} to {_percent(rate['high'])}"
        missed = [target["what"] for target in found["targets"] if not target["passed"]]
        verdict = "pass" if passed else f"MISSED: {', '.join(missed)}"
        rows.append((entry["title"], str(rate["episodes"]), _percent(rate["value"]), interval,
                     verdict))  # fmt: skip
    return rows


def _percent(share: float | None) -> str:
    return "undefined" if share is None else f"{100.0 * share:.1f} %"


def _at(spec: Mapping[str, Any], name: str, index: int) -> float | None:
    return spec[name][index] if name in spec else None


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def text_table(rows: Rows) -> list[str]:
    """Lines of a table in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * min(100, max(map(len, lines))), *lines[1:]]


def markdown_table(rows: Rows) -> list[str]:
    """Lines of a table in markdown."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
