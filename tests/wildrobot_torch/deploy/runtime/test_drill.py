"""Every fault is answered in time and nothing unsafe is sent; without its rule it is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from wildrobot_torch.deploy.runtime import rules
from wildrobot_torch.deploy.runtime.drill import DRILLS, Drill, judge, run

OFF: dict[str, Callable[..., Any]] = {
    "within_range": lambda targets, low, high: targets,
    "within_rate": lambda targets, last, step: targets,
    "within_torque": lambda targets, joint_pos, reach: targets,
    "fastest": lambda limits: np.inf,
    "share_when_hot": lambda temperature, limits: np.ones_like(temperature),
    "no_number": lambda values: np.zeros(len(values), dtype=bool),
    "jumped": lambda moved, elapsed, limits: np.zeros(len(moved), dtype=bool),
    "joints_frozen": lambda same_for, strayed, limits: np.zeros(len(strayed), dtype=bool),
}
"""What rules that do not say yes or no allow when they allow everything."""
RULES = [
    name
    for name, function in vars(rules).items()
    if inspect.isfunction(function) and function.__module__ == rules.__name__
]


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.name)
def test_the_answer_to(drill: Drill) -> None:
    judge(drill, run(drill))


@pytest.mark.parametrize("rule", RULES)
def test_without_its_rule_a_fault_goes_unanswered(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule == "tilt_rate":  # it has no limit: `falling` is its rule
        monkeypatch.setattr(rules, rule, lambda gravity, angvel: 0.0)
        drills = [drill for drill in DRILLS if drill.rule == "falling"]
    else:
        monkeypatch.setattr(rules, rule, OFF.get(rule, lambda *_: False))
        drills = [drill for drill in DRILLS if drill.rule == rule]
    assert drills, f"no drill for {rule}"
    missed = 0
    for drill in drills:
        try:
            judge(drill, run(drill))
        except (AssertionError, ValueError, TypeError):  # numpy refuses what are no targets
            missed += 1
    assert missed, f"{rule} can be switched off, and nothing is noticed"
