"""Tests of wildrobot_torch/evaluation/report.py and plots.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.task.terminations import ENDS
from wildrobot_torch.evaluation import EvaluationResult, Scenario
from wildrobot_torch.evaluation.report import as_dict, markdown, number, write_report
from wildrobot_torch.motion.metrics import EPISODE_METRICS, Limit

ABOUT = {"file": "walk.ckpt", "env_steps": 12345}


@pytest.fixture
def make_result(
    robot: RobotSpec, walking: Callable[..., Recording]
) -> Callable[..., EvaluationResult]:
    """Maker of the evaluation of a perfect walk; keywords replace recorded quantities."""

    def make(**replaced: torch.Tensor) -> EvaluationResult:
        recording = walking((0.1, 0.3), **replaced)
        scenario = Scenario(
            name="drawn",
            commands=(0.1, 0.3),
            episodes=2,
            seconds=10.0,
            limits={"fall_rate": Limit(max=0.03), "alternation": Limit(min=0.9)},
        )
        return EvaluationResult.of(recording, scenario, robot)

    return make


def read(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_report_holds_numbers_verdicts_and_environment(
    tmp_path: Path, robot: RobotSpec, make_result: Callable[..., EvaluationResult]
) -> None:
    ends = torch.tensor([ENDS.index("pitch"), ENDS.index("time")])
    written = write_report(make_result(end_cause=ends), robot, tmp_path / "new", ABOUT, "native")
    assert all(path.is_file() for path in written)
    report = read(tmp_path / "new" / "report.json")
    assert report["passed"] is True
    assert report["policy"] == ABOUT
    assert set(report["metrics"]) == set(EPISODE_METRICS)
    assert report["metrics"]["alternation"] == {"value": 1.0, "unit": "1"}
    assert report["verdicts"][1]["limit"] == ">= 0.9"
    assert [row["command"] for row in report["per_command"]] == [0.1, 0.3]
    assert report["environment"]["robot_digest"] == robot.digest
    assert report["scenario"]["seed"] == 0
    assert {cause: n for cause, n in report["ends"].items() if n} == {"pitch": 1, "time": 1}
    page = (tmp_path / "new" / "report.md").read_text()
    for picture in ("velocity", "contacts"):
        assert f"(plots/{picture}.png)" in page


def test_an_undefined_metric_is_null_and_fails(
    robot: RobotSpec, make_result: Callable[..., EvaluationResult]
) -> None:
    standing = make_result(foot_force=torch.full((500, 2, 2), robot.weight / 2))
    report = as_dict(standing, robot, ABOUT, "native")
    assert report["passed"] is False
    assert report["metrics"]["alternation"]["value"] is None
    json.dumps(report, allow_nan=False)
    page = markdown(standing, robot, ABOUT, "native")
    assert "**Failed**" in page
    assert "| alternation | - | 1 | >= 0.9 | FAIL |" in page


def test_every_table_row_of_the_page_has_its_tables_columns(
    robot: RobotSpec, make_result: Callable[..., EvaluationResult]
) -> None:
    page = markdown(make_result(), robot, ABOUT, "native").rstrip().replace("\\|", "")
    tables = [block for block in page.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_plots_show_something_also_of_an_early_fall(
    tmp_path: Path, robot: RobotSpec, make_result: Callable[..., EvaluationResult]
) -> None:
    valid = torch.ones(500, 2, dtype=torch.bool)
    valid[40:] = False
    fallen = make_result(valid=valid, terminated=torch.tensor([True, True]))
    for path in write_report(fallen, robot, tmp_path, ABOUT, "native")[2:]:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape[1] >= 800
        assert (pixels < 200).any()


def test_numbers_in_tables() -> None:
    assert number(0.123456) == "0.1235"
    assert number(float("nan")) == "-"
