"""Gates refuse what they should, for the reason they give, and fail closed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.errors import UserError
from envs.robot.spec import ServoSpec
from wildrobot_torch.motion.metrics import Limit, measure
from wildrobot_torch.reference.judge.gates import (
    TIERS,
    Gate,
    judge,
    load_gates,
    quality,
)

GATES = Path(__file__).parents[4] / "configs" / "gates.yaml"
LOAD = "{name: load, metric: load_mean, min: 0.85, unit: m g, meaning: carries itself}"


LOADED = Gate(name="load", metric="load_mean", min=0.85, unit="m g", meaning="carries itself")
HELD = Gate(
    name="held",
    metric="support_force_p95",
    unit="m g",
    meaning="hardly held",
    good=0.0,
    tiers={"0+": Limit(max=0.10), "0": Limit(max=0.25), "1": None},
)


def best_tier(metrics, gates):
    judged = [tier for tier in TIERS if any(gate.limit(tier) is not None for gate in gates)]
    return next((tier for tier in judged if judge(metrics, gates, tier).accepted), None)


@pytest.fixture
def shipped():
    """Those that judge walks."""
    return [gate for gate in load_gates(GATES) if gate.motion != "standing"]


@pytest.fixture
def verdict(walking, toy_robot, shipped):
    """Judge the perfect walk with some recorded quantities replaced."""
    return lambda **replaced: judge(measure(walking(**replaced), toy_robot), shipped, "0+")


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
        support_force=torch.tensor([0.0, 0.0, 24.0]).expand(100, 3),
    )
    assert {"load", "load_low", "unloaded", "harness_force", "harness_force_peak"} <= set(
        hanging.failed
    )
    assert "load: load_mean 0.2 < 0.85 m g" in hanging.reasons


def test_a_robot_balanced_by_torque_is_rejected(verdict):
    torque = torch.tensor([0.0, 5.0, 0.0]).expand(100, 3)  # of 30 N * 0.25 m
    held = verdict(foot_force=walk_with_double_support(), support_torque=torque)
    assert held.failed == ("harness_torque",)


def test_walking_backwards_is_rejected(verdict):
    back = verdict(
        foot_force=walk_with_double_support(),
        linvel_h=torch.tensor([-0.13, 0.0, 0.0]).expand(100, 3),
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
        ("slip", {"sole_linvel_w": torch.full((100, 2, 3), 0.2)}),
        ("turning", {"yaw_rate": torch.tensor([1.0, -1.0]).repeat(50)}),
        ("joint_stop", {"joint_pos": torch.ones(100, 2), "joint_target": torch.ones(100, 2)}),
        ("penetration", {"sole_height": torch.full((100, 2), -0.02)}),
        ("feet_apart", {"sole_pos_w": torch.zeros(100, 2, 3)}),
        ("flight", {"foot_force": torch.zeros(100, 2)}),
    ],
)
def test_each_fault_meets_its_gate(verdict, gate, replaced):
    result = verdict(**({"foot_force": walk_with_double_support()} | replaced))
    assert gate in result.failed


def test_standing_is_on_both_feet(walking, toy_robot):
    (still,) = [gate for gate in load_gates(GATES) if gate.motion == "standing"]
    both = torch.full((100, 2), 15.0)
    lifted = both.clone()
    lifted[40:46, 1] = 0.0  # 6 % of the time
    assert judge(measure(walking(foot_force=both), toy_robot), [still], "0+").accepted
    for tier in ("0+", "0", "1"):
        trodden = judge(measure(walking(foot_force=lifted), toy_robot), [still], tier)
        assert trodden.failed == ("still",)


def test_a_number_that_is_not_finite_rejects(verdict):
    pitch = torch.zeros(100)
    pitch[3] = math.nan
    result = verdict(foot_force=walk_with_double_support(), pitch=pitch)
    assert not result.accepted
    assert "load: load_mean is not measured (nan)" in result.reasons


def test_a_metric_that_is_missing_rejects():
    gate = Gate(name="load", metric="load_mean", min=0.85, unit="m g", meaning="")
    assert judge({}, [gate], "0").failed == ("load",)
    assert judge({"load_mean": 0.85}, [gate], "0").accepted


def test_nothing_is_accepted_without_gates():
    with pytest.raises(UserError, match="no gates"):
        judge({"load_mean": 1.0}, [], "0+")
    with pytest.raises(UserError, match="no gates judge tier '2'"):
        judge({"load_mean": 1.0}, [LOADED], "2")


def test_bounds_on_both_sides():
    gate = Gate(name="g", metric="travel_ratio", min=0.8, max=1.2, unit="1", meaning="")
    verdicts = [judge({"travel_ratio": v}, [gate], "0").accepted for v in (0.79, 0.8, 1.2, 1.21)]
    assert verdicts == [False, True, True, False]


@pytest.mark.parametrize(
    ("load", "force", "tier"),
    [(0.85, 0.10, "0+"), (0.85, 0.11, "0"), (0.85, 0.25, "0"), (0.85, 0.9, "1"), (0.84, 0, None)],
)
def test_the_best_tier_is_the_first_whose_gates_all_pass(load, force, tier):
    assert best_tier({"load_mean": load, "support_force_p95": force}, [LOADED, HELD]) == tier


def test_a_tier_that_a_gate_does_not_judge_needs_no_measurement():
    metrics = {"load_mean": 1.0}
    assert judge(metrics, [LOADED, HELD], "0").failed == ("held",)
    assert judge(metrics, [LOADED, HELD], "1").accepted
    assert best_tier(metrics, [LOADED, HELD]) == "1"


def test_quality_runs_from_the_strictest_bound_to_good():
    slip = Gate(name="slip", metric="slip_share", max=0.15, good=0.05, unit="1", meaning="")
    load = replace(LOADED, good=0.95)

    def score(slipping: float, carrying: float, gates=(slip, load)) -> float:
        return quality({"slip_share": slipping, "load_mean": carrying}, gates)

    assert score(0.05, 0.95) == 1.0
    assert score(0.01, 1.10) == 1.0
    assert score(0.10, 0.87) == pytest.approx((0.5 + 0.2) / 2)
    assert score(0.40, 0.60) == 0.0
    assert score(math.nan, 0.95) == 0.5
    assert score(0.10, 0.87, (LOADED,)) == 1.0  # nothing tells it from a better one


# The bounds of the design documents: a value that just passes, one that just fails, by tier.
DOCUMENTED = [
    ("load", "load_mean", {"0+": (0.85, 0.84), "0": (0.85, 0.84), "1": (0.60, 0.59)}),
    ("load_low", "load_p10", {"0+": (0.60, 0.59), "0": (0.60, 0.59)}),
    ("unloaded", "unloaded_share", {"0+": (0.10, 0.11), "0": (0.10, 0.11), "1": (0.30, 0.31)}),
    ("harness_force", "support_force_p90",
     {"0+": (0.15, 0.16), "0": (0.15, 0.16), "1": (0.40, 0.41)}),
    ("harness_force_peak", "support_force_p95", {"0+": (0.10, 0.11), "0": (0.25, 0.26)}),
    ("harness_force_cap", "support_force_saturation", {"0+": (0.05, 0.06), "0": (0.05, 0.06)}),
    ("harness_torque_cap", "support_torque_saturation", {"0+": (0.05, 0.06)}),
    ("pitch", "pitch_p95", {"0+": (25, 26), "0": (25, 26)}),
    ("roll", "roll_p95", {"0+": (25, 26), "0": (25, 26)}),
    ("slip", "slip_share", {"0+": (0.15, 0.16), "0": (0.15, 0.16)}),
    ("contact_left", "stance_left", {"0+": (0.30, 0.29), "0": (0.95, 0.96)}),
    ("contact_right", "stance_right", {"0+": (0.95, 0.96), "0": (0.30, 0.29)}),
    ("actuators", "torque_saturation", {"0+": (0.10, 0.11), "0": (0.10, 0.11)}),
    ("alternation", "alternation", {"0+": (0.9, 0.89), "0": (0.9, 0.89), "1": (0.15, 0.14)}),
    ("froude", "froude", {"0+": (0.25, 0.26), "0": (0.25, 0.26)}),
    ("single_support", "single_support", {"0+": (0.45, 0.44), "0": (0.95, 0.96)}),
    ("double_support", "double_support", {"0+": (0.55, 0.56), "0": (0.05, 0.04)}),
    ("flight", "flight", {"0+": (0.10, 0.11), "0": (0.10, 0.11)}),
    ("turning", "yaw_rate_std", {"0+": (0.7, 0.71), "0": (0.7, 0.71)}),
    ("harness_torque", "support_torque_p95", {"0+": (0.25, 0.26), "0": (0.25, 0.26)}),
    ("standing", "tilt_max", {"2": (45, 46)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "metric", "edges"), DOCUMENTED, ids=[d[0] for d in DOCUMENTED])
def test_the_shipped_bounds_are_those_of_the_design(shipped, name, metric, edges):
    (gate,) = [gate for gate in shipped if gate.name == name]
    assert gate.metric == metric
    for tier, (passes, fails) in edges.items():
        assert judge({metric: passes}, [gate], tier).accepted
        assert judge({metric: fails}, [gate], tier).failed == (name,)


def test_no_shipped_gate_is_laxer_in_a_better_tier(shipped):
    for gate in shipped:
        limits = [limit for tier in TIERS[:3] if (limit := gate.limit(tier)) is not None]
        lows = [-math.inf if limit.min is None else limit.min for limit in limits]
        highs = [math.inf if limit.max is None else limit.max for limit in limits]
        assert lows == sorted(lows, reverse=True), gate.name
        assert highs == sorted(highs), gate.name
        judged = [gate.limit(tier) is not None for tier in TIERS[:3]]
        assert judged == sorted(judged, reverse=True), gate.name


@pytest.mark.parametrize(("steps", "tier"), [(50, "0+"), (52, "1"), (80, "1"), (82, "2")])
def test_fast_joints_with_more_torque_than_their_servos_have_are_rejected(
    walking, toy_robot, shipped, steps, tier
):
    """At half its speed without load a servo of 1 N m has half of that; one joint of two."""
    motor = ServoSpec(model="envelope", stall_torque=1.0, no_load_speed=10.0, voltage=12.0)
    robot = replace(toy_robot, servo=motor)
    speed, torque = torch.zeros(100, 2), torch.zeros(100, 2)
    speed[:, 0], torque[:steps, 0] = 5.0, 0.49
    frames = walking(foot_force=walk_with_double_support(), joint_vel=speed, torque=torque)
    metrics = measure(frames, robot)
    assert best_tier(metrics, shipped) == tier
    failed = () if tier == "0+" else ("envelope",)
    assert judge(metrics, shipped, "0+").failed == failed


@pytest.mark.parametrize(("force", "tier"), [(2.9, "0+"), (4.0, "0"), (9.0, "1"), (13.0, "2")])
def test_harness_force_decides_the_tier_of_a_perfect_walk(walking, toy_robot, shipped, force, tier):
    pull = torch.tensor([0.0, 0.0, force]).expand(100, 3)  # of 30 N
    frames = walking(foot_force=walk_with_double_support(), support_force=pull)
    assert best_tier(measure(frames, toy_robot), shipped) == tier


def test_what_merely_stands_is_tier_2_and_what_fell_or_is_not_finite_is_none(
    walking, toy_robot, shipped
):
    def tier(**replaced: torch.Tensor) -> str | None:
        return best_tier(measure(walking(**replaced), toy_robot), shipped)

    assert tier(foot_force=torch.zeros(100, 2)) == "2"
    assert tier(pitch=torch.full((100,), 0.8)) is None
    assert tier(joint_vel=torch.full((100, 2), math.nan)) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- " + LOAD.replace("load_mean", "load_meen"), "unknown metric 'load_meen'"),
        ("- " + LOAD.replace("min:", "minimum:"), r"unknown keys \['minimum'\]"),
        ("- " + LOAD.replace("meaning: carries itself", "why: x"), r"missing keys \['meaning'\]"),
        ("- " + LOAD.replace("min: 0.85, ", ""), "give min, max or both"),
        ("- " + LOAD.replace("0.85", "much"), "min is 'much'; it must be a finite number"),
        ("- " + LOAD.replace("0.85", ".nan"), "it must be a finite number"),
        ("- " + LOAD.replace("0.85", "0.9, max: 0.1"), "min 0.9 exceeds max 0.1"),
        ("- " + LOAD.replace("unit", "tiers: {3: null}, unit"), "tier 3 is not one of"),
        ("- " + LOAD.replace("unit", "tiers: [1], unit"), "is not a mapping of tiers"),
        (
            "- " + LOAD.replace("unit", 'tiers: {"1": {low: 1}}, unit'),
            "tier 1 is {'low': 1}",
        ),
        (
            "- " + LOAD.replace("unit", 'tiers: {"1": {max: .inf}}, unit'),
            "max is inf; it must",
        ),
        ("- " + LOAD.replace("min: 0.85", 'tiers: {"1": null}'), "give min, max or both"),
        ("- " + LOAD.replace("unit", "good: 0.85, unit"), "good 0.85 must pass tier 0"),
        ("- " + LOAD.replace("unit", "max: 2, good: 1, unit"), "good needs either min or max"),
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
    with pytest.raises(UserError, match=complaint) as error:
        load_gates(path)
    assert "\n" not in str(error.value)


def test_a_missing_gate_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_gates(tmp_path / "none.yaml")
