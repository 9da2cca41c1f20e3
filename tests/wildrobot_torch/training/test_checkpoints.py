"""wildrobot_torch.training.checkpoints: what a training may not go on with."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from envs.layout import Field, Layout, LayoutMismatch
from wildrobot_torch.amp.config import AMPConfig, FeatureStage
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.training.checkpoints import CheckpointMismatch, require_fit

STAGES = (FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}}),)
ACTIONS = {"mapping": "home", "scale": 1.4}
CONFIG = AMPConfig(features=("angvel",), stages=STAGES)
LAYOUTS = {
    name: Layout(name, (Field("value", 1, "m", "world", ""),))
    for name in ("observation", "critic_observation", "amp")
}


def _checkpoint(amp: AMPConfig | None) -> dict[str, Any]:
    keys = {"observation": "observation", "critic": "critic_observation", "amp": "amp"}
    about = {f"{key}_layout": LAYOUTS[name].to_dict() for key, name in keys.items()}
    return {
        "wildrobot": {**about, "robot_digest": "r2d2", "env_config": {"action": dict(ACTIONS)}},
        "actor": {"hidden": [8]},
        "state_dict": {f"{WEIGHTS_PREFIX}net.0.weight": torch.zeros(1)},
        "training": {"amp": None if amp is None else asdict(amp)},
    }


def _require(checkpoint: dict[str, Any], amp: AMPConfig | None = CONFIG) -> None:
    require_fit(checkpoint, LAYOUTS, "r2d2", {"hidden": [8]}, ACTIONS, amp)


def test_a_checkpoint_of_the_same_run_fits_however_it_was_written():
    checkpoint = _checkpoint(CONFIG)
    _require(checkpoint)
    # Lists for tuples, and a setting that may change: the learning rate.
    checkpoint["training"]["amp"]["hidden"] = list(CONFIG.hidden)
    _require(checkpoint, replace(CONFIG, learning_rate=1e-4, weight=0.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 6}, "has window 2, this run's 6; set model.amp.window as it was"),
        ({"spectral_norm": True}, "spectral_norm false, this run's true"),
        ({"hidden": (9,)}, r"model\.amp\.hidden"),
        ({"features": ("gravity",)}, r"model\.amp\.features"),
        ({"stages": ()}, r"model\.amp\.stages"),
        ({"loss": "bce"}, r"model\.amp\.loss"),
    ],
)
def test_a_prior_of_another_shape_is_refused(change: dict[str, Any], message: str):
    with pytest.raises(CheckpointMismatch, match=message) as error:
        _require(_checkpoint(CONFIG), replace(CONFIG, **change))
    assert "\n" not in str(error.value)


def test_another_robot_actor_or_origin_is_refused():
    with pytest.raises(CheckpointMismatch, match="not written by wildrobot_torch"):
        _require({"actor": {}})
    checkpoint = _checkpoint(CONFIG)
    checkpoint["wildrobot"]["robot_digest"] = "c3po"
    with pytest.raises(CheckpointMismatch, match="is for robot c3po, this one is r2d2"):
        _require(checkpoint)
    checkpoint = _checkpoint(CONFIG) | {"actor": {"hidden": [9]}}
    with pytest.raises(CheckpointMismatch, match=r"set model\.network as it was"):
        _require(checkpoint)
    checkpoint = _checkpoint(CONFIG)
    checkpoint["wildrobot"]["env_config"]["action"]["mapping"] = "full_range"
    with pytest.raises(CheckpointMismatch, match=r"mapping full_range, this run's home; set data"):
        _require(checkpoint)
    checkpoint = _checkpoint(CONFIG) | {"state_dict": {"policy.net.0.weight": torch.zeros(1)}}
    with pytest.raises(CheckpointMismatch, match="has no averaged policy: an earlier version"):
        _require(checkpoint)
    with pytest.raises(CheckpointMismatch, match="without a motion prior"):
        _require(_checkpoint(None))
    with pytest.raises(CheckpointMismatch, match="with a motion prior"):
        _require(_checkpoint(CONFIG), None)


def test_style_features_of_another_layout_are_refused_where_they_count():
    for amp in (CONFIG, None):
        checkpoint = _checkpoint(amp)
        checkpoint["wildrobot"]["amp_layout"]["fields"][0]["unit"] = "rad"
        if amp is None:
            _require(checkpoint, None)
            continue
        with pytest.raises(LayoutMismatch, match="the checkpoint's amp"):
            _require(checkpoint)
