"""Tests of wildrobot_torch/amp/opinion.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from envs.errors import UserError
from envs.layout import Layout, LayoutMismatch
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.amp.opinion import load_prior
from wildrobot_torch.amp.prior import MotionPrior
from wildrobot_torch.ppo.policy_file import CHECKPOINT_FORMAT, PolicyFileError


@pytest.fixture
def content(robot: RobotSpec) -> dict[str, Any]:
    """A checkpoint whose discriminator says 0 of everything."""
    layout = amp_layout(robot)
    prior = MotionPrior(layout, AMPConfig(window=3, hidden=(8,)))
    with torch.no_grad():
        for parameter in prior.discriminator.net.parameters():
            parameter.zero_()
    return {
        "state_dict": {f"prior.{name}": value for name, value in prior.state_dict().items()},
        "training": {"amp": {"window": 3, "hidden": [8]}},
        "wildrobot": {
            "format": CHECKPOINT_FORMAT,
            "amp_layout": layout.to_dict(),
            "env_config": {"ctrl_dt": 0.02},
        },
    }


def test_a_logit_of_0_is_worth_three_quarters_everywhere(
    content: dict[str, Any], robot: RobotSpec, tmp_path: Path
) -> None:
    path, layout = tmp_path / "last.ckpt", amp_layout(robot)
    torch.save(content, path)
    loaded = load_prior(path, layout)
    assert loaded is not None and loaded.held_out is None  # the checkpoint does not say
    amp, valid = torch.randn(20, 2, layout.size), torch.ones(20, 2, dtype=torch.bool)
    reward = loaded.style_reward(amp, valid)
    # max(0, 1 - 1 / 4), and no spread.
    assert reward["mean"] == pytest.approx(0.75) and reward["std"] == reward["zero"] == 0.0
    with pytest.raises(UserError, match="nothing to reward"):
        loaded.style_reward(amp, ~valid)


def test_what_training_held_out_is_known(
    content: dict[str, Any], robot: RobotSpec, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({**content, "RolloutData": {"held_out": ["walk_0.20"]}}, path)
    loaded = load_prior(path, amp_layout(robot))
    assert loaded is not None and loaded.held_out == {"walk_0.20"}


def test_no_prior_is_none_and_another_one_is_refused(
    content: dict[str, Any], robot: RobotSpec, tmp_path: Path
) -> None:
    path, layout = tmp_path / "last.ckpt", amp_layout(robot)
    torch.save({**content, "training": {"amp": None}}, path)
    assert load_prior(path, layout) is None
    assert load_prior(tmp_path / "policy.onnx", layout) is None
    torch.save(content, path)
    other = Layout(layout.name, (replace(layout.fields[0], unit="furlong"), *layout.fields[1:]))
    with pytest.raises(LayoutMismatch, match=r"last\.ckpt .*furlong"):
        load_prior(path, other)
    torch.save({**content, "training": {"amp": {"window": 3, "hidden": [16]}}}, path)
    with pytest.raises(PolicyFileError, match="cannot be read"):
        load_prior(path, layout)
