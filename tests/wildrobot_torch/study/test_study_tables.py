"""Tests of wildrobot_torch/study/tables.py."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.plan import Arm, Column, Study, Table
from wildrobot_torch.study.results import Result
from wildrobot_torch.study.tables import filled, table_text, write_tables

STUDY = Study(
    name="mine",
    options="",
    seeds=(0, 1, 2),
    env_steps=9,
    every=1,
    style="",
    page="page.md",
    results="results",
    arms=(Arm(name="ppo", about="PPO alone"), Arm(name="amp", about="a prior", options="--a|b 1")),
    tables=(Table(name="prior", arms=("ppo", "amp")), Table(name="again", arms=("amp",))),
    columns=(
        Column(heading="falls", value="walking.fall_rate", format=".1%", floor="style.floor.falls"),
        Column(heading="to WALK", value="training.walk_minutes", format=".1f"),
    ),
)


def result(arm: str, seed: int, falls: float, minutes: float, failure: str = "") -> Result:
    values = {"walking.fall_rate": falls, "training.walk_minutes": minutes}
    return Result(arm, seed, [], falls < 0.02, failure, "", {} if failure else values)


RESULTS = [
    result("ppo", 0, 0.01, 4.0),
    result("ppo", 1, 0.03, 2.0),
    result("ppo", 2, 0.0, math.inf),
    result("amp", 0, 0.0, 3.0),
    result("amp", 1, 1.0, 0.0, failure="the loss is nan"),
]


def test_a_table_has_medians_and_ranges_and_the_command() -> None:
    text = table_text(STUDY, STUDY.tables[0], RESULTS, "mine.yaml")
    lines = text.splitlines()
    assert lines[0] == "    python tools/study.py mine.yaml --only ppo --only amp"
    assert lines[2:] == [
        "| arm | runs | pass `walking` | falls | to WALK |",
        "| --- | --- | --- | --- | --- |",
        "| PPO alone | 3 of 3 | 2 of 3 | 1.0% (0.0% to 3.0%) | 4.0 (2.0 to never) |",
        "| a prior (`--a\\|b 1`) | 2 of 3, 1 broke off | 1 of 2 | 0.0% | 3.0 |",
    ]
    RESULTS[0].values["style.floor.falls"] = 0.125
    text = table_text(STUDY, STUDY.tables[0], RESULTS, "mine.yaml")
    assert text.endswith("\n| the reference against itself | - | - | 12.5% | - |")
    del RESULTS[0].values["style.floor.falls"]
    assert "| PPO alone | 0 of 3 | - | - | - |" in table_text(STUDY, STUDY.tables[0], [], "m.yaml")


def test_text_outside_the_markers_stays_and_tables_are_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    place = "<!-- begin table: {0} -->\nold\n<!-- end table: {0} -->"
    page.write_text(f"# Mine\n\n{place.format('again')}\nprose\n{place.format('prior')}\nend\n")
    write_tables(STUDY, RESULTS, page, "mine.yaml")
    once = page.read_text()
    assert once.startswith("# Mine\n\n<!-- begin table: again -->\n\n    python tools/study.py")
    assert "<!-- end table: again -->\nprose\n<!-- begin table: prior -->" in once
    assert once.endswith("<!-- end table: prior -->\nend\n") and "old" not in once
    write_tables(STUDY, RESULTS, page, "mine.yaml")
    assert page.read_text() == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing\n", "table 'prior' needs one place"),
        ("<!-- end table: prior -->\n<!-- begin table: prior -->\n", "table 'prior' needs one"),
        ("<!-- begin table: other -->\n", "which the study does not have; it has prior"),
    ],
)
def test_places_that_do_not_fit_are_named_and_the_page_stays(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=words):
        filled(text, {"prior": "| |"})
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(StudyError, match=r"page\.md"):
        write_tables(STUDY, [], page, "mine.yaml")
    assert page.read_text() == text
    with pytest.raises(StudyError, match="no such file"):
        write_tables(STUDY, [], tmp_path / "none.md", "mine.yaml")
