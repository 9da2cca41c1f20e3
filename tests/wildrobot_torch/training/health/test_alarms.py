"""Silent on a run that went well, heard on each made-up fault."""

from __future__ import annotations

import csv
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.config import PPOConfig
from wildrobot_torch.training.data import RolloutData
from wildrobot_torch.training.health.alarms import Rule, rules

ROOT = Path(__file__).parents[4]
RECORDED = ROOT / "tests" / "data" / "default_run.csv"
"""Metrics of a training by `wildrobot fit --config walking_amp --run.env_steps 5898240` that ended
in a good walk: the columns that rules read, to three digits."""

# Another good one: reference inside the commanded speeds, style and accuracy at 2, 3.4, 4.9, 5.9 M
# steps, a discriminator that is always right and a style reward that holds.
PROBE = (0.40, 1.00, 0.09), (0.39, 1.00, 0.04), (0.39, 1.00, 0.02), (0.38, 0.99, 0.01)


def _healthy() -> list[dict[str, float]]:
    with RECORDED.open() as file:
        # No episode has ended in the first iterations, so their rate of falls is empty.
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def _sounding(history: list[dict[str, float]], amp: AMPConfig | None = None) -> set[str]:
    """Names of the rules that sound at some tenth iteration of a history."""
    return {
        rule.name
        for rule in rules(PPOConfig(), amp or AMPConfig())
        for end in range(10, len(history) + 1, 10)
        if rule.warning(history[:end], end) is not None
    }


def test_a_good_run_is_silent():
    assert _sounding(_healthy()) == set()


def test_a_discriminator_that_is_always_right_is_no_fault():
    history = _healthy()
    for style, accuracy, falls in PROBE:
        after = {"AMP/style_reward": style, "AMP/accuracy": accuracy, "AMP/auc": accuracy}
        history += [history[-1] | after | {"Metrics/fall_rate": falls}] * 60
    assert _sounding(history) == set()


DEFAULT = rules(PPOConfig(), AMPConfig())

FAULTS: dict[str, dict[str, float]] = {
    "style reward constant": {"AMP/style_reward_std": 0.001},
    # as measured where commands left the reference's speeds
    "style reward faint": {"AMP/style_reward": 0.03},
    "discriminator blind": {"AMP/auc": 0.51, "AMP/auc_held_out": 0.5},
    "logits squeezed": {"AMP/logit_real": 0.03, "AMP/logit_fake": -0.02},
    "gradient penalty dominates": {"AMP/penalty": 2.0},
    "discriminator overfits": {"AMP/auc": 0.99, "AMP/auc_held_out": 0.6},
    "one feature gives the policy away": {"AMP/separation/joint_pos": 9.0},
    "near-constant features": {"AMP/near_constant": 2.0},
    "little reference motion": {"AMP/distinct_reference": 0.05},
    "policy motion uniform": {"AMP/diversity_fake": 0.5},
    "style never starts": {"AMP/weight": 0.0},
    "style ignored": {"AMP/weight": 0.02},
    "KL divergence far beyond its target": {"Loss/kl": 0.5},
    "policy noise collapsing": {"Policy/mean_std": 0.01},
    "policy noise exploding": {"Policy/mean_std": 1.4},
    "gradients exploding": {"Gradient/policy": 500.0},
    "learning rate at its floor": {"Loss/learning_rate": 1e-5},
    "learning rate at its ceiling": {"Loss/learning_rate": 2e-3},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_heard(name: str):
    history = [metrics | FAULTS[name] for metrics in _healthy()]
    assert _sounding(history) == {name}


def test_falls_that_rise_with_the_style_weight_are_heard():
    history = _healthy()
    for step in range(40):
        falls = {"Metrics/fall_rate": 0.08 + 0.01 * step}
        history.append(history[-1] | falls | {"AMP/weight": 0.3 + 0.01 * step})
    assert _sounding(history) == {"style drowns the task"}
    # Falls alone, or a weight alone, are something else.
    for name, value in (("AMP/weight", 0.3), ("Metrics/fall_rate", 0.08)):
        assert _sounding([metrics | {name: value} for metrics in history]) == set()


def test_a_gate_that_stays_shut_is_heard():
    gated = AMPConfig(ramp_gate=(0.6, 0.85), ramp_end=1_000_000)
    history = [metrics | {"AMP/weight": 0.3, "AMP/auc_held_out": 0.99} for metrics in _healthy()]
    assert _sounding(history, gated) == {"gate shut"}
    assert _sounding(history) == set()  # of any other schedule
    for other in ({"AMP/weight": 1.0}, {"AMP/auc_held_out": 0.8}):
        assert "gate shut" not in _sounding([metrics | other for metrics in history], gated)
    growing = [m | {"AMP/weight": 0.3 + 0.001 * i} for i, m in enumerate(history)]
    assert "gate shut" not in _sounding(growing, gated)


def test_every_rule_is_tried():
    assert {rule.name for rule in DEFAULT} == set(FAULTS) | {"style drowns the task"}


def _rule(name: str) -> Rule:
    return next(rule for rule in DEFAULT if rule.name == name)


def test_a_warning_names_value_beginning_and_remedy():
    rule = _rule("style reward constant")
    history = [{"AMP/style_reward_std": 0.5}] * 5 + [{"AMP/style_reward_std": 0.004}] * 20
    assert rule.warning(history[:-1], 24) is None
    line = rule.warning(history, 25)
    assert line == (
        "style reward constant: `AMP/style_reward_std` is 0.004 (< 0.01 since iteration 6); "
        + rule.remedy
    )
    assert rule.warning([*history, {"AMP/style_reward_std": 0.5}], 26) is None
    # A metric that is not there says nothing.
    assert rule.warning([{}] * 50, 50) is None


def test_limits_follow_the_settings():
    slow = rules(PPOConfig(kl_high=0.2, kl_max=1.0), None)
    history = [{"Loss/kl": 0.5}] * 5
    assert all(rule.warning(history, 5) is None for rule in slow)
    assert not any("AMP" in rule.when[0].text for rule in slow)
    constant = {rule.name for rule in rules(PPOConfig(learning_rate_factor=1.0), None)}
    assert not any(name.startswith("learning rate") for name in constant)


def test_remedies_name_settings_that_exist():
    known = {
        "ppo": {field.name for field in fields(PPOConfig)},
        "data": set(inspect.signature(RolloutData).parameters),
        "amp": {field.name for field in fields(AMPConfig)},
    }
    named = set(re.findall(r"\b(ppo|amp|data)\.(\w+)", " ".join(rule.remedy for rule in DEFAULT)))
    assert named and sorted(pair for pair in named if pair[1] not in known[pair[0]]) == []


@pytest.mark.parametrize("rule", DEFAULT, ids=lambda rule: rule.name)
def test_the_documentation_has_the_rule(rule: Rule):
    symptom = " and ".join(f"{c.text} {c.sign} {c.limit:.3g}" for c in rule.when)
    begin = f"| {rule.name} | {symptom}, {rule.iterations} iterations long | "
    rows = (ROOT / "docs" / "alarms.md").read_text().splitlines()
    (row,) = [row for row in rows if row.startswith(begin)]
    assert row.endswith(f" | {rule.remedy} |")
