"""Tests of wildrobot_torch/study/fitting.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.fitting import clock_seconds, fit_settings, require_free, run_part
from wildrobot_torch.study.history import Part, load_parts


def test_settings_are_those_the_command_line_reads(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: {num_envs: 7}\n")
    found = fit_settings(["--config", "mine.yaml", "--model.ppo.gamma", "0.9"], tmp_path)
    assert found["data"]["num_envs"] == 7
    assert found["model"]["ppo"]["gamma"] == 0.9
    assert found["data"]["env"]["ctrl_dt"] == 0.02


def test_an_unknown_option_is_named_in_one_line_with_what_may_be_meant() -> None:
    with pytest.raises(StudyError) as error:
        fit_settings(["--model.ppo.gama", "0.9"])
    text = str(error.value)
    assert "--model.ppo.gama" in text and "did you mean --model.ppo.gamma?" in text
    assert "\n" not in text and not text.startswith("error")


@pytest.mark.parametrize("words", [["--seed", "3"], ["--data.evaluation=quick"]])
def test_what_the_study_sets_may_not_be_given(words: list[str]) -> None:
    require_free(["--model.ppo.gamma", "0.9", "--run.env_steps", "9"])
    with pytest.raises(StudyError, match=r"set by this tool; use --(seeds|screening)"):
        require_free(words)


def test_clock_times_are_read() -> None:
    assert clock_seconds("00:00:08:30") == 510.0
    assert clock_seconds("01:01:00:00") == 90_000.0
    with pytest.raises(StudyError, match="DD:HH:MM:SS"):
        clock_seconds("8min")


def test_a_training_that_is_refused_leaves_its_code_and_words(tmp_path: Path) -> None:
    part = Part(tmp_path / "parts/000", 0, "quick", stops_when_passed=False)
    done = run_part(part, ["--data.evaluation", "nowhere"], lambda: False, every_s=0.2)
    assert done.code == 2 and done.wall_s > 0.0
    assert done.message.startswith("scenario 'nowhere' is unknown")
    assert load_parts(tmp_path / "parts") == [done]
