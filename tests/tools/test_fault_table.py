"""Tests of tools/fault_table.py, and the safety layer over a policy that walks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import fault_table as tool
from wildrobot_torch.cli.main import run
from wildrobot_torch.deploy.runtime.drill import DRILLS


def test_tables_are_written_between_their_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    markers = [f"<!-- {edge} table: {name} -->" for name in ("rules", "drills")
               for edge in ("begin", "end")]  # fmt: skip
    page.write_text("\n".join(["before", *markers, "after"]) + "\n")
    assert run(tool.main, ["--drills", "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n")
    assert all(f"| {drill.name} |" in text for drill in DRILLS)
    assert "| `tilted` |" in text and "tilt_deg 60" in text


@pytest.mark.parametrize(
    ("fault", "response", "rule"),
    [
        ("push:x@0+0.15=100", "released", "falling"),
        ("silent:left_knee_pitch@0+0.1", "survived", ""),
    ],
)
def test_a_walking_robot(fault: str, response: str, rule: str) -> None:
    followed = tool.follow(tool.Injected("", fault, response))
    assert (followed.response, followed.rule, followed.upright) == (response, rule, True)
