"""What a policy was trained with and by: the whole task, and where the checkpoint comes from."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import wildrobot_torch
from envs.config import TRAINED_SETTINGS, LocomotionConfig
from envs.tasks import task_for
from envs.yaml_files import from_mapping, read_yaml
from wildrobot_torch.ppo.policy_file import ActorCheckpoint, PolicyFileError

PACKAGE = "wildrobot-torch"


@dataclass(frozen=True)
class Training:
    """What is known of the training of a checkpoint; what nothing says is absent."""

    task: LocomotionConfig | None
    """The task with its randomisation, pushes and faults; None where neither the checkpoint nor a
    run's settings beside it say it."""
    provenance: dict[str, Any]
    """Plain values: versions, dates, seeds; no paths."""


def training_of(found: ActorCheckpoint) -> Training:
    """What the checkpoint says of its training, and the run's folder around it.

    A run's folder is RUN where the checkpoint is RUN/checkpoints/NAME.ckpt and RUN/config.yaml is.

    Raises:
        UserError: the run's settings cannot be read, or are of another task than the checkpoint's.
    """
    path = found.policy.path
    provenance: dict[str, Any] = {
        "package": PACKAGE,
        **exporter(),
        "checkpoint": path.name,
        "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "env_steps": found.policy.env_steps,
    }
    task, seed = None, found.seed
    if found.trained_task is not None:
        task = _task(found.trained_task, f"the trained task stored in {path}")
    folder = path.resolve().parent.parent
    if path.resolve().parent.name == "checkpoints" and (folder / "config.yaml").is_file():
        settings = _run(folder)
        provenance |= settings.provenance
        task = settings.task if task is None else task
    if seed is not None:
        provenance["seed"] = seed
    if task is not None:
        _require_same(task, found, path)
    return Training(task, provenance)


def _run(folder: Path) -> Training:
    """What a run's folder says."""
    file = folder / "config.yaml"
    content = read_yaml(file)
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise PolicyFileError(f"{file} holds no settings of a training; restore or remove it")
    task = _task(content["data"].get("env", {}), f"{file}: data.env")
    task = task_for(task, content["data"].get("robot"))
    found: dict[str, Any] = {}
    if isinstance(content.get("seed"), int):
        found["seed"] = content["seed"]
    warm = (content.get("model") or {}).get("warm_start")
    if isinstance(warm, str):
        found["warm_start"] = Path(warm).name
    if match := re.match(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)", folder.name):
        found["training_began"] = f"{match[1]}T{match[2]}:{match[3]}:{match[4]}"
    if overlays := _overlays(folder / "command.txt"):
        found["recipe"] = overlays
    if (about := folder / "environment.json").is_file():
        environment = json.loads(about.read_text(encoding="utf-8"))
        if environment.get("commit"):
            found["training_commit"] = environment["commit"]
        if trained := environment.get("packages", {}).get(PACKAGE):
            found["training_version"] = trained
    return Training(task, found)


def _task(content: Any, where: str) -> LocomotionConfig:
    """The task of `TRAINED_SETTINGS`, the rest at its defaults."""
    if not isinstance(content, dict):
        raise PolicyFileError(f"{where} is {content!r}; give names with values")
    known = (*TRAINED_SETTINGS, "robot", "as_written")
    kept = {name: value for name, value in content.items() if name in known}
    return from_mapping(LocomotionConfig, kept, where, PolicyFileError)


def _overlays(command: Path) -> list[str]:
    """Names of the settings files that a training was started with, without their folders."""
    if not command.is_file():
        return []
    words = command.read_text(encoding="utf-8").split()
    named = [b for a, b in pairwise(words) if a == "--config"]
    named += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    return [Path(name).stem for name in named]


def _require_same(task: LocomotionConfig, found: ActorCheckpoint, path: Path) -> None:
    """Refuse settings that are not those of the checkpoint."""
    stored = found.policy.task
    for name in ("ctrl_dt", "action", "observation", "command"):
        if getattr(task, name) != getattr(stored, name):
            raise PolicyFileError(
                f"{path}: the run's settings beside it have another {name} than the checkpoint; "
                "one of the two was moved or changed. Put the checkpoint back into its own run"
            )


def exporter() -> dict[str, str]:
    """Version of this package, and its commit where it is run from its git checkout."""
    found: dict[str, str] = {}
    with suppress(PackageNotFoundError):
        found["version"] = version(PACKAGE)
    if commit := _commit(Path(wildrobot_torch.__file__).parents[1]):
        found["commit"] = commit
    return found


def _commit(root: Path) -> str:
    """Commit of a checkout, with `+changes` where files differ from it; "" for no checkout."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10)

    try:
        top = git("rev-parse", "--show-toplevel").stdout.strip()
        if not top or Path(top).resolve() != root.resolve():
            return ""  # an installed package inside somebody else's checkout
        commit = git("rev-parse", "HEAD").stdout.strip()
        return commit + ("+changes" if commit and git("diff", "--quiet", "HEAD").returncode else "")
    except (OSError, subprocess.SubprocessError):
        return ""
