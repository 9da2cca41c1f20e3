"""Checkpoints that a training may resume from, or take its first networks from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from envs.errors import UserError
from envs.layout import Layout, LayoutMismatch
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.policy_file import load_checkpoint, require_format, with_prefix

SHAPING = ("window", "features", "stages", "hidden", "activation", "spectral_norm", "loss")
"""Motion-prior settings that must be unchanged on resume, because the weights depend on them."""


class CheckpointMismatch(UserError):
    """A checkpoint does not fit the run; the message says in what."""


def require_networks(
    checkpoint: Mapping[str, Any], own: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    """Refuse actor and critic of another robot, shape, observation or meaning of actions.

    `own` is what this run's checkpoints say of it (`WalkingModule.description`); the layouts of
    these names must agree.

    Raises:
        PolicyFileError: the checkpoint is of another program or version.
        CheckpointMismatch: another robot, other networks, or actions that mean something else.
        LayoutMismatch: with a field-by-field difference.
    """
    require_format(checkpoint, "the checkpoint")
    saved, here = checkpoint["wildrobot"], own["wildrobot"]
    for name in names:
        other, mine = (Layout.from_dict(about[f"{name}_layout"]) for about in (saved, here))
        mine.require(other, f"the checkpoint's {name}")
    if saved["robot_digest"] != here["robot_digest"]:
        raise CheckpointMismatch(
            f"the checkpoint is for robot {saved['robot_digest']}, this one is "
            f"{here['robot_digest']}"
        )
    if (trained := checkpoint["trained_actor"]) != (actor := own["trained_actor"]):
        raise CheckpointMismatch(
            f"the checkpoint's actor is {trained}, this run's {actor}; set model.network as it was"
        )
    for name, now in here["env_config"]["action"].items():
        if (was := saved["env_config"]["action"].get(name)) != now:
            raise CheckpointMismatch(
                f"the checkpoint's actions have {name} {was}, this run's {now}; set "
                f"data.env.action.{name} as it was"
            )


def require_resumable(checkpoint: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse to resume where networks or motion prior do not fit; arguments and errors as above."""
    amp, trained = own["training"]["amp"], checkpoint.get("training", {}).get("amp")
    with_prior = amp is not None
    observations = ("observation", "critic_observation")
    require_networks(checkpoint, own, (*observations, "amp") if with_prior else observations)
    if (trained is not None) != with_prior:
        raise CheckpointMismatch(
            f"the checkpoint was trained {'without' if with_prior else 'with'} a motion prior; set "
            "model.amp as it was"
        )
    for name in SHAPING if with_prior else ():
        # As JSON, which does not distinguish tuples and lists.
        was, now = (json.dumps(settings[name]) for settings in (trained, amp))
        if was != now:
            raise CheckpointMismatch(
                f"the checkpoint's motion prior has {name} {was}, this run's {now}; set "
                f"model.amp.{name} as it was"
            )


def warm_start(
    path: Path | str, policy: Policy, critic: Critic, own: Mapping[str, Any], init_std: float
) -> None:
    """Load a checkpoint's averaged policy and its critic, with their normalisers.

    Task, motion prior, optimisers and counters are the new training's own, so a standing policy can
    learn to walk, and a walking policy to walk in style. The standard deviation of the actions
    begins at `init_std` again.

    Raises:
        UserError: the file is no checkpoint of this version, or one for another robot, for other
            observations or actions, or of networks of another shape.
    """
    what = "model.warm_start"
    content = load_checkpoint(path, what)
    try:
        require_networks(content, own, ("observation", "critic_observation"))
        _load(policy, "actor", with_prefix(WEIGHTS_PREFIX, content["state_dict"]))
        _load(critic, "critic", with_prefix("critic.", content["state_dict"]))
    except (CheckpointMismatch, LayoutMismatch) as error:
        raise CheckpointMismatch(f"{what} {path}: {error}") from error
    with torch.no_grad():
        policy.log_std.fill_(math.log(init_std))


def _load(module: nn.Module, what: str, weights: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointMismatch(
            f"the {what} has another shape; set model.network as it was"
        ) from error
