"""What a test found out about a dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from wildrobot_torch.files import to_json

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
"""PASS: as it must be. WARN: worth a look, or not tested. FAIL: do not train on this."""


@dataclass(frozen=True)
class Finding:
    """One measured quantity and its limit."""

    test: str
    """Number of the test: 1A, 1B, ..."""
    name: str
    """What was measured."""
    status: str
    """PASS, WARN or FAIL."""
    value: float | None = None
    """The measured value; None where nothing was measured."""
    limit: str = ""
    """Allowed values, with their unit."""
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
    status = FAIL
    if low <= value <= high:
        status = PASS if warn_low <= value <= warn_high else WARN
    bounds = [f">= {low:g}"] * math.isfinite(low) + [f"<= {high:g}"] * math.isfinite(high)
    limit = " and ".join(bounds) + ("" if unit == "1" else f" {unit}")
    return Finding(test, name, status, value, limit, detail)


def skipped(test: str, name: str, reason: str) -> Finding:
    """A warning that nothing was measured, with the reason."""
    return Finding(test, name, WARN, detail=f"not tested: {reason}")


def passed(findings: Sequence[Finding]) -> bool:
    """Whether there is no failure; warnings do not count."""
    return all(finding.status != FAIL for finding in findings)


def markdown(findings: Sequence[Finding], title: str) -> str:
    """The findings as a table below the verdict."""
    statuses = [finding.status for finding in findings]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in (PASS, WARN, FAIL))
    verdict = PASS if passed(findings) else FAIL
    rows = [("test", "what", "status", "measured", "limit", "detail"), ("---",) * 6]
    for f in findings:
        value = "" if f.value is None else f"{f.value:.3g}"
        rows.append((f.test, f.name, f.status, value, f.limit, f.detail))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# {title}\n\n{verdict}: {counts}\n\n{table}\n"


def as_json(findings: Sequence[Finding], content_hash: str) -> str:
    """The findings as JSON, with the dataset's hash; undefined and infinite numbers are null."""
    rows = [asdict(finding) for finding in findings]
    return to_json({"passed": passed(findings), "content_hash": content_hash, "findings": rows})
