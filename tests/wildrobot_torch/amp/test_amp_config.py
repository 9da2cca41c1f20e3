"""wildrobot_torch.amp.config: ramps, stages, and impossible settings that are refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from envs.errors import UserError
from wildrobot_torch.amp.config import AMPConfig, FeatureStage


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ramp_start": 5, "ramp_end": 1}, "amp.ramp_end is 1"),
        ({"ramp_gate": (0.6, 0.85)}, "set amp.ramp_end above 0"),
        ({"weight_start": 2.0}, "weight_start does nothing without a ramp; set amp.ramp_end"),
        ({"ramp_gate": (0.9, 0.85), "ramp_end": 9}, r"amp.ramp_gate is \[0.9, 0.85\]"),
        ({"weight": -1.0}, "weight: -1.0"),
        ({"replay_share": 2.0}, "replay_share: 2.0"),
        ({"features": ()}, "amp.features is empty"),
        (
            {"stages": (FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}}),)},
            "amp.stages adds height, which the discriminator sees already",
        ),
        (
            {"features": ("foot_height", "foot_vel_z"), "window": 1},
            "names foot_vel_z, a change between frames; set amp.window to at least 2",
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message) as error:
        AMPConfig(**settings)
    assert "\n" not in str(error.value)


def test_without_a_ramp_the_weight_is_full_at_once():
    assert [AMPConfig(weight=2.0).weight_at(steps) for steps in (0, 10**9)] == [2.0, 2.0]


def test_the_ramp_is_linear_between_start_and_end():
    config = AMPConfig(weight=2.0, ramp_start=100, ramp_end=300)
    weights = [config.weight_at(steps) for steps in (0, 100, 150, 300, 1000)]
    assert weights == [0.0, 0.0, 0.5, 2.0, 2.0]
    # Down as well as up.
    config = AMPConfig(weight_start=2.0, weight=1.0, ramp_start=100, ramp_end=300)
    weights = [config.weight_at(steps) for steps in (0, 100, 150, 300, 1000)]
    assert weights == [2.0, 2.0, 1.75, 1.0, 1.0]
    # Where both are the same, the weight begins there.
    config = AMPConfig(ramp_start=100, ramp_end=100)
    assert [config.weight_at(steps) for steps in (0, 99, 100)] == [0.0, 0.0, 1.0]


def test_a_ramp_that_never_starts_is_refused():
    config = AMPConfig(ramp_start=500, ramp_end=900)
    with pytest.raises(UserError, match=r"amp\.ramp_start 500.*run\.env_steps 400; lower") as error:
        config.require_start(400)
    assert "\n" not in str(error.value)
    config.require_start(501)
    # A weight of zero is meant.
    AMPConfig(weight=0.0, ramp_start=500, ramp_end=900).require_start(10)
    AMPConfig().require_start(10)


def test_a_stage_is_reached_when_an_evaluation_keeps_to_all_its_limits():
    stage = FeatureStage(
        add=("height",), limits={"fall_rate": {"max": 0.02}, "alternation": {"min": 0.9, "max": 1}}
    )
    assert stage.reached({"fall_rate": 0.02, "alternation": 0.95, "score": 1.0}, 0)
    assert not stage.reached({"fall_rate": 0.03, "alternation": 0.95}, 0)
    assert not stage.reached({"fall_rate": 0.0, "alternation": 0.5}, 0)
    assert not stage.reached({"fall_rate": 0.0, "alternation": math.nan}, 0)
    with pytest.raises(UserError, match="has no alternation; it has fall_rate"):
        stage.require_metrics({"fall_rate": 0.0})


def test_a_share_can_only_rise():
    def stages(*shares: float) -> tuple[FeatureStage, ...]:
        return tuple(FeatureStage(add=("contact",), share=share, after=9) for share in shares)

    config = AMPConfig(features=("height",), stages=stages(0.3, 1.0))
    both = {"height": 1.0}
    assert config.shares == [both, both | {"contact": 0.3}, both | {"contact": 1.0}]
    for shares in ((0.3, 0.3), (1.0, 0.5), (0.0,)):
        with pytest.raises(UserError, match=r"sees already.*raise its share"):
            AMPConfig(features=("height",), stages=stages(*shares))
    with pytest.raises(UserError, match="share"):
        stages(1.5)


@pytest.mark.parametrize(
    ("add", "limits"),
    [((), {"fall_rate": {"max": 0.1}}), (("height",), {}), (("height",), {"fall_rate": {}}),
     (("height",), {"fall_rate": {"most": 1}})],
)  # fmt: skip
def test_stages_without_features_or_limits_are_refused(add: Any, limits: Any):
    with pytest.raises(UserError, match=r"amp\.stages"):
        FeatureStage(add=add, limits=limits)
