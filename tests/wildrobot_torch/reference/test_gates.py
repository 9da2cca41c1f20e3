"""Gates refuse what they should, for the reason they give, and fail closed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from wildrobot_torch.reference.gates import Gate, GateError, judge, load_gates
from wildrobot_torch.reference.metrics import measure

GATES = Path(__file__).parents[3] / "configs" / "gates.yaml"
LOAD = "{name: load, metric: load_mean, min: 0.85, unit: m g, meaning: carries itself}"


@pytest.fixture
def shipped():
    return load_gates(GATES)


@pytest.fixture
def verdict(walking, toy_robot, shipped):
    """Judge the perfect walk with some recorded quantities replaced."""
    return lambda **replaced: judge(measure(walking(**replaced), toy_robot), shipped)


def walk_with_double_support() -> torch.Tensor:
    """Foot forces of a walk: each foot 10 frames alone, then 2 frames both; 30 N in all."""
    left, right, both = [30.0, 0.0], [0.0, 30.0], [15.0, 15.0]
    stride = [left] * 10 + [both] * 2 + [right] * 10 + [both] * 2
    return torch.tensor((stride * 5)[:100])


def test_an_honest_walk_passes(verdict):
    result = verdict(foot_force=walk_with_double_support())
    assert result.accepted, result.reasons


def test_a_hanging_robot_is_rejected_for_load_and_harness(verdict):
    # The harness carries 80 %, the feet touch lightly; alternation and heading look perfect.
    hanging = verdict(
        foot_force=0.2 * walk_with_double_support(),
        harness_force=torch.tensor([0.0, 0.0, 24.0]).expand(100, 3),
    )
    assert {"load", "load_low", "unloaded", "harness_force", "harness_force_peak"} <= set(
        hanging.failed
    )
    assert "load: load_mean 0.2 < 0.85 m g" in hanging.reasons


def test_a_robot_balanced_by_torque_is_rejected(verdict):
    torque = torch.tensor([0.0, 5.0, 0.0]).expand(100, 3)  # of 30 N * 0.25 m
    held = verdict(foot_force=walk_with_double_support(), harness_torque=torque)
    assert held.failed == ("harness_torque",)


def test_walking_backwards_is_rejected(verdict):
    back = verdict(
        foot_force=walk_with_double_support(),
        root_linvel_h=torch.tensor([-0.13, 0.0, 0.0]).expand(100, 3),
    )
    assert {"forward", "heading"} <= set(back.failed)


def test_hopping_on_one_leg_is_rejected(verdict):
    force = torch.tensor([[30.0, 0.0], [15.0, 15.0]]).repeat_interleave(10, 0).repeat(5, 1)
    assert "alternation" in verdict(foot_force=force).failed


@pytest.mark.parametrize(
    ("gate", "replaced"),
    [
        ("pitch", {"pitch": torch.full((100,), math.radians(-26))}),
        ("roll", {"roll": torch.full((100,), math.radians(26))}),
        ("slip", {"foot_linvel_w": torch.full((100, 2, 3), 0.2)}),
        ("turning", {"yaw_rate": torch.tensor([1.0, -1.0]).repeat(50)}),
        ("joint_stop", {"joint_pos": torch.ones(100, 2), "joint_target": torch.ones(100, 2)}),
        ("penetration", {"sole_height": torch.full((100, 2), -0.02)}),
        ("feet_apart", {"foot_pos_w": torch.zeros(100, 2, 3)}),
        ("flight", {"foot_force": torch.zeros(100, 2)}),
    ],
)
def test_each_fault_meets_its_gate(verdict, gate, replaced):
    result = verdict(**({"foot_force": walk_with_double_support()} | replaced))
    assert gate in result.failed


def test_a_number_that_is_not_finite_rejects(verdict):
    pitch = torch.zeros(100)
    pitch[3] = math.nan
    result = verdict(foot_force=walk_with_double_support(), pitch=pitch)
    assert not result.accepted
    assert "load: load_mean is not measured (nan)" in result.reasons


def test_a_metric_that_is_missing_rejects():
    gate = Gate(name="load", metric="load_mean", min=0.85, unit="m g", meaning="")
    assert judge({}, [gate]).failed == ("load",)
    assert judge({"load_mean": 0.85}, [gate]).accepted


def test_nothing_is_accepted_without_gates():
    with pytest.raises(GateError, match="no gates"):
        judge({"load_mean": 1.0}, [])


def test_bounds_on_both_sides():
    gate = Gate(name="g", metric="travel_ratio", min=0.8, max=1.2, unit="1", meaning="")
    verdicts = [judge({"travel_ratio": v}, [gate]).accepted for v in (0.79, 0.8, 1.2, 1.21)]
    assert verdicts == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- " + LOAD.replace("load_mean", "load_meen"), "unknown metric 'load_meen'"),
        ("- " + LOAD.replace("min:", "minimum:"), r"unknown keys \['minimum'\]"),
        ("- " + LOAD.replace("meaning: carries itself", "why: x"), r"missing keys \['meaning'\]"),
        ("- " + LOAD.replace("min: 0.85, ", ""), "give min, max or both"),
        ("- " + LOAD.replace("0.85", "much"), "min 'much' is not a finite number"),
        ("- " + LOAD.replace("0.85", ".nan"), "is not a finite number"),
        ("- " + LOAD.replace("0.85", "0.9, max: 0.1"), "min 0.9 exceeds max 0.1"),
        ("- " + LOAD.replace("m g", "N"), "load_mean is in 'm g', the gate says 'N'"),
        ("- " + LOAD.replace("unit", "scope: stride, unit"), "scope 'stride' is not one of"),
        (f"- {LOAD}\n- {LOAD}", "names repeat"),
        ("- load", "expected keys and values"),
        ("load: 1", "expected a list"),
        ("", "expected a list"),
        ("- {", "cannot be read"),
    ],
)
def test_a_faulty_gate_file_is_refused(tmp_path, text, complaint):
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(GateError, match=complaint) as error:
        load_gates(path)
    assert "\n" not in str(error.value)


def test_a_missing_gate_file_is_refused(tmp_path):
    with pytest.raises(GateError, match="cannot be read"):
        load_gates(tmp_path / "none.yaml")
