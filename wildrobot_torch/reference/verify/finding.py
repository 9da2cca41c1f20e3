"""What a test found out about a dataset."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
STATUSES = (PASS, WARN, FAIL)
"""PASS: as it must be. WARN: worth a look, or could not be tested. FAIL: do not train on this."""


@dataclass(frozen=True)
class Finding:
    """One row of the table: one quantity, held against its limit."""

    test: str
    """Number of the test in the suite: 1A, 1B, ..."""
    name: str
    """What was looked at."""
    status: str
    """One of `STATUSES`."""
    value: float | None = None
    """What was measured; None where nothing was."""
    limit: str = ""
    """What it may be, with its unit."""
    detail: str = ""
    """Where, or why."""


def bounded(
    test: str,
    name: str,
    value: float,
    unit: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    warn_low: float = -math.inf,
    warn_high: float = math.inf,
    detail: str = "",
) -> Finding:
    """A finding that fails outside [low, high] and warns outside [warn_low, warn_high].

    A value that is not a number fails: what cannot be measured is not fit for training.
    """
    unremarkable = PASS if warn_low <= value <= warn_high else WARN
    status = unremarkable if low <= value <= high else FAIL
    bounds = [f">= {low:g}"] * math.isfinite(low) + [f"<= {high:g}"] * math.isfinite(high)
    limit = " and ".join(bounds) + ("" if unit == "1" else f" {unit}")
    return Finding(test, name, status, value, limit, detail)


def skipped(test: str, name: str, reason: str) -> Finding:
    """A finding that says why nothing was measured."""
    return Finding(test, name, WARN, detail=f"not tested: {reason}")


def passed(findings: Sequence[Finding]) -> bool:
    """Whether there is no failure; warnings do not count."""
    return all(finding.status != FAIL for finding in findings)


def markdown(findings: Sequence[Finding], title: str) -> str:
    """The findings as a table, with a verdict above."""
    counts = ", ".join(f"{sum(f.status == s for f in findings)} {s}" for s in STATUSES)
    lines = [
        f"# {title}",
        "",
        f"{PASS if passed(findings) else FAIL}: {counts}",
        "",
        "| test | what | status | measured | limit | detail |",
        "|---|---|---|---|---|---|",
    ]
    for f in findings:
        value = "" if f.value is None else f"{f.value:.3g}"
        lines.append(f"| {f.test} | {f.name} | {f.status} | {value} | {f.limit} | {f.detail} |")
    return "\n".join(lines) + "\n"


def as_json(findings: Sequence[Finding], content_hash: str) -> str:
    """The findings with the hash of what they were found in; numbers that are none become null."""

    def plain(finding: Finding) -> dict[str, object]:
        row = asdict(finding)
        if finding.value is not None and not math.isfinite(finding.value):
            row["value"] = None
        return row

    content = {
        "passed": passed(findings),
        "content_hash": content_hash,
        "findings": [plain(finding) for finding in findings],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
