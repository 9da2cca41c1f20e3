"""A tracker's training on disk: an interrupted one goes on, a finished one is not repeated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from envs.errors import UserError
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.step import Episode
from wildrobot_torch.files import atomic_write, load_tensors
from wildrobot_torch.reference.follow.tracking import (
    ARRIVAL_S,
    COSTS,
    FALL,
    IMITATION,
    MAX_DISTANCE,
    MAX_JOINT_ERROR,
    STOP_ROOM,
    ClipStates,
    TrackingConfig,
)

FORMAT = 2
"""Version of the files; it changes with what they hold."""


def training_key(
    clips: ClipStates, config: TrackingConfig, env: LocomotionEnv, seen: Layout
) -> str:
    """64 hex digits over all that a training's result depends on, the code apart.

    `seen` is the layout of what the tracker observes.
    """
    about = {
        "tracking": asdict(config),
        "imitation": IMITATION,
        "costs": COSTS,
        "ends": (asdict(FALL), MAX_JOINT_ERROR, MAX_DISTANCE),
        "stop_room": STOP_ROOM,
        "arrival_s": ARRIVAL_S,
        "env": asdict(env.config),
        "engine": type(env.backend).__name__,
        "device": env.backend.device.type,
        "robot": env.robot.digest,
        "layout": seen.digest,
        # The training's file holds these parts of the running episodes.
        "episode": [f.name for f in fields(Episode)],
    }
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, values in sorted(vars(clips).items()):
        array = values.detach().cpu().contiguous().numpy()
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def save_training(path: Path, key: str, state: dict[str, Any]) -> None:
    """Write a training's state, whole or not at all."""
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "key": key, "state": state}, file)


def load_training(path: Path, key: str) -> dict[str, Any] | None:
    """The state in a file; None without a file, or where it is of another training.

    Raises:
        UserError: the file cannot be read, or another version wrote it.
    """
    if not path.is_file():
        return None
    remedy = "remove it to train anew"
    content = load_tensors(path, "tracker", remedy)
    if content.get("format") != FORMAT:
        raise UserError(
            f"tracker {path} was written by another version of wildrobot_torch (0.3 or older, or a "
            f"newer one); {remedy}"
        )
    return content["state"] if content["key"] == key else None
