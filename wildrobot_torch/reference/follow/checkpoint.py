"""A tracker's training on disk: an interrupted one goes on, a finished one is not repeated."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from envs.layout import Layout
from envs.step import Episode
from wildrobot_torch.reference.follow.tracking import ClipStates, TrackingConfig


def training_key(
    clips: ClipStates, config: TrackingConfig, robot_digest: str, seen: Layout, physics: str
) -> str:
    """64 hex digits over all that a training's result depends on.

    Args:
        clips: what is followed.
        config: task and length of training.
        robot_digest: the robot's version.
        seen: layout of what the tracker observes.
        physics: the engine.
    """
    sha = hashlib.sha256(repr((sorted(asdict(config).items()), robot_digest, physics)).encode())
    sha.update(seen.digest.encode())
    # A training of a version that keeps other things of an episode cannot be gone on with.
    sha.update(repr(sorted(f.name for f in fields(Episode))).encode())
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
        raise ValueError(
            f"tracker {path}: not readable ({type(error).__name__}: {reason}); remove it to train "
            "anew"
        ) from error
    return state if found == key else None
