"""The tables of a study, written between markers of a page whose other text is kept."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.plan import Arm, Column, Study, Table
from wildrobot_torch.study.results import Result, summary

NOTHING = "-"
FLOOR = "the reference against itself"
"""First cell of the row of floors."""


def markers(name: str) -> tuple[str, str]:
    """First and last line of a table's place in a page."""
    return f"<!-- begin table: {name} -->", f"<!-- end table: {name} -->"


def table_text(study: Study, table: Table, results: Sequence[Result], file: str) -> str:
    """A table as markdown, with the command that makes its runs.

    Args:
        study: whose table it is.
        table: its arms.
        results: of all arms.
        file: the study's file, for the command.
    """
    arms = study.chosen(table.arms)
    head = ["arm", "runs", f"pass `{study.evaluation}`", *(c.heading for c in study.columns)]
    lines = [_row(head), _row(["---"] * len(head))]
    for arm in arms:
        mine = [result for result in results if result.arm == arm.name]
        lines.append(_row([_title(arm), *_counts(mine, study), *_cells(mine, study.columns)]))
    floors = [_cell(results, column.floor, column.format) for column in study.columns]
    if set(floors) != {NOTHING}:
        lines.append(_row([FLOOR, NOTHING, NOTHING, *floors]))
    only = shlex.join(word for arm in arms for word in ("--only", arm.name))
    return "\n".join(
        [
            f"    python tools/study.py {file} {only}",
            "",
            *lines,
        ]
    )


def _title(arm: Arm) -> str:
    options = f" (`{arm.options}`)" if arm.options else ""
    return f"{arm.about}{options}"


def _counts(results: Sequence[Result], study: Study) -> list[str]:
    failed = sum(bool(result.failure) for result in results)
    runs = f"{len(results)} of {len(study.seeds)}" + (f", {failed} broke off" if failed else "")
    passed = f"{sum(result.passed for result in results)} of {len(results)}"
    return [runs, passed if results else NOTHING]


def _cells(results: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    return [_cell(results, column.value, column.format) for column in columns]


def _cell(results: Sequence[Result], value: str, form: str) -> str:
    """Median and range of a number over seeds; only the number where they are alike."""
    found = summary(results, value)
    if found is None:
        return NOTHING
    median, lowest, highest = (
        _number(number, form) for number in (found.median, found.lowest, found.highest)
    )
    return median if lowest == highest else f"{median} ({lowest} to {highest})"


def _number(value: float, form: str) -> str:
    return "never" if math.isinf(value) else format(value, form)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def filled(text: str, tables: Mapping[str, str]) -> str:
    """A page with tables between their markers; everything outside of them is as it was.

    Raises:
        StudyError: markers are missing, twice, or of a table that is not there.
    """
    found = re.findall(r"^<!-- begin table: (.*?) -->$", text, re.MULTILINE)
    for name in found:
        if name not in tables:
            raise StudyError(
                f"there is a place for table {name!r}, which the study does not have; it has "
                f"{', '.join(tables)}"
            )
    for name, table in tables.items():
        begin, end = markers(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise StudyError(
                f"table {name!r} needs one place, the lines {begin!r} and {end!r} after it"
            )
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return text


def write_tables(study: Study, results: Sequence[Result], page: Path, file: str) -> None:
    """Write all tables of a study into its page.

    Raises:
        StudyError: the page is not there, or lacks a marker.
    """
    if not page.is_file():
        places = "; ".join(" ... ".join(markers(table.name)) for table in study.tables)
        raise StudyError(f"{page}: no such file; write one with the markers {places}")
    tables = {table.name: table_text(study, table, results, file) for table in study.tables}
    try:
        text = filled(page.read_text(encoding="utf-8"), tables)
    except StudyError as error:
        raise StudyError(f"{page}: {error}") from None
    page.write_text(text, encoding="utf-8")
