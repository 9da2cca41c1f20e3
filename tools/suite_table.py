"""Make the table of targets from suites: `python tools/suite_table.py A/suite.json B/suite.json`.

Prints a row for each target: what was measured in each file (seeds of one recipe, say), and in how
many it is met. With --page and --name it writes the table between the lines `<!-- begin table: NAME
-->` and `<!-- end table: NAME -->` of that page. Exit code 0, 2 for bad input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.errors import UserError
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.evaluation.measures import MEASURES
from wildrobot_torch.evaluation.report import number, table
from wildrobot_torch.study.tables import placed


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "suite_table",
        "Make the table of targets from one or several suite.json.",
        "python tools/suite_table.py runs/seed0/suite.json runs/seed1/suite.json",
    )
    add = parser.add_argument
    add("suites", type=Path, nargs="+", help="suite.json of `wildrobot evaluate --suite`")
    add("--names", nargs="+", help="heading of each file's column (default: its policy's name)")
    add("--page", type=Path, help="write into this page in place of printing")
    add("--name", help="name of the table in the page")
    return parser


def main(words: list[str]) -> int:
    """Exit code; nothing is written for bad input."""
    options = parser().parse_args(words)
    found = [read(path) for path in options.suites]
    names = options.names or [suite["columns"][0] for suite in found]
    if len(names) != len(found):
        raise UserError(f"--names has {len(names)} names, but there are {len(found)} files")
    if (options.page is None) != (options.name is None):
        raise UserError("--page and --name go together; give both or neither")
    text = "\n".join(targets(found, names))
    if options.page is None:
        print(text)
        return 0
    if not options.page.is_file():
        raise UserError(f"{options.page}: no such file")
    page = placed(options.page.read_text(encoding="utf-8"), options.name, text)
    options.page.write_text(page, encoding="utf-8")
    print(f"wrote table {options.name!r} into {options.page}")
    return 0


def read(path: Path) -> dict[str, Any]:
    """A suite.json; UserError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not {"suite", "columns", "entries"} <= set(content):
            raise ValueError("it has no suite, columns and entries")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no suite.json: {error}") from None
    return content


def targets(found: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Lines of the table: a row for each target of the suite, and for each of its groups.

    Raises:
        UserError: the files are of different suites or targets.
    """
    judged = [_targets(suite) for suite in found]
    whats = [[what for what, _, _ in mine] for mine in judged]
    for suite, mine in zip(found, whats, strict=True):
        if mine != whats[0]:
            raise UserError(
                f"suites {found[0]['suite']!r} and {suite['suite']!r} have other targets; "
                "give files of one suite"
            )
    rows = []
    for same in zip(*judged, strict=True):
        (scenario, target), _, _ = same[0]
        shown, passed = [cell for _, cell, _ in same], [met for _, _, met in same]
        rows.append((scenario, target, *shown, _verdict(passed)))
    return table(("scenario", "target", *names, "verdict"), rows)


Judged = tuple[tuple[str, str], str, bool]
"""Scenario and target, what was measured, and whether the target is met."""


def _targets(suite: dict[str, Any]) -> list[Judged]:
    """Those of the policy, in the order of the suite; groups are last."""
    policy, found = suite["columns"][0], []
    for entry in suite["entries"]:
        limits = [f"success > {entry['above']:g}"] if entry["above"] is not None else []
        limits += [_limit(name, limit) for name, limit in entry["limits"].items()]
        done = entry["columns"].get(policy)
        for place, limit in enumerate(limits):
            shown, met = _measured(done["targets"][place]) if done else ("not run", False)
            found.append(((entry["title"], limit), shown, met))
    for group in suite["groups"]:
        mine = group["passed"][policy]
        need = f"{group['passing']} of {len(group['entries'])} pass"
        found.append(((group["name"], need), str(mine["entries"]), mine["passed"]))
    return found


def _limit(name: str, limit: str) -> str:
    return f"{name} {limit} {MEASURES[name].unit}".removesuffix(" 1")


def _measured(target: dict[str, Any]) -> tuple[str, bool]:
    estimate, passed = target["estimate"], target["passed"]
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "-", passed
    if target["what"] == "success":
        return f"{value:.1%} [{low:.1%}, {high:.1%}]", passed
    if low is None:
        return number(value), passed
    return f"{number(value)} [{number(low)}, {number(high)}]", passed


def _verdict(passed: Sequence[bool]) -> str:
    if len(passed) == 1:
        return "pass" if passed[0] else "**FAIL**"
    text = f"{sum(passed)} of {len(passed)}"
    return text if all(passed) else f"**{text}**"


if __name__ == "__main__":
    sys.exit(run(main))
