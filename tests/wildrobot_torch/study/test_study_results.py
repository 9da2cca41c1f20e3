"""Tests of wildrobot_torch/study/results.py."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from wildrobot_torch.evaluation.scenarios import Scenario
from wildrobot_torch.motion.metrics import Limit
from wildrobot_torch.study import StudyError
from wildrobot_torch.study.history import Part, load_history
from wildrobot_torch.study.results import (
    Result,
    flat,
    load_results,
    style_values,
    summary,
    training_values,
    writable,
)

WALK = Scenario(
    name="walk", commands=(0.3,), episodes=4, seconds=9.0, limits={"fall_rate": Limit(max=0.02)}
)


def test_the_course_of_a_training_in_numbers(
    write_part: Callable[..., Part], tmp_path: Path
) -> None:
    write_part(
        0,
        [(1200, 30.0, 30.0), (2400, 30.0, 30.0), (3600, 60.0, 0.0)],
        [(1200, 0.5, 0.1), (2400, 0.0, 0.1), (3600, 0.1, 0.1)],
        style=0.25,
    )
    found = training_values(load_history(tmp_path / "parts"), WALK)
    assert found == {
        "minutes": 3.0, "env_steps": 3600.0, "steps_per_s": 20.0, "walk_minutes": 2.0,
        "walk_steps": 2400.0, "style_reward": 0.25,
    }  # fmt: skip


def test_numbers_of_nested_results_get_dotted_names() -> None:
    tree = {"a": {"b": 1, "c": {"d": 0.5, "e": None}}, "text": "x", "list": [1], "yes": True}
    found = flat(tree)
    assert found.pop("a.c.e") != found["a.b"]
    assert found == {"a.b": 1.0, "a.c.d": 0.5, "yes": 1.0}


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    content = {
        "arm": "amp", "seed": 2, "options": ["--seed", "2"], "passed": True, "failure": "",
        "reference": "abc",
        "training": writable({"walk_minutes": math.inf, "auc": math.nan, "minutes": 4.0}),
        "walking": {"fall_rate": 0.01, "alternation": None},
        "style": {"distance": {"frechet": 1.5}},
    }  # fmt: skip
    (tmp_path / "amp-2.json").write_text(json.dumps(content, allow_nan=False))
    (result,) = load_results(tmp_path)
    assert (result.arm, result.seed, result.passed) == ("amp", 2, True)
    assert result.values["training.walk_minutes"] == math.inf
    assert math.isnan(result.values["training.auc"])
    assert math.isnan(result.values["walking.alternation"])
    assert result.values["style.distance.frechet"] == 1.5


def test_style_by_different_references_is_not_put_into_one_table(tmp_path: Path) -> None:
    for arm, reference in (("amp", "abc"), ("broken", ""), ("ppo", "abc")):
        content = {"arm": arm, "seed": 0, "options": [], "passed": True, "failure": ""}
        text = json.dumps({**content, "reference": reference})
        (tmp_path / f"{arm}-0.json").write_text(text)
    assert len(load_results(tmp_path)) == 3
    (tmp_path / "ppo-0.json").write_text(text.replace("abc", "def"))
    with pytest.raises(StudyError, match=r"different references in amp-0\.json, ppo-0\.json"):
        load_results(tmp_path)


def test_style_is_taken_from_its_report() -> None:
    comparison = {"values": {"frechet": 2.0}, "auc_spread": 0.1}
    report = {
        "scopes": {
            "held out": {"floor": {"values": {"frechet": 0.5}}, "columns": {"a.ckpt": comparison}}
        },
        "style_reward": {"a.ckpt": {"policy": {"mean": 0.4}, "held-out reference": {"mean": 0.7}}},
        "gait": {"a.ckpt": {"foot_slip": 0.05}},
    }
    assert flat(style_values(report, "a.ckpt")) == {
        "held_out.frechet": 2.0, "held_out_floor.frechet": 0.5, "reward.mean": 0.4,
        "reference_reward.mean": 0.7, "gait.foot_slip": 0.05,
    }  # fmt: skip
    with pytest.raises(StudyError, match=r"has no 'b\.ckpt' for policy"):
        style_values(report, "b.ckpt")


def test_seeds_are_summed_up_by_median_and_range() -> None:
    results = [
        Result("amp", seed, [], True, "", "", {"a": value})
        for seed, value in enumerate((3.0, 1.0, math.inf, math.nan))
    ]
    found = summary(results, "a")
    assert found is not None
    assert (found.median, found.lowest, found.highest, found.known) == (3.0, 1.0, math.inf, 3)
    assert summary(results, "b") is None
    two = summary(results[:2], "a")
    assert two is not None and two.median == pytest.approx(2.0)
