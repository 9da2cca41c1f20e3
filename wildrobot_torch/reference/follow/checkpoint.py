"""A tracker's training on disk: an interrupted one goes on, a finished one is not repeated."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from envs.errors import UserError
from envs.layout import Layout
from envs.locomotion import LocomotionEnv
from envs.step import Episode
from wildrobot_torch.reference.follow.tracking import (
    ARRIVAL_S,
    IMITATION,
    STOP_ROOM,
    ClipStates,
    TrackingConfig,
)


def training_key(
    clips: ClipStates, config: TrackingConfig, env: LocomotionEnv, seen: Layout
) -> str:
    """64 hex digits over all that a training's result depends on, the code apart.

    Args:
        clips: what is followed.
        config: task and training.
        env: the simulations, with their settings, engine and robot.
        seen: layout of what the tracker observes.
    """
    about = {
        "tracking": asdict(config),
        "imitation": IMITATION,
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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"key": key, "state": state}, file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_training(path: Path, key: str) -> dict[str, Any] | None:
    """The state in a file; None without one, or when it is of another training.

    Raises:
        ValueError: the file is there but not readable.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["key"], content["state"]
    except Exception as error:  # a damaged file raises nearly anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"tracker {path}: not readable ({type(error).__name__}: {reason}); remove it to train "
            "anew"
        ) from error
    return state if found == key else None
