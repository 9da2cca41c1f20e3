"""Tests of wildrobot_torch/study/training_log.py."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.training_log import read_log

HEAD = "Evaluation/fall_rate,Evaluation/alternation,Perf/collection_time,Perf/learning_time,step\n"


def test_rows_of_the_same_steps_are_one_and_cells_that_are_empty_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEAD + ",,1.5,0.5,100\n,,2.0,0.25,200\n0.5,nan,,,200\n")
    first, second = read_log(path)
    assert (first.env_steps, first.seconds, first.evaluation) == (100, 2.0, None)
    assert second.seconds == 2.25
    assert second.evaluation is not None and second.evaluation["fall_rate"] == 0.5
    assert math.isnan(second.evaluation["alternation"])


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEAD + ",,1.5,0.5,100\n,,2.0,0.2")
    assert [row.env_steps for row in read_log(path)] == [100]
    assert read_log(tmp_path / "none.csv") == []


@pytest.mark.parametrize("line", [",,many,0.5,100\n", ",,1.0,0.5,\n"])
def test_what_is_no_number_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEAD + ",,1.5,0.5,100\n" + line)
    with pytest.raises(StudyError, match="line 3"):
        read_log(path)
