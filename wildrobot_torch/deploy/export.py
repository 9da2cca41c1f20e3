"""ONNX export of a checkpoint's policy, checked against torch before the file appears."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from envs.config import LocomotionConfig
from envs.errors import RunError, UserError
from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from envs.task.observations import observation_layout
from wildrobot_torch.deploy.runtime.checks import require_sound
from wildrobot_torch.deploy.specification import specification
from wildrobot_torch.deploy.trained import training_of
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.policy_file import SPEC_KEY, ActorCheckpoint, load_policy, read_checkpoint

TOLERANCE = 1e-5
"""Largest difference allowed between the actions of ONNX and torch."""
BATCHES = (1, 2, 7, 512)
"""Batch sizes the two are compared at."""


class DeployNet(nn.Module):
    """Observations to actions, normaliser and clip inside, and nothing else in the graph."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor) -> Tensor:
        """Actions (E, A) in [-1, 1] of observations (E, O)."""
        return self.policy.act(obs)


def export_onnx(checkpoint: Path | str, out: Path | str, robot: RobotSpec | None = None) -> float:
    """Write a checkpoint's policy as an ONNX file of one input `obs` and one output `actions`.

    The file appears only after onnxruntime and torch agree on it to `TOLERANCE`; returned is the
    largest difference of any action. `robot` is the robot it is for; None for the one that the
    checkpoint names.

    Raises:
        PolicyFileError: no such checkpoint, or one for another robot.
        LayoutMismatch: a checkpoint of another observation layout, field by field.
        UserError: `out` is no .onnx file.
        RunError: the exported graph disagrees with torch; no file is written.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise UserError(f"policies are exported as .onnx files; got {str(out)!r}")
    found = read_checkpoint(checkpoint)
    robot = load_robot(found.policy.robot).robot if robot is None else robot
    task = found.policy.task
    found.policy.require(observation_layout(robot, task.observation), robot.digest)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.stem}.{os.getpid()}.onnx")
    try:
        model = policy_graph(found.actor)
        opset = next(entry.version for entry in model.opset_import if not entry.domain)
        onnx.helper.set_model_props(model, policy_metadata(found, robot, task, opset))
        onnx.save(model, str(partial))
        onnx.checker.check_model(str(partial), full_check=True)
        exported = load_policy(partial)
        with torch.no_grad():
            apart = [
                (exported(x) - found.actor.act(x)).abs().max()
                for x in probe_observations(found.actor)
            ]
        difference = float(torch.stack(apart).max())  # NaN if any is
        if not difference <= TOLERANCE:  # also refuses NaN
            raise RunError(
                f"onnxruntime and torch differ by {difference:.2e} on the policy of {checkpoint}, "
                f"allowed is {TOLERANCE:.0e}; nothing was written"
            )
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def policy_metadata(
    found: ActorCheckpoint, robot: RobotSpec, task: LocomotionConfig, opset: int
) -> dict[str, str]:
    """Metadata of the ONNX file, all of it text.

    `policy_spec` has everything as JSON in full precision. The other entries are named and
    written as rsl_rl-based exporters do, lists separated by commas, for tools that read those.
    """
    spec = specification(found, robot, task, training_of(found), opset)
    require_sound(spec, f"the contract of {found.policy.path}", opset)
    names = [field.name for field in found.policy.layout.fields]
    lists = {
        "joint_stiffness": spec["kp"],
        "joint_damping": spec["kv"],
        "default_joint_pos": spec["default_joint_pos"],
        "action_offset": spec["action"]["offset"],
        "action_scale": spec["action"]["gain"],
    }
    return {
        SPEC_KEY: json.dumps(spec),
        "run_path": found.policy.path.name,
        "joint_names": ",".join(robot.joint_names),
        **{name: ",".join(f"{x:.3f}" for x in values) for name, values in lists.items()},
        "command_names": ",".join(
            name for name in names if name in ("command", "velocity_command")
        ),
        "observation_names": ",".join(names),
    }


def probe_observations(policy: Policy, seed: int = 0) -> list[Tensor]:
    """Batches (n, O) of typical and of extreme observations, n in `BATCHES`.

    Typical ones are drawn as the normaliser saw them; extreme ones are 0, and multiples of that
    far beyond the normaliser's clip.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, std = policy.normalizer.mean.cpu(), policy.normalizer.var.cpu().sqrt()
    batches = []
    for num in BATCHES:
        drawn = torch.randn(num, len(mean), generator=generator)
        batches += [mean + std * drawn, mean + 30.0 * std * drawn, 1e4 * drawn, 0.0 * drawn]
    return batches


def policy_graph(policy: Policy) -> onnx.ModelProto:
    """The policy as an ONNX model of one input `obs` and one output `actions`."""
    # Two rows: a batch of one would be taken for a constant.
    example = torch.zeros(2, policy.hparams["obs_size"])
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it notes that torchvision, which nothing here uses, is absent
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself
            program = torch.onnx.export(
                DeployNet(policy).eval(), (example,), input_names=["obs"],
                output_names=["actions"], dynamo=True, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
    finally:
        logger.setLevel(level)
    assert program is not None
    program.optimize()
    model = program.model_proto
    # The exporter notes where each node comes from: source lines, with the paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del part.metadata_props[:]
    return model
