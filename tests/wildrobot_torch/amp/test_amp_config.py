"""wildrobot_torch.amp.config: impossible settings are refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from wildrobot_torch.amp.config import AMPConfig, FeatureStage


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear", "ramp_start": 5, "ramp_end": 1}, "amp.ramp_end 1 is not after"),
        ({"schedule": "auc"}, "amp.ramp_end 0 is not after"),
        ({"ramp_end": 9}, "do nothing with amp.schedule fixed"),
        ({"ramp_levels": (1.0,)}, "amp.ramp_levels"),
        ({"ramp_levels": (1.0, 0.0)}, "the last above 0"),
        ({"gate_low": 0.9}, "amp.gate_low is 0.9 and amp.gate_high 0.85"),
        ({"weight": -1.0}, "amp.weight is -1.0"),
        ({"replay_share": 2.0}, "amp.replay_share is 2.0"),
        ({"replay_size": 10}, "amp.replay_insert 500 exceeds amp.replay_size 10"),
        ({"num_updates": 0}, "amp.num_updates is 0"),
        ({"batch_size": 0}, "amp.batch_size is 0"),
        ({"data_budget": 0.0}, "amp.data_budget is 0.0"),
        ({"window": 11}, "amp.window is 11; allowed: 1 to 10"),
        ({"window": 0}, "amp.window is 0"),
        ({"features": ()}, "amp.features is empty"),
        ({"input_noise": -0.1}, "amp.input_noise is -0.1"),
        (
            {"stages": (FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}}),)},
            "amp.stages adds height, which the discriminator sees already",
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message) as error:
        AMPConfig(**settings)
    assert "\n" not in str(error.value)


def test_the_default_replay_spans_more_than_100_iterations():
    config = AMPConfig()
    assert config.replay_size / config.replay_insert > 100


def test_a_stage_is_reached_when_an_evaluation_keeps_to_all_its_limits():
    stage = FeatureStage(
        add=("height",), limits={"fall_rate": {"max": 0.02}, "alternation": {"min": 0.9, "max": 1}}
    )
    assert stage.reached({"fall_rate": 0.02, "alternation": 0.95, "score": 1.0})
    assert not stage.reached({"fall_rate": 0.03, "alternation": 0.95})
    assert not stage.reached({"fall_rate": 0.0, "alternation": 0.5})
    assert not stage.reached({"fall_rate": 0.0, "alternation": math.nan})
    with pytest.raises(ValueError, match="has no alternation; it has fall_rate"):
        stage.reached({"fall_rate": 0.0})


@pytest.mark.parametrize(
    ("add", "limits"),
    [((), {"fall_rate": {"max": 0.1}}), (("height",), {}), (("height",), {"fall_rate": {}}),
     (("height",), {"fall_rate": {"most": 1}})],
)  # fmt: skip
def test_stages_without_features_or_limits_are_refused(add: Any, limits: Any):
    with pytest.raises(ValueError, match=r"amp\.stages"):
        FeatureStage(add=add, limits=limits)
