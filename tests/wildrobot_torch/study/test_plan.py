"""Tests of wildrobot_torch/study/plan.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from wildrobot_torch.cli.fit import read_options
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
        {"name": "short", "about": "less discount", "options": "--model.ppo.gamma 0.9", "every": 7},
    ],
    "tables": [{"name": "discount", "arms": ["plain", "short"]}],
    "columns": [{"heading": "falls", "value": "walking.fall_rate", "format": ".1%"}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    content = {key: value for key, value in (PLAIN | changes).items() if value is not ...}
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_arm_has_the_shared_options_then_its_own_then_the_studys(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    words = study.fit_options(study.arm("short"), 5)
    assert words == [
        "--data.num_envs", "8", "--model.ppo.gamma", "0.9", "--seed", "5",
        "--data.evaluation", "walking", "--data.iterations_per_epoch", "7",
    ]  # fmt: skip
    settings = read_options(words)
    assert (settings["data"]["num_envs"], settings["model"]["ppo"]["gamma"]) == (8, 0.9)


def test_the_digest_covers_all_that_results_depend_on(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    plain, other = (read_options(study.fit_options(arm, 4)) for arm in study.arms)
    digest = study.recipe(other)
    assert study.recipe(plain) != digest
    assert study.recipe(read_options(study.fit_options(study.arms[1], 5))) == digest
    assert replace(study, style="--reference s.npz").recipe(other) != digest
    assert replace(study, env_steps=9001).recipe(other) != digest
    other["data"]["num_threads"] = 7
    assert study.recipe(other) == digest
    other["model"]["ppo"]["gamma"] = 0.8  # as if a default had changed
    assert study.recipe(other) != digest
    other["run"]["stop_when_passed"] = True
    with pytest.raises(StudyError, match="equal budgets"):
        study.recipe(other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sedes": [1]}, "unknown key 'sedes'"),
        ({"every": ...}, "key 'every' is missing"),
        ({"every": "often"}, "every"),
        ({"every": 0}, "every"),
        ({"seeds": [1, 1]}, "name each once"),
        ({"seeds": 3}, "seeds"),
        ({"arms": [], "tables": []}, "name each once"),
        ({"arms": [{"name": "a"}]}, "about"),
        ({"arms": PLAIN["arms"] * 2}, "arms are plain, short, plain, short; name each once"),
        ({"tables": [{"name": "t", "arms": ["other"]}]}, "no arm 'other'; allowed: plain, short"),
        ({"needs": ["a.npz"]}, "needs"),
    ],
)
def test_a_bad_study_is_refused_in_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as error:
        load_study(write(tmp_path, **changes))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_arm_may_not_set_what_the_study_sets(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, options="--run.env_steps 9"))
    with pytest.raises(
        StudyError, match=r"--run.env_steps is set by this tool; use that of the study"
    ):
        study.fit_options(study.arms[0], 4)
