"""The tables of a study, written between markers of a page whose other text is kept."""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wildrobot_torch.evaluation import report
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.arms import Result
from wildrobot_torch.study.plan import Study, Table

NOTHING = "-"


def table_text(study: Study, table: Table, results: Sequence[Result], file: str) -> str:
    """A table as markdown, with the command that makes its runs; `file` is the study's.

    Numbers are medians over seeds with their range. Arms without a result are named below.
    """
    head = ("arm", "runs", f"pass `{study.evaluation}`", *(c.heading for c in study.columns))
    rows, missing = [], []
    for arm in map(study.arm, table.arms):
        mine = [result for result in results if result.arm == arm.name]
        title = f"{arm.about} (`{arm.options}`)" if arm.options else arm.about
        if not mine:
            missing.append(title)
            continue
        failed = sum(bool(result.failure) for result in mine)
        runs = f"{len(mine)} of {len(study.seeds)}" + (f", {failed} failed" if failed else "")
        passed = f"{sum(result.passed for result in mine)} of {len(mine)}"
        cells = [_cell(mine, column.value, column.format) for column in study.columns]
        rows.append((title, runs, passed, *cells))
    floors = [_cell(results, column.floor, column.format) for column in study.columns]
    if set(floors) != {NOTHING}:
        rows.append(("the reference against itself", NOTHING, NOTHING, *floors))
    only = shlex.join(word for arm in table.arms for word in ("--only", arm))
    body = [f"    python tools/study.py {file} {only}", "", *report.table(head, rows)]
    if missing:
        body += ["", f"Not measured: {'; '.join(missing)}."]
    return "\n".join(body)


def _cell(results: Sequence[Result], value: str, form: str) -> str:
    """Median and range of a number over seeds; undefined numbers are left out."""
    known = [r.values[value] for r in results if not math.isnan(r.values.get(value, math.nan))]
    return spread(known, lambda number: format(number, form)) if known else NOTHING


def spread(numbers: Sequence[float], form: Callable[[float], str]) -> str:
    """Median and range in words; only the number where all are alike, `never` for infinite ones."""
    median, lowest, highest = (
        "never" if math.isinf(number) else form(number)
        for number in (statistics.median(numbers), min(numbers), max(numbers))
    )
    return median if lowest == highest else f"{median} ({lowest} to {highest})"


def filled(text: str, tables: Mapping[str, str]) -> str:
    """A page with tables between their markers, everything else as it was; or a StudyError."""
    for name in re.findall(r"^<!-- begin table: (.*?) -->$", text, re.MULTILINE):
        if name not in tables:
            raise StudyError(
                f"there is a place for table {name!r}; the study has {', '.join(tables)}"
            )
    for name, table in tables.items():
        text = placed(text, name, table)
    return text


def placed(text: str, name: str, table: str) -> str:
    """A page with one table between its markers, everything else as it was; or a StudyError."""
    begin, end = f"<!-- begin table: {name} -->", f"<!-- end table: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise StudyError(
            f"table {name!r} needs one place, the lines {begin!r} and {end!r} after it"
        )
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"


def write_tables(study: Study, results: Sequence[Result], file: str) -> None:
    """Write all tables of a study into its page; StudyError where it or a marker is missing."""
    page = Path(study.page)
    if not page.is_file():
        raise StudyError(f"{page}: no such file; run this in the repository's root")
    tables = {table.name: table_text(study, table, results, file) for table in study.tables}
    try:
        text = filled(page.read_text(encoding="utf-8"), tables)
    except StudyError as error:
        raise StudyError(f"{page}: {error}") from None
    page.write_text(text, encoding="utf-8")
