"""Which checkpoints a training may go on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from envs.errors import UserError
from envs.layout import Layout
from wildrobot_torch.amp.config import AMPConfig
from wildrobot_torch.ppo.average import NO_AVERAGE, WEIGHTS_PREFIX

SHAPING = (
    "window", "features", "stages", "hidden", "activation", "spectral_norm", "loss",
)  # fmt: skip
"""Settings of the motion prior that its weights are good for as they were only."""


class CheckpointMismatch(UserError):
    """A checkpoint does not fit the run; the message says in what."""


def short(name: str) -> str:
    """A layout's name as in a checkpoint's keys."""
    return {"critic_observation": "critic"}.get(name, name)


def require_networks(
    checkpoint: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actor: Mapping[str, Any],
    actions: Mapping[str, Any],
) -> None:
    """Refuse a checkpoint whose actor and critic are for another robot, or read or act otherwise.

    Args:
        checkpoint: as it was loaded.
        layouts: of what the networks read.
        robot_digest: version of the robot.
        actor: shape of the policy as it is trained.
        actions: how actions become joint targets (`ActionConfig` as a dict).

    Raises:
        CheckpointMismatch: another robot, other networks, actions that mean something else, or no
            averaged policy.
        LayoutMismatch: with a field-by-field difference.
    """
    about = checkpoint["wildrobot"]
    for name, layout in layouts.items():
        found = Layout.from_dict(about[f"{short(name)}_layout"])
        layout.require(found, f"the checkpoint's {name}")
    if about["robot_digest"] != robot_digest:
        raise CheckpointMismatch(
            f"the checkpoint is for robot {about['robot_digest']}, this one is {robot_digest}"
        )
    # `actor` is the averaged one, which may have less asymmetry.
    if (trained := checkpoint.get("trained_actor", checkpoint["actor"])) != actor:
        raise CheckpointMismatch(
            f"the checkpoint's actor is {trained}, this run's {actor}; set model.network as it was"
        )
    if not any(name.startswith(WEIGHTS_PREFIX) for name in checkpoint["state_dict"]):
        raise CheckpointMismatch(f"the checkpoint has {NO_AVERAGE}")
    for name, here in actions.items():
        if (was := about["env_config"]["action"].get(name)) != here:
            raise CheckpointMismatch(
                f"the checkpoint's actions have {name} {was}, this run's {here}; set "
                f"data.env.action.{name} as it was"
            )


def require_fit(
    checkpoint: Mapping[str, Any],
    layouts: Mapping[str, Layout],
    robot_digest: str,
    actor: Mapping[str, Any],
    actions: Mapping[str, Any],
    amp: AMPConfig | None,
) -> None:
    """Refuse a checkpoint of other layouts, another robot, or other networks or actions.

    Args:
        checkpoint: as it was loaded.
        layouts: of the task; that of style features counts with a motion prior only.
        robot_digest: version of the robot.
        actor: shape of the policy as it is trained.
        actions: how actions become joint targets (`ActionConfig` as a dict).
        amp: settings of the motion prior; None without one.

    Raises:
        CheckpointMismatch: no checkpoint of this project, another robot, or other networks.
        LayoutMismatch: with a field-by-field difference.
    """
    if not {"wildrobot", "actor", "training"} <= set(checkpoint):
        raise CheckpointMismatch("the checkpoint was not written by wildrobot_torch")
    trained = checkpoint["training"]["amp"]
    read = {name: lay for name, lay in layouts.items() if name != "amp" or amp is not None}
    require_networks(checkpoint, read, robot_digest, actor, actions)
    if (trained is None) != (amp is None):
        raise CheckpointMismatch(
            f"the checkpoint was trained {'without' if trained is None else 'with'} a motion "
            "prior; set model.amp as it was"
        )
    if amp is None or trained is None:
        return
    here = asdict(amp)
    for name in SHAPING:
        # As JSON, which knows no difference between tuples and lists.
        was, now = (json.dumps(settings.get(name)) for settings in (trained, here))
        if was != now:
            raise CheckpointMismatch(
                f"the checkpoint's motion prior has {name} {was}, this run's {now}; set "
                f"model.amp.{name} as it was"
            )
