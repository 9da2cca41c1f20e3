"""Policies from files, checkpoint or ONNX, with what their inputs and outputs mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.layout import Layout
from envs.yaml_files import from_mapping
from wildrobot_torch.files import load_tensors
from wildrobot_torch.ppo.average import WEIGHTS_PREFIX
from wildrobot_torch.ppo.networks import Policy

SPEC_KEY = "policy_spec"
"""Metadata entry of an ONNX file that holds the whole description as JSON, in full precision."""

CHECKPOINT_FORMAT = "0.4"
"""First version of the project whose checkpoints are like those of this one."""


class PolicyFileError(UserError):
    """A file holds no policy of this project, or one that does not fit; the message says why."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A deterministic policy and the description that travels with it."""

    path: Path
    layout: Layout
    """Observation the policy expects."""
    robot_digest: str
    """Version of the robot description it was trained on."""
    env_config: dict[str, Any]
    """`POLICY_SETTINGS` of the task it was trained on, as plain containers."""
    env_steps: int
    """Environment steps it was trained for."""
    act: Callable[[Tensor], Tensor]
    """Observation (E, O) to action (E, A), both float32 on the CPU."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Action (E, A) in [-1, 1] for observations (E, O), on their device.

        A ValueError where their size is not that of the policy's layout.
        """
        if observation.ndim != 2 or observation.shape[1] != self.layout.size:
            raise ValueError(
                f"observation has shape {tuple(observation.shape)}, {self.path} expects "
                f"(num_envs, {self.layout.size})"
            )
        with torch.no_grad():
            return self.act(observation.to("cpu", torch.float32)).to(observation.device)

    @property
    def task(self) -> LocomotionConfig:
        """The task with the policy's own `POLICY_SETTINGS`, the rest at its defaults.

        Raises:
            PolicyFileError: a setting is unknown to this version, or out of its range.
        """
        where = f"the task stored in {self.path}"
        # A file that names neither servo nor profile is of a version that knew only the ideal ones.
        stored = {"servo": {"model": "ideal"}, "observation": {}, **self.env_config}
        stored.pop("sim_dt", None)  # that of its training, in files of earlier versions
        if isinstance(stored["observation"], dict):
            stored["observation"] = {"profile": "simulator", **stored["observation"]}
        return from_mapping(LocomotionConfig, stored, where, PolicyFileError)

    @property
    def robot(self) -> str:
        """Name of the robot it was trained for, or its folder."""
        return str(self.env_config.get("robot", LocomotionConfig.robot))

    def on(self, robot: str | None) -> LoadedPolicy:
        """The policy for a robot in another place, by name or folder; None for its own."""
        if robot is None:
            return self
        return replace(self, env_config={**self.env_config, "robot": robot})

    def require(self, layout: Layout, robot_digest: str) -> None:
        """Refuse an environment of another observation layout or robot.

        Raises:
            LayoutMismatch: with a field-by-field difference.
            PolicyFileError: another robot.
        """
        layout.require(self.layout, str(self.path))
        if self.robot_digest != robot_digest:
            raise PolicyFileError(
                f"{self.path} was made for robot {self.robot_digest}, this one is {robot_digest}; "
                "train again, or use the robot description it was trained with (--robot)"
            )


@dataclass(frozen=True)
class ActorCheckpoint:
    """What a checkpoint tells of its policy."""

    policy: LoadedPolicy
    actor: Policy
    metrics: dict[str, float]
    """Of the evaluation made when it was written."""
    trained_task: dict[str, Any] | None = None
    """`TRAINED_SETTINGS` of the task as plain containers; None where the file does not say."""
    seed: int | None = None
    """Of the training; None likewise."""


def load_policy(path: Path | str, robot: str | None = None) -> LoadedPolicy:
    """Policy of a checkpoint (.ckpt) or of an exported file (.onnx).

    `robot` is the name or folder of the robot it is to drive; None for the one it names itself.

    Raises:
        PolicyFileError: no such file, another kind of file, or one that cannot be read.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return _load_onnx(path).on(robot)
    if path.suffix == ".ckpt":
        return read_checkpoint(path).policy.on(robot)
    raise PolicyFileError(f"policy is {str(path)!r}; allowed: a .ckpt or an .onnx file")


def require_format(content: Mapping[str, Any], name: str) -> None:
    """Refuse the content of a checkpoint that another version or program wrote.

    Raises:
        PolicyFileError: says which file by its `name`, the version and what to do.
    """
    about = content.get("wildrobot")
    if not isinstance(about, dict) or "state_dict" not in content:
        raise PolicyFileError(f"{name} was not written by `wildrobot fit`; give one that it wrote")
    if (found := about.get("format", "0.3")) != CHECKPOINT_FORMAT:
        raise PolicyFileError(
            f"{name} was written by version {found} of wildrobot_torch and cannot be read by this "
            "one; train again, or use that version"
        )


def load_checkpoint(path: Path | str, what: str = "checkpoint") -> dict[str, Any]:
    """Content of a checkpoint that this version can read, on the CPU; `what` names it in errors.

    Raises:
        UserError: no such file, another kind of file, or one of another version.
    """
    content = load_tensors(path, what, "give a .ckpt that `wildrobot fit` wrote")
    require_format(content, f"{what} {path}")
    return content


def read_checkpoint(path: Path | str) -> ActorCheckpoint:
    """Actor and description in a checkpoint; needs neither Lightning nor an environment.

    Raises:
        UserError: the file is missing, broken, or holds no policy of this project.
    """
    path = Path(path)
    content = load_checkpoint(path)
    try:
        actor, about = Policy(**content["actor"]).eval(), content["wildrobot"]
        actor.load_state_dict(with_prefix(WEIGHTS_PREFIX, content["state_dict"]))
        policy = _described(path, about, actor.hparams["obs_size"], actor.act)
        trained = about.get("trained_task"), about.get("seed")
        return ActorCheckpoint(policy, actor, about["metrics"], *trained)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def with_prefix(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, named without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _load_onnx(path: Path) -> LoadedPolicy:
    if not path.is_file():
        raise PolicyFileError(f"no file {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # small nets, many processes
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class but this
        raise _unreadable(path, error) from error
    (source,) = session.get_inputs()

    def act(observation: Tensor) -> Tensor:
        (action,) = session.run(None, {source.name: observation.numpy()})
        return torch.from_numpy(action)

    metadata = session.get_modelmeta().custom_metadata_map
    if SPEC_KEY not in metadata:
        raise PolicyFileError(
            f"{path} has no {SPEC_KEY!r} in its metadata; export it with `wildrobot export`"
        )
    try:
        return _described(path, json.loads(metadata[SPEC_KEY]), source.shape[1], act)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def _described(
    path: Path, about: dict[str, Any], size: int, act: Callable[[Tensor], Tensor]
) -> LoadedPolicy:
    """The policy with its description, which must fit a network of `size` observed values."""
    stored = about["observation_layout"]
    layout = Layout.from_dict(stored)
    if layout.digest != stored["digest"]:
        raise ValueError(
            f"it names layout {stored['digest']} but its fields make {layout.digest}; the file "
            "was altered"
        )
    if layout.size != size:
        raise ValueError(f"a network of {size} observed values and a layout of {layout.size}")
    return LoadedPolicy(
        path, layout, about["robot_digest"], about["env_config"], about["env_steps"], act
    )


def _unreadable(path: Path, error: Exception) -> PolicyFileError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    missing = "no entry " if isinstance(error, KeyError) else ""
    return PolicyFileError(f"{path} holds no policy of wildrobot_torch: {missing}{reason[0]}")
