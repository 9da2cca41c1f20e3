"""Begin a training with the actor and critic of another."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from envs.errors import UserError
from envs.layout import Layout, LayoutMismatch
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Critic, Policy
from wildrobot_torch.training.checkpoints import CheckpointMismatch, require_networks


class WarmStartError(UserError):
    """A checkpoint that a training cannot begin with; the message is one line."""


def warm_start(
    path: Path | str,
    policy: Policy,
    critic: Critic,
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actions: Mapping[str, Any],
    init_std: float,
) -> None:
    """Give `policy` and `critic` a checkpoint's averaged policy, its critic, and their normalisers.

    Task, motion prior, optimisers and counters are the new training's own, so standing may lead to
    walking, and walking to walking in style. The spread of the actions begins at `init_std` again.

    Raises:
        WarmStartError: the file is no checkpoint of this project, or one for another robot, for
            other observations or actions, or of networks of another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise WarmStartError(f"model.warm_start: no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content["state_dict"]
        read = {name: layouts[name] for name in ("observation", "critic_observation")}
        require_networks(content, read, robot_digest, policy.hparams, actions)
    except (CheckpointMismatch, LayoutMismatch) as error:
        raise WarmStartError(f"model.warm_start {path}: {error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, KeyError, TypeError) as error:
        raise WarmStartError(
            f"model.warm_start: {path} is no checkpoint of wildrobot_torch "
            f"({type(error).__name__}); give a .ckpt that `wildrobot fit` wrote"
        ) from error
    for what, prefix, module in (("actor", WEIGHTS_PREFIX, policy), ("critic", "critic.", critic)):
        _load(module, what, prefix, weights, path)
    with torch.no_grad():
        policy.log_std.fill_(math.log(init_std))


def _load(
    module: nn.Module, what: str, prefix: str, weights: Mapping[str, torch.Tensor], path: Path
) -> None:
    mine = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
    try:
        module.load_state_dict(mine)
    except RuntimeError as error:
        raise WarmStartError(
            f"model.warm_start: the {what} of {path} has another shape; set model.network as it was"
        ) from error
