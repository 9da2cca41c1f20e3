"""wildrobot_torch.training.checkpoints: what a training may resume from or begin with."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.errors import UserError
from envs.layout import Field, Layout, LayoutMismatch
from wildrobot_torch.amp.config import AMPConfig, FeatureStage
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT, PolicyFileError
from wildrobot_torch.training.checkpoints import (
    CheckpointMismatch,
    require_resumable,
    warm_start,
)

STAGES = (FeatureStage(add=("height",), limits={"fall_rate": {"max": 0.1}}),)
ACTIONS = {"mapping": "home", "scale": 1.4}
CONFIG = AMPConfig(features=("angvel",), stages=STAGES)
LAYOUTS = {
    name: Layout(name, (Field("value", 1, "m", "world", ""),))
    for name in ("observation", "critic_observation", "amp")
}


def _checkpoint(amp: AMPConfig | None) -> dict[str, Any]:
    about = {f"{name}_layout": layout.to_dict() for name, layout in LAYOUTS.items()}
    about |= {"format": CHECKPOINT_FORMAT}
    return {
        "wildrobot": {**about, "robot_digest": "r2d2", "env_config": {"action": dict(ACTIONS)}},
        "trained_actor": {"hidden": [8]},
        "state_dict": {f"{WEIGHTS_PREFIX}net.0.weight": torch.zeros(1)},
        "training": {"amp": None if amp is None else asdict(amp)},
    }


def _require(checkpoint: dict[str, Any], amp: AMPConfig | None = CONFIG) -> None:
    require_resumable(checkpoint, _checkpoint(amp))


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
    with pytest.raises(PolicyFileError, match="not written by `wildrobot fit`"):
        _require({"actor": {}})
    checkpoint = _checkpoint(CONFIG)
    checkpoint["wildrobot"]["robot_digest"] = "c3po"
    with pytest.raises(CheckpointMismatch, match="is for robot c3po, this one is r2d2"):
        _require(checkpoint)
    checkpoint = _checkpoint(CONFIG) | {"trained_actor": {"hidden": [9]}}
    with pytest.raises(CheckpointMismatch, match=r"set model\.network as it was"):
        _require(checkpoint)
    checkpoint = _checkpoint(CONFIG)
    checkpoint["wildrobot"]["env_config"]["action"]["mapping"] = "full_range"
    with pytest.raises(CheckpointMismatch, match=r"mapping full_range, this run's home; set data"):
        _require(checkpoint)
    with pytest.raises(CheckpointMismatch, match="without a motion prior"):
        _require(_checkpoint(None))
    with pytest.raises(CheckpointMismatch, match="with a motion prior"):
        _require(_checkpoint(CONFIG), None)


def test_a_checkpoint_of_version_0_3_is_refused_with_what_to_do():
    checkpoint = _checkpoint(CONFIG)
    del checkpoint["wildrobot"]["format"]
    with pytest.raises(PolicyFileError, match=r"written by version 0\.3 .*train again") as error:
        _require(checkpoint)
    assert "\n" not in str(error.value)


def test_style_features_of_another_layout_are_refused_where_they_count():
    for amp in (CONFIG, None):
        checkpoint = _checkpoint(amp)
        checkpoint["wildrobot"]["amp_layout"]["fields"][0]["unit"] = "rad"
        if amp is None:
            _require(checkpoint, None)
            continue
        with pytest.raises(LayoutMismatch, match="the checkpoint's amp"):
            _require(checkpoint)


# Warm start


def networks(hidden: tuple[int, ...] = (8,)) -> tuple[Policy, Critic]:
    return Policy(3, 2, hidden=hidden, init_std=0.1), Critic(4, hidden, "silu")


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Policy, Critic, dict[str, Any]]:
    """A checkpoint of trained networks, those networks, and what the checkpoint says."""
    torch.manual_seed(1)
    policy, critic = networks()
    policy.update_normalizer(torch.randn(9, 3) + 2.0)
    critic.update_normalizer(torch.randn(9, 4) - 1.0)
    state = {f"{WEIGHTS_PREFIX}{k}": v for k, v in policy.state_dict().items()}
    state |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    state["prior.discriminator.net.0.weight"] = torch.zeros(1)
    content = _own(policy) | {"state_dict": state}
    path = tmp_path / "x.ckpt"
    torch.save(content, path)
    return path, policy, critic, content


def _own(policy: Policy, unit: str = "m", **changes: Any) -> dict[str, Any]:
    """What a run of such a policy says of itself, other than that it has changed entries."""
    seen = (Field("a", 3, unit, "world", ""),)
    critic = Layout("critic_observation", (*seen, Field("b", 1, "m", "world", "")))
    about = {
        "format": CHECKPOINT_FORMAT,
        "observation_layout": Layout("observation", seen).to_dict(),
        "critic_observation_layout": critic.to_dict(),
        "robot_digest": "r2d2",
        "env_config": {"action": dict(ACTIONS)},
    }
    return {"trained_actor": policy.hparams, "wildrobot": about | changes}


def test_networks_answer_as_those_of_the_checkpoint_and_explore_anew(saved):
    path, policy, critic, _ = saved
    mine, judge = networks()
    warm_start(path, mine, judge, _own(mine), init_std=0.4)
    values = torch.randn(5, 4)
    assert torch.equal(mine(values[:, :3]), policy(values[:, :3]))
    assert torch.equal(judge(values), critic(values))
    assert mine.log_std.exp().tolist() == pytest.approx([0.4, 0.4])


def test_another_robot_layout_or_shape_is_refused(saved, tmp_path: Path):
    path, _, _, content = saved

    def start(path: Path, hidden: tuple[int, ...] = (8,), **changes: Any) -> None:
        policy, critic = networks(hidden)
        warm_start(path, policy, critic, _own(policy, **changes), 0.4)

    with pytest.raises(UserError, match="is for robot r2d2, this one is c3po"):
        start(path, robot_digest="c3po")
    with pytest.raises(
        UserError, match=r"x\.ckpt: the checkpoint's observation .*('m'.*'rad'|'rad'.*'m')"
    ):
        start(path, unit="rad")
    with pytest.raises(UserError, match=r"\[8\].*\[6\].*set model\.network as it was"):
        start(path, (6,))
    with pytest.raises(UserError, match=r"have scale 1\.4, this run's 0\.8; set data\.env"):
        start(path, env_config={"action": ACTIONS | {"scale": 0.8}})
    narrow = dict(content, state_dict={
        k: v for k, v in content["state_dict"].items() if not k.startswith("critic.net.2")
    })  # fmt: skip
    torch.save(narrow, tmp_path / "narrow.ckpt")
    with pytest.raises(UserError, match=r"narrow\.ckpt: the critic has another shape"):
        start(tmp_path / "narrow.ckpt")


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path):
    policy, critic = networks()
    arguments = (policy, critic, _own(policy), 0.4)
    with pytest.raises(UserError, match=r"model\.warm_start: no file"):
        warm_start(tmp_path / "none.ckpt", *arguments)
    (tmp_path / "text.ckpt").write_text("no")
    with pytest.raises(UserError, match="cannot be read"):
        warm_start(tmp_path / "text.ckpt", *arguments)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not written by `wildrobot fit`"):
        warm_start(tmp_path / "other.ckpt", *arguments)
