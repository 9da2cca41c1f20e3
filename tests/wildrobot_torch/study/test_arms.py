"""Tests of wildrobot_torch/study/arms.py and tables.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.arms import (
    Result,
    load_results,
    style_values,
    suite_values,
    training_values,
)
from wildrobot_torch.study.plan import Arm, Column, Study, Table
from wildrobot_torch.study.tables import filled, table_text, write_tables
from wildrobot_torch.study.training import Part, load_history

ROOT = Path(__file__).resolve().parents[3]
STUDY = Study(
    options="",
    seeds=(0, 1, 2),
    env_steps=9,
    every=1,
    style="",
    page="page.md",
    results="results",
    arms=(
        Arm(name="ppo", about="PPO alone"),
        Arm(name="amp", about="a prior", options="--a|b 1"),
        Arm(name="none", about="later"),
    ),
    tables=(Table(name="prior", arms=("ppo", "amp", "none")),),
    columns=(
        Column(heading="falls", value="walking.fall_rate", format=".1%", floor="style.floor.falls"),
        Column(heading="to WALK", value="training.walk_minutes", format=".1f"),
    ),
)


def result(arm: str, seed: int, falls: float, minutes: float, failure: str = "") -> Result:
    values = {"walking.fall_rate": falls, "training.walk_minutes": minutes}
    return Result(arm, seed, falls < 0.02, failure, "", {} if failure else values)


RESULTS = [
    result("ppo", 0, 0.01, 4.0),
    result("ppo", 1, 0.03, 2.0),
    result("ppo", 2, 0.0, math.inf),
    result("amp", 0, 0.0, 3.0),
    result("amp", 1, 1.0, 0.0, failure="the loss is nan"),
]


def test_the_course_of_a_training_in_numbers(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(
        [(1200, 30.0, 30.0), (2400, 30.0, 30.0), (3600, 60.0, 0.0)],
        [(1200, 0.5, 0.1), (2400, 0.0, 0.1), (3600, 0.1, 0.1)],
    )
    found = training_values(load_history(tmp_path / "parts"), {"fall_rate": Limit(max=0.02)})
    assert found == {
        "minutes": 3.0, "env_steps": 3600.0, "walk_minutes": 2.0, "walk_steps": 2400.0,
    }  # fmt: skip


def test_results_of_the_repository_are_read() -> None:
    results = load_results(ROOT / "docs/amp_study")
    assert {(r.arm, r.seed) for r in results} >= {("amp", seed) for seed in range(3)}
    assert all(0.0 <= r.values["walking.fall_rate"] <= 1.0 for r in results)


def test_undefined_and_infinite_numbers_survive(tmp_path: Path) -> None:
    content = {
        "arm": "amp", "seed": 2, "passed": True, "failure": "", "reference": "abc",
        "training": {"walk_minutes": "never", "auc": None, "minutes": 4.0},
        "style": {"held_out": {"frechet": 1.5}, "note": "text"},
    }  # fmt: skip
    (tmp_path / "amp-2.json").write_text(json.dumps(content))
    (found,) = load_results(tmp_path)
    assert found.values["training.walk_minutes"] == math.inf
    assert math.isnan(found.values["training.auc"])
    assert found.values["style.held_out.frechet"] == 1.5


def test_style_by_different_references_is_not_put_into_one_table(tmp_path: Path) -> None:
    for arm, reference in (("amp", "abc"), ("broken", ""), ("ppo", "def")):
        content = {"arm": arm, "seed": 0, "passed": True, "failure": "", "reference": reference}
        (tmp_path / f"{arm}-0.json").write_text(json.dumps(content))
    with pytest.raises(StudyError, match=r"different references in amp-0\.json, ppo-0\.json"):
        load_results(tmp_path)
    (tmp_path / "ppo-0.json").write_text("{}")
    with pytest.raises(StudyError, match="not the result of a training"):
        load_results(tmp_path)


def test_style_is_taken_from_its_report() -> None:
    report = {
        "scopes": {
            "held out": {
                "noise_floor": {"frechet": 0.5},
                "columns": {"a.ckpt": {"frechet": 2.0}},
            }
        },
        "style_reward": {"a.ckpt": {"policy": {"mean": 0.4}, "held-out reference": {"mean": 0.7}}},
        "gait": {"a.ckpt": {"foot_slip": 0.05}},
    }
    assert style_values(report, "a.ckpt") == {
        "held_out": {"frechet": 2.0}, "held_out_floor": {"frechet": 0.5}, "reward": {"mean": 0.4},
        "reference_reward": {"mean": 0.7}, "gait": {"foot_slip": 0.05},
    }  # fmt: skip


def test_a_suite_counts_entries_whose_targets_are_all_met() -> None:
    def entry(name: str, success: float, *passed: bool) -> dict[str, object]:
        column = {
            "success": {"value": success},
            "means": {"torque_rms": {"value": 1.5}},
            "targets": [{"passed": each} for each in passed],
        }
        return {"name": name, "columns": {"last": column, "home hold": {}}}

    lacking = {"name": "turning", "columns": {"home hold": {}}}
    report = {
        "columns": ["last", "home hold"],
        "entries": [
            entry("flat", 1.0, True, False), entry("late 0.5", 0.9, True), entry("open", 0.2),
            lacking,
        ],
    }  # fmt: skip
    assert suite_values(report) == {
        "flat": {"success": 1.0, "torque_rms": 1.5},
        "late 0.5": {"success": 0.9, "torque_rms": 1.5},
        "open": {"success": 0.2, "torque_rms": 1.5},
        "met": 0.5,
    }


def test_a_table_has_medians_ranges_the_command_and_what_is_missing() -> None:
    lines = table_text(STUDY, STUDY.tables[0], RESULTS, "mine.yaml").splitlines()
    assert lines[0] == "    python tools/study.py mine.yaml --only ppo --only amp --only none"
    assert lines[4:] == [
        "| PPO alone | 3 of 3 | 2 of 3 | 1.0% (0.0% to 3.0%) | 4.0 (2.0 to never) |",
        "| a prior (`--a\\|b 1`) | 2 of 3, 1 failed | 1 of 2 | 0.0% | 3.0 |",
        "",
        "Not measured: later.",
    ]
    floor = [replace(RESULTS[0], values={**RESULTS[0].values, "style.floor.falls": 0.125})]
    text = table_text(STUDY, STUDY.tables[0], floor, "mine.yaml")
    assert "\n| the reference against itself | - | - | 12.5% | - |\n" in text


def test_text_outside_the_markers_stays_and_tables_are_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    study = replace(STUDY, page=str(page))
    page.write_text("# Mine\n<!-- begin table: prior -->\nold\n<!-- end table: prior -->\nend\n")
    write_tables(study, RESULTS, "mine.yaml")
    once = page.read_text()
    assert once.startswith("# Mine\n<!-- begin table: prior -->\n\n    python tools/study.py")
    assert once.endswith("<!-- end table: prior -->\nend\n") and "old" not in once
    write_tables(study, RESULTS, "mine.yaml")
    assert page.read_text() == once


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing\n", "table 'prior' needs one place"),
        ("<!-- end table: prior -->\n<!-- begin table: prior -->\n", "table 'prior' needs one"),
        ("<!-- begin table: other -->\n", "place for table 'other'; the study has prior"),
    ],
)
def test_bad_places_are_named_and_the_page_stays(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=words):
        filled(text, {"prior": "| |"})
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(StudyError, match=r"page\.md"):
        write_tables(replace(STUDY, page=str(page)), [], "mine.yaml")
    assert page.read_text() == text
