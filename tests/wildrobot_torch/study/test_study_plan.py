"""Tests of wildrobot_torch/study/plan.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from wildrobot_torch.study import StudyError
from wildrobot_torch.study.plan import load_study

PLAIN: dict[str, Any] = {
    "options": "--data.num_envs 8",
    "seeds": [4, 5],
    "env_steps": 9000,
    "every": 3,
    "style": "--reference r.npz",
    "page": "docs/mine.md",
    "results": "docs/mine",
    "arms": [
        {"name": "plain", "about": "as it is"},
        {"name": "short_sighted", "about": "less discount", "options": "--model.ppo.gamma 0.9"},
    ],
    "tables": [{"name": "discount", "arms": ["plain", "short_sighted"]}],
    "columns": [{"heading": "falls", "value": "walking.fall_rate", "format": ".1%"}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    content = {key: value for key, value in (PLAIN | changes).items() if value is not ...}
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_arm_is_the_shared_options_then_its_own_then_the_budget(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    assert (study.name, study.seeds) == ("mine", (4, 5))
    (arm,) = study.chosen(("short_sighted",))
    assert study.training_arguments(arm, 5) == [
        "--data.num_envs", "8", "--model.ppo.gamma", "0.9", "--seed", "5",
        "--run.env_steps", "9000", "--data.evaluation", "walking",
        "--data.iterations_per_epoch", "3",
    ]  # fmt: skip
    settings = study.settings(arm)
    assert (settings["data"]["num_envs"], settings["model"]["ppo"]["gamma"]) == (8, 0.9)
    plain, other = (study.recipe(study.settings(arm)) for arm in study.arms)
    assert plain != other and plain == study.recipe(study.settings(study.arms[0]))
    assert replace(study, style="--reference s.npz").recipe(settings) != other
    settings["data"]["num_threads"] = 7
    assert study.recipe(settings) == other
    settings["model"]["ppo"]["learning_rate_max"] *= 2  # as if its default had changed
    assert study.recipe(settings) != other
    assert [arm.name for arm in study.chosen(())] == ["plain", "short_sighted"]


def test_an_arm_that_evaluations_change_says_how_often_it_is_evaluated(tmp_path: Path) -> None:
    arms = [{**PLAIN["arms"][0], "every": 7}, PLAIN["arms"][1]]
    study = load_study(write(tmp_path, arms=arms))
    epochs = [study.settings(arm)["data"]["iterations_per_epoch"] for arm in study.arms]
    assert epochs == [7, 3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sedes": [1]}, "unknown key(s) sedes in the study"),
        ({"every": ...}, "key(s) every missing in the study"),
        ({"every": "often"}, "every in the study is 'often'; it must be a whole number"),
        ({"every": 0}, "every must be positive"),
        ({"seeds": [1, 1]}, "name each once"),
        ({"seeds": 3}, "seeds in the study is 3; it must be a list"),
        ({"arms": []}, "arms must be a list with at least one entry"),
        ({"arms": [{"name": "a"}]}, "key(s) about missing in arms[0]"),
        (
            {"arms": [*PLAIN["arms"], {**PLAIN["arms"][0], "name": "odd", "every": -1}]},
            "of arm 'odd' is -1",
        ),
        ({"arms": PLAIN["arms"] * 2}, "arms of one name: plain, short_sighted"),
        ({"tables": [{"name": "t", "arms": ["other"]}]}, "no arm 'other'; allowed: plain, short"),
        ({"needs": ["a.npz"]}, "needs must map files to commands"),
    ],
)
def test_what_no_study_can_say_is_refused_in_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as error:
        load_study(write(tmp_path, **changes))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--model.ppo.gama 0.9", "did you mean --model.ppo.gamma?"),
        ("--run.env_steps 9", "--run.env_steps is set by this tool; use the study's env_steps"),
        ("--config OVERLAY", "an overlay sets trainer.max_time or run.stop_when_passed"),
        ("--a 'b", "No closing quotation"),
    ],
)
def test_an_arm_the_command_line_refuses_is_named(options: str, words: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("trainer: {max_time: '00:00:14:00'}")
    options = options.replace("OVERLAY", str(overlay))
    arms = [{"name": "odd", "about": "odd", "options": options}]
    path = write(tmp_path, arms=arms, tables=[{"name": "t", "arms": ["odd"]}])
    study = load_study(path)
    with pytest.raises(StudyError, match="arm 'odd' of study 'mine'") as error:
        study.settings(study.arms[0])
    assert words in str(error.value) and "\n" not in str(error.value)
