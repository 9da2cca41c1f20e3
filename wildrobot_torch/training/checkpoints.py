"""Checkpoints that a training may resume from, or take its first networks from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from envs.errors import UserError
from envs.layout import Layout, LayoutMismatch
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.ppo.policy_file import load_checkpoint, require_format

SHAPING = ("window", "features", "stages", "hidden", "activation", "spectral_norm", "loss")
"""Motion-prior settings that must be unchanged on resume, because the weights depend on them."""


class CheckpointMismatch(UserError):
    """A checkpoint does not fit the run; the message says in what."""


def require_networks(
    checkpoint: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actor: Mapping[str, Any],
    actions: Mapping[str, Any],
) -> None:
    """Refuse actor and critic of another robot, shape, observation or meaning of actions.

    Args:
        checkpoint: as it was loaded.
        layouts: of what the networks read.
        robot_digest: version of the robot.
        actor: shape of the policy as it is trained.
        actions: how actions become joint targets (`ActionConfig` as a dict).

    Raises:
        PolicyFileError: the checkpoint is of another program or version.
        CheckpointMismatch: another robot, other networks, or actions that mean something else.
        LayoutMismatch: with a field-by-field difference.
    """
    require_format(checkpoint, "the checkpoint")
    about = checkpoint["wildrobot"]
    for name, layout in layouts.items():
        layout.require(Layout.from_dict(about[f"{name}_layout"]), f"the checkpoint's {name}")
    if about["robot_digest"] != robot_digest:
        raise CheckpointMismatch(
            f"the checkpoint is for robot {about['robot_digest']}, this one is {robot_digest}"
        )
    if (trained := checkpoint["trained_actor"]) != actor:
        raise CheckpointMismatch(
            f"the checkpoint's actor is {trained}, this run's {actor}; set model.network as it was"
        )
    for name, here in actions.items():
        if (was := about["env_config"]["action"].get(name)) != here:
            raise CheckpointMismatch(
                f"the checkpoint's actions have {name} {was}, this run's {here}; set "
                f"data.env.action.{name} as it was"
            )


def require_resumable(
    checkpoint: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actor: Mapping[str, Any],
    actions: Mapping[str, Any],
    amp: AMPConfig | None,
) -> None:
    """Refuse to resume from a checkpoint whose networks, optimisers or prior do not fit the run.

    Args:
        checkpoint: as it was loaded.
        layouts: of the task; that of style features counts with a motion prior only.
        robot_digest: version of the robot.
        actor: shape of the policy as it is trained.
        actions: how actions become joint targets (`ActionConfig` as a dict).
        amp: settings of the motion prior; None without one.

    Raises:
        PolicyFileError: the checkpoint is of another program or version.
        CheckpointMismatch: another robot, other networks, or another motion prior.
        LayoutMismatch: with a field-by-field difference.
    """
    read = {name: lay for name, lay in layouts.items() if name != "amp" or amp is not None}
    require_networks(checkpoint, read, robot_digest, actor, actions)
    trained = checkpoint["training"]["amp"]
    if (trained is None) != (amp is None):
        raise CheckpointMismatch(
            f"the checkpoint was trained {'without' if trained is None else 'with'} a motion "
            "prior; set model.amp as it was"
        )
    if amp is None or trained is None:
        return
    here = asdict(amp)
    for name in SHAPING:
        # As JSON, which does not distinguish tuples and lists.
        was, now = (json.dumps(settings[name]) for settings in (trained, here))
        if was != now:
            raise CheckpointMismatch(
                f"the checkpoint's motion prior has {name} {was}, this run's {now}; set "
                f"model.amp.{name} as it was"
            )


def warm_start(
    path: Path | str,
    policy: Policy,
    critic: Critic,
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actions: Mapping[str, Any],
    init_std: float,
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
    read = {name: layouts[name] for name in ("observation", "critic_observation")}
    try:
        require_networks(content, read, robot_digest, policy.hparams, actions)
        _load(policy, "actor", WEIGHTS_PREFIX, content["state_dict"])
        _load(critic, "critic", "critic.", content["state_dict"])
    except (CheckpointMismatch, LayoutMismatch) as error:
        raise CheckpointMismatch(f"{what} {path}: {error}") from error
    with torch.no_grad():
        policy.log_std.fill_(math.log(init_std))


def _load(module: nn.Module, what: str, prefix: str, weights: Mapping[str, torch.Tensor]) -> None:
    try:
        module.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in weights.items()
                if name.startswith(prefix)
            }
        )
    except RuntimeError as error:
        raise CheckpointMismatch(
            f"the {what} has another shape; set model.network as it was"
        ) from error
