"""Tables of how clips fared, way by way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from wildrobot_torch.reference.judge.gates import TIERS
from wildrobot_torch.reference.report.analysis_report import table
from wildrobot_torch.reference.report.comparison import CLIP, ORIGINAL, RejectedSecond, Row

COMPARISON_NOTE = (
    f"`{CLIP}` is the motion to be followed, put on the robot without physics, `{ORIGINAL}` the "
    "same before its repair; the other rows are what the simulated robot made of it. Seconds are "
    "those accepted, by tier. Slip is the speed of standing soles, 95th percentile: of clips "
    "the lower one stands, of robots every one that bears a tenth of the weight."
)


def comparison_table(rows: Sequence[Row]) -> str:
    """Markdown table: a row for each clip and way."""
    head = (
        "clip", "way", *(f"{tier}, s" for tier in TIERS), "survival", "joint RMS, rad",
        "slip p95, m/s", "load, m g", "harness force p95, m g", "harness torque p95, m g h",
        "penetration, mm", "on a stop",
    )  # fmt: skip
    simulated = (row.way not in (CLIP, ORIGINAL) for row in rows)
    return table(
        head,
        [
            (
                row.clip,
                row.way,
                *(f"{row.seconds.get(t, 0.0):.2f}" if real else "-" for t in TIERS),
                _cell(row.survival, ".0%"),
                _cell(row.joint_rms, ".3f"),
                _cell(row.slip_p95, ".3f"),
                _cell(row.load_mean, ".2f"),
                _cell(row.force_p95, ".3f"),
                _cell(row.torque_p95, ".3f"),
                _cell(1e3 * row.penetration, ".1f"),
                _cell(row.joint_stop, ".0%"),
            )
            for row, real in zip(rows, simulated, strict=True)
        ],
    )


def before_after_table(rows: Sequence[Row]) -> str:
    """Markdown table: mean and worst over the clips of what each way does to floor and joints."""
    body = []
    for way in dict.fromkeys(row.way for row in rows):
        mine = [row for row in rows if row.way == way]
        cells = []
        for values, scale, form in (
            ([row.penetration for row in mine], 1e3, ".1f"),
            ([row.slip_p95 for row in mine], 1.0, ".3f"),
            ([row.joint_stop for row in mine], 1e2, ".0f"),
        ):
            known = [scale * value for value in values if math.isfinite(value)]
            mean = sum(known) / len(known) if known else math.nan
            cells += [_cell(mean, form), _cell(max(known, default=math.nan), form)]
        body.append((way, str(len(mine)), *cells))
    head = ("way", "clips", "penetration, mm", "worst", "slip p95, m/s", "worst",
            "frames on a stop, %", "worst")  # fmt: skip
    return table(head, body)


def rejected_table(rejected: Sequence[RejectedSecond]) -> str:
    """Markdown table: what was rejected of each clip, neighbours with the same reasons joined."""
    if not rejected:
        return "Nothing."
    body = []
    for (clip, way, kept, gates, fell), run in groupby(
        rejected, key=lambda r: (r.clip, r.way, r.kept_as, r.gates, r.reason if not r.gates else "")
    ):
        group = list(run)
        seconds = sum(one.rejected_s for one in group)
        if gates and len(group) > 1:
            reason = f"{group[0].reason} (at {group[0].second} s)"
        else:
            reason = fell or group[0].reason
        body.append(
            (
                clip,
                way,
                f"{group[0].second} to {group[-1].second + 1}",
                f"{seconds:.2f}",
                ", ".join(gates) or "-",
                reason,
                kept or "-",
            )
        )
    head = ("clip", "way", "time, s", "rejected, s", "gates", "reason", "kept as tier")
    return table(head, body)


def _cell(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
