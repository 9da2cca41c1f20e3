"""wildrobot_torch.training.warm_start: networks of another training, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from envs.layout import Field, Layout
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.training.warm_start import WarmStartError, warm_start

ACTIONS = {"mapping": "home", "scale": 1.4}


def layouts(unit: str = "m") -> dict[str, Layout]:
    seen = (Field("a", 3, unit, "world", ""),)
    return {
        "observation": Layout("observation", seen),
        "critic_observation": Layout(
            "critic_observation", (*seen, Field("b", 1, "m", "world", ""))
        ),
        "amp": Layout("amp", seen),
    }


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
    lays = layouts()
    content = {
        "state_dict": state,
        "actor": policy.hparams,
        "wildrobot": {
            "observation_layout": lays["observation"].to_dict(),
            "critic_layout": lays["critic_observation"].to_dict(),
            "robot_digest": "r2d2",
            "env_config": {"action": dict(ACTIONS)},
        },
    }
    path = tmp_path / "x.ckpt"
    torch.save(content, path)
    return path, policy, critic, content


def test_networks_answer_as_those_of_the_checkpoint_and_explore_anew(saved):
    path, policy, critic, _ = saved
    mine, judge = networks()
    warm_start(path, mine, judge, layouts(), "r2d2", ACTIONS, init_std=0.4)
    values = torch.randn(5, 4)
    assert torch.equal(mine(values[:, :3]), policy(values[:, :3]))
    assert torch.equal(judge(values), critic(values))
    assert mine.log_std.exp().tolist() == pytest.approx([0.4, 0.4])


def test_another_robot_layout_or_shape_is_refused(saved, tmp_path: Path):
    path, _, _, content = saved
    with pytest.raises(WarmStartError, match="is for robot r2d2, this one is c3po"):
        warm_start(path, *networks(), layouts(), "c3po", ACTIONS, 0.4)
    with pytest.raises(
        WarmStartError, match=r"x\.ckpt: the checkpoint's observation .*('m'.*'rad'|'rad'.*'m')"
    ):
        warm_start(path, *networks(), layouts("rad"), "r2d2", ACTIONS, 0.4)
    with pytest.raises(WarmStartError, match=r"\[8\].*\[6\].*set model\.network as it was"):
        warm_start(path, *networks((6,)), layouts(), "r2d2", ACTIONS, 0.4)
    further = ACTIONS | {"scale": 0.8}
    with pytest.raises(WarmStartError, match=r"have scale 1\.4, this run's 0\.8; set data\.env"):
        warm_start(path, *networks(), layouts(), "r2d2", further, 0.4)
    narrow = dict(content, state_dict={
        k: v for k, v in content["state_dict"].items() if not k.startswith("critic.net.2")
    })  # fmt: skip
    torch.save(narrow, tmp_path / "narrow.ckpt")
    with pytest.raises(WarmStartError, match=r"the critic of .* has another shape"):
        warm_start(tmp_path / "narrow.ckpt", *networks(), layouts(), "r2d2", ACTIONS, 0.4)


def test_a_checkpoint_without_an_averaged_policy_is_refused(saved, tmp_path: Path):
    _, _, _, content = saved
    old = {k.replace(WEIGHTS_PREFIX, "policy."): v for k, v in content["state_dict"].items()}
    torch.save(dict(content, state_dict=old), tmp_path / "old.ckpt")
    with pytest.raises(WarmStartError, match="no averaged policy: an earlier version wrote it"):
        warm_start(tmp_path / "old.ckpt", *networks(), layouts(), "r2d2", ACTIONS, 0.4)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path):
    with pytest.raises(WarmStartError, match="no file"):
        warm_start(tmp_path / "none.ckpt", *networks(), layouts(), "r2d2", ACTIONS, 0.4)
    (tmp_path / "text.ckpt").write_text("no")
    with pytest.raises(WarmStartError, match="is no checkpoint of wildrobot_torch"):
        warm_start(tmp_path / "text.ckpt", *networks(), layouts(), "r2d2", ACTIONS, 0.4)
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(WarmStartError, match="is no checkpoint of wildrobot_torch"):
        warm_start(tmp_path / "other.ckpt", *networks(), layouts(), "r2d2", ACTIONS, 0.4)
