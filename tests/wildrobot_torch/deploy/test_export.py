"""Tests of wildrobot_torch/deploy/export.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from envs.errors import RunError, UserError
from envs.layout import LayoutMismatch
from envs.robot.spec import RobotSpec
from envs.task.actions import ActionConfig, filtered_action_to_ctrl
from envs.task.observations import ObservationConfig, observation_layout
from tests.tasks import SIMULATOR
from wildrobot_torch.deploy import export
from wildrobot_torch.deploy.export import export_onnx, probe_observations
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.policy_file import PolicyFileError, load_policy

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def exported(make_checkpoint: MakeCheckpoint, tmp_path: Path, robot: RobotSpec) -> Path:
    out = tmp_path / "policy.onnx"
    assert export_onnx(make_checkpoint(), out, robot) <= export.TOLERANCE
    return out


def test_the_file_alone_reproduces_the_policy(exported: Path, policy: Policy) -> None:
    session = onnxruntime.InferenceSession(exported)
    observation = torch.randn(3, 39) * 4.0
    (action,) = session.run(["actions"], {"obs": observation.numpy()})
    assert np.abs(action - policy.act(observation).detach().numpy()).max() < 1e-5
    assert [node.op_type for node in onnx.load(exported).graph.node].count("Gemm") == 3


def test_actions_stay_in_range_for_any_finite_observation(exported: Path) -> None:
    loaded = load_policy(exported)
    for scale in (0.0, 1.0, 1e6, 1e30):
        action = loaded(scale * torch.randn(64, 39))
        assert action.shape == (64, 8)
        assert bool((action.abs() <= 1.0).all())


def test_checkpoint_and_onnx_load_alike(exported: Path, make_checkpoint: MakeCheckpoint) -> None:
    from_onnx, from_checkpoint = load_policy(exported), load_policy(make_checkpoint())
    assert from_onnx.layout == from_checkpoint.layout
    assert from_onnx.robot_digest == from_checkpoint.robot_digest
    assert from_onnx.env_steps == from_checkpoint.env_steps == 12345
    assert from_onnx.task == from_checkpoint.task


def test_metadata_tell_how_actions_become_joint_targets(exported: Path, robot: RobotSpec) -> None:
    spec = json.loads(onnx_metadata(exported)["policy_spec"])
    assert spec["joint_names"] == list(robot.joint_names)
    assert spec["ctrl_dt"] == 0.02
    filtered = torch.tensor([0.1, -0.1, 0.05, 0.0, 0.1, -0.1, 0.05, 0.2])
    targets = (
        torch.tensor(spec["action"]["offset"]) + torch.tensor(spec["action"]["gain"]) * filtered
    )
    in_env = filtered_action_to_ctrl(filtered[None], robot, ActionConfig())[0]
    low, high = robot.joint_range.T
    inside = (targets > low) & (targets < high)
    assert int(inside.sum()) >= 6
    assert torch.allclose(targets[inside], in_env[inside], atol=1e-6)


def test_the_file_does_not_tell_where_it_was_made(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in content
    assert b".py" not in content


def test_lists_for_other_tools_have_one_entry_per_joint(exported: Path, robot: RobotSpec) -> None:
    metadata = onnx_metadata(exported)
    assert metadata["joint_names"].split(",") == list(robot.joint_names)
    for key in ("joint_stiffness", "joint_damping", "default_joint_pos", "action_scale"):
        assert len([float(value) for value in metadata[key].split(",")]) == 8
    assert float(metadata["joint_stiffness"].split(",")[0]) == pytest.approx(
        float(robot.kp[0]), abs=1e-3
    )


def onnx_metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_another_robot_or_layout_is_refused_and_nothing_is_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, robot: RobotSpec
) -> None:
    out = tmp_path / "policy.onnx"
    with pytest.raises(PolicyFileError, match="robot"):
        export_onnx(make_checkpoint(robot_digest="f" * 16), out, robot)
    fields = (*SIMULATOR.policy[:-1], "height")  # not heading_error
    seen = ObservationConfig(profile="simulator", fields=fields, critic_fields=())
    other = observation_layout(robot, seen).to_dict()
    with pytest.raises(LayoutMismatch, match="heading_error"):
        export_onnx(make_checkpoint(observation_layout=other), out, robot)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_a_policy_that_is_not_a_number_is_refused_and_the_old_file_stays(
    exported: Path,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    policy: Policy,
    robot: RobotSpec,
) -> None:
    before = exported.read_bytes()
    with torch.no_grad():
        policy.net[0].weight[0, 0] = float("nan")
    with pytest.raises(RunError, match="differ by nan"):
        export_onnx(make_checkpoint(), exported, robot)
    assert exported.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "policy.onnx"}


def test_disagreement_with_torch_is_refused(
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    robot: RobotSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written"):
        export_onnx(make_checkpoint(), tmp_path / "policy.onnx", robot)
    assert not (tmp_path / "policy.onnx").exists()


def test_another_kind_of_file_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.onnx"):
        export_onnx(make_checkpoint(), tmp_path / "policy.pt")


def test_observations_compared_reach_beyond_the_normalisers_clip(policy: Policy) -> None:
    batches = probe_observations(policy)
    assert {len(batch) for batch in batches} == {1, 2, 7, 512}
    norm = policy.normalizer
    clipped = [bool((norm(batch).abs() == norm.clip).any()) for batch in batches]
    assert any(clipped) and not all(clipped)
