"""Tests of tools/suite_table.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools import suite_table as tool
from wildrobot_torch.cli.main import run


def target(what: str, value: float | None, low: float | None, passed: bool) -> dict[str, Any]:
    estimate = {"value": value, "low": low, "high": low and low + 0.5, "episodes": 8}
    return {"what": what, "limit": "", "estimate": estimate, "passed": passed}


def entry(title: str, above: float | None, limits: dict[str, str], *found: Any) -> dict[str, Any]:
    columns = {"p": {"targets": list(found)}} if found else {}
    return {"title": title, "above": above, "limits": limits, "columns": columns}


def suite(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    group = {
        "name": "worst", "entries": ["a", "b"], "passing": 1,
        "passed": {"p": {"entries": 2, "passed": True}},
    }  # fmt: skip
    return {"suite": "s", "columns": ["p"], "entries": list(entries), "groups": [group]} | changes


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two seeds; the second misses a target on a mean, and was not run late."""
    limits = {"torque_mean": "<= 2.5"}
    seeds = (
        suite(
            entry("flat", 0.4, limits, target("success", 1.0, 0.5, True),
                  target("torque_mean", 1.25, 1.0, True)),
            entry("shown", None, {}),
            entry("late", 0.4, {}, target("success", 0.75, 0.45, True)),
        ),
        suite(
            entry("flat", 0.4, limits, target("success", 1.0, 0.5, True),
                  target("torque_mean", 2.5, 2.25, False)),
            entry("shown", None, {}),
            entry("late", 0.4, {}),
        ),
    )  # fmt: skip
    paths = [tmp_path / f"suite{seed}.json" for seed in range(2)]
    for path, content in zip(paths, seeds, strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_a_table_has_a_row_for_each_target(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool.main, [*map(str, files), "--names", "seed 0", "seed 1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| scenario | target | seed 0 | seed 1 | verdict |",
        "| --- | --- | --- | --- | --- |",
        "| flat | success > 0.4 | 100.0% [50.0%, 100.0%] | 100.0% [50.0%, 100.0%] | 2 of 2 |",
        "| flat | torque_mean <= 2.5 N m | 1.25 [1, 1.5] | 2.5 [2.25, 2.75] | **1 of 2** |",
        "| late | success > 0.4 | 75.0% [45.0%, 95.0%] | not run | **1 of 2** |",
        "| worst | 1 of 2 pass | 2 | 2 | 2 of 2 |",
    ]


def test_of_one_file_the_verdict_is_a_word(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tool.main, [str(files[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| scenario | target | p | verdict |"
    assert [line.rsplit(" | ", 1)[1] for line in lines[2:]] == [
        "pass |", "**FAIL** |", "**FAIL** |", "pass |",
    ]  # fmt: skip


def test_a_page_keeps_its_other_text(files: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Mine\n<!-- begin table: seeds -->\nold\n<!-- end table: seeds -->\nprose\n")
    options = [*map(str, files), "--page", str(page), "--name", "seeds"]
    assert run(tool.main, options) == 0
    text = page.read_text()
    assert text.startswith("# Mine\n") and text.endswith("<!-- end table: seeds -->\nprose\n")
    assert "| flat | success > 0.4 |" in text and "old" not in text
    assert run(tool.main, options) == 0 and page.read_text() == text


def test_bad_input_is_one_line(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(suite(entry("else", 0.4, {}))))
    broken = tmp_path / "broken.json"
    broken.write_text("[]")
    page = tmp_path / "page.md"
    page.write_text("no place\n")
    first = str(files[0])
    for words, message in (
        ([first, str(other)], "other targets"),
        ([str(broken)], "is no suite.json"),
        ([str(tmp_path / "none.json")], "none.json"),
        ([first, "--names", "a", "b"], "2 names, but there are 1 files"),
        ([first, "--page", str(page)], "--page and --name"),
        ([first, "--page", str(page), "--name", "seeds"], "'seeds' needs one place"),
    ):
        assert run(tool.main, words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert page.read_text() == "no place\n"
