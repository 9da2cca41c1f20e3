"""Tests of wildrobot_torch/ppo/policy_file.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from envs.config import LocomotionConfig, policy_settings
from envs.errors import UserError
from envs.layout import LayoutMismatch
from envs.reality.servo import ServoConfig
from envs.robot.spec import RobotSpec
from envs.task.commands import CommandConfig
from envs.task.observations import ObservationConfig, observation_layout
from tests.tasks import SIMULATOR, ideal_task
from wildrobot_torch.ppo.networks import Policy
from wildrobot_torch.ppo.policy_file import PolicyFileError, load_policy

MakeCheckpoint = Callable[..., Path]
ROOT = Path(__file__).parents[3]


def test_a_checkpoint_gives_back_the_policy_and_what_it_was_trained_on(
    make_checkpoint: MakeCheckpoint, policy: Policy, robot: RobotSpec
) -> None:
    loaded = load_policy(make_checkpoint())
    observation = torch.randn(5, 39)
    assert torch.equal(loaded(observation), policy.act(observation).detach())
    assert not loaded(observation).requires_grad
    assert loaded.env_steps == 12345
    assert loaded.task == ideal_task()
    loaded.require(observation_layout(robot, SIMULATOR), robot.digest)


def test_changed_settings_of_the_task_survive(make_checkpoint: MakeCheckpoint) -> None:
    config = policy_settings(ideal_task(ctrl_dt=0.01))
    config["action"]["filter"] = 0.25
    task = load_policy(make_checkpoint(env_config=config)).task
    assert (task.action.filter, task.ctrl_dt) == (0.25, 0.01)


def test_what_a_policy_observes_and_drives_is_in_its_file(make_checkpoint: MakeCheckpoint) -> None:
    blind = CommandConfig(heading_hold=False, yaw_rate_max=0.5)
    for task in (
        LocomotionConfig(command=blind, servo=ServoConfig(model="envelope", deadband=0.0)),
        LocomotionConfig(observation=ObservationConfig(history=2)),
        ideal_task(command=blind),
    ):
        # As JSON, which is how an ONNX file holds them.
        stored = json.loads(json.dumps(policy_settings(task)))
        assert load_policy(make_checkpoint(env_config=stored)).task == task


def test_a_file_that_names_no_servo_and_no_profile_is_of_the_ideal_simulator() -> None:
    loaded = load_policy(ROOT / "tests/data/walking_policy.onnx")
    assert "servo" not in loaded.env_config
    task = loaded.task
    assert (task.servo.model, task.observation.profile) == ("ideal", "simulator")
    assert (task.observation.policy, task.observation.past) == (SIMULATOR.policy, 0)
    assert task.observation.critic == SIMULATOR.critic and loaded.layout.size == 39


def test_a_task_of_another_version_is_refused_in_one_line(make_checkpoint: MakeCheckpoint) -> None:
    config = policy_settings(ideal_task()) | {"gravity_on_tuesdays": 1.0}
    loaded = load_policy(make_checkpoint(env_config=config))
    with pytest.raises(PolicyFileError, match="gravity_on_tuesdays") as caught:
        _ = loaded.task
    assert "\n" not in str(caught.value)


def test_another_layout_or_robot_is_refused(
    make_checkpoint: MakeCheckpoint, robot: RobotSpec
) -> None:
    loaded = load_policy(make_checkpoint())
    without_heading = observation_layout(
        robot, ObservationConfig(profile="simulator", fields=("gravity",))
    )
    with pytest.raises(LayoutMismatch, match="heading_error"):
        loaded.require(without_heading, robot.digest)
    with pytest.raises(PolicyFileError, match="robot"):
        loaded.require(loaded.layout, "0" * 16)


@pytest.mark.parametrize("shape", [(39,), (3, 38), (2, 3, 39)])
def test_observations_of_another_shape_are_refused(
    make_checkpoint: MakeCheckpoint, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="expects"):
        load_policy(make_checkpoint())(torch.zeros(shape))


@pytest.mark.parametrize("name", ["none.ckpt", "none.onnx"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no file"):
        load_policy(tmp_path / name)


@pytest.mark.parametrize("name", ["policy.ckpt", "policy.onnx", "policy.pt"])
@pytest.mark.parametrize("content", [b"", b"not a policy", b"PK\x03\x04broken"])
def test_a_broken_or_unknown_file_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match="policy") as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}, "epoch": 3}, path)
    with pytest.raises(PolicyFileError, match="not written by `wildrobot fit`"):
        load_policy(path)


def test_a_checkpoint_of_version_0_3_is_refused_with_what_to_do(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    content = torch.load(make_checkpoint(), weights_only=True)
    del content["wildrobot"]["format"]
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(PolicyFileError, match=r"written by version 0\.3 .*train again") as caught:
        load_policy(tmp_path / "old.ckpt")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_read_without_running_code_in_it(tmp_path: Path) -> None:
    path = tmp_path / "hostile.ckpt"
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    torch.save({"wildrobot": Hostile()}, path)
    with pytest.raises(UserError, match="cannot be read"):
        load_policy(path)
    assert not marker.exists()


def test_an_altered_layout_is_noticed(make_checkpoint: MakeCheckpoint, robot: RobotSpec) -> None:
    layout = observation_layout(robot, SIMULATOR).to_dict()
    layout["fields"][1]["unit"] = "deg/s"
    with pytest.raises(PolicyFileError, match="altered"):
        load_policy(make_checkpoint(observation_layout=layout))


def test_an_onnx_file_of_another_program_is_refused(tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    with pytest.raises(PolicyFileError, match="policy_spec"):
        load_policy(path)
