"""Tests of deploy/runtime/checks.py: what is absent is no evidence, what is wrong refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from envs.layout import Layout
from wildrobot_torch.contract import ContractError
from wildrobot_torch.deploy.runtime.checks import layout_digest, opset_of, parse, require_sound
from wildrobot_torch.files import WALKING_POLICY

EARLIER = Path(__file__).parents[3] / "data" / "walking_policy.onnx"


def spec_of(path: Path) -> dict[str, Any]:
    return parse({p.key: p.value for p in onnx.load(path).metadata_props}, str(path))


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return spec_of(WALKING_POLICY)


@pytest.mark.parametrize("path", [WALKING_POLICY, EARLIER], ids=["shipped", "earlier"])
def test_files_of_this_version_and_of_an_earlier_one_are_sound(path: Path) -> None:
    assert "joints" in require_sound(spec_of(path), "it")


def test_the_digest_is_that_of_the_environments_layout(shipped: dict[str, Any]) -> None:
    layout = shipped["observation_layout"]
    assert layout_digest(layout) == Layout.from_dict(layout).digest


@pytest.mark.parametrize("path", [WALKING_POLICY, EARLIER], ids=["shipped", "earlier"])
def test_the_operator_set_is_read_as_onnx_reads_it(path: Path) -> None:
    (opset,) = (e.version for e in onnx.load(path).opset_import if not e.domain)
    assert opset_of(path.read_bytes()) == opset


def test_bytes_that_are_no_model_have_no_operator_set() -> None:
    whole = WALKING_POLICY.read_bytes()
    for data in (b"", b"no model at all", whole[:1000], b"\xff" * 40):
        with pytest.raises(ContractError):
            opset_of(data)


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *names, last, value = path

    def change(spec: dict[str, Any]) -> None:
        for name in names:
            spec = spec[name] if isinstance(name, int) else spec.setdefault(name, {})
        spec[last] = value

    return change


WRONG = {
    "another format": (_set("format", 2), "format 2"),
    "joint twice": (_set("joint_names", 1, "left_hip_pitch"), "repeat"),
    "one range short": (lambda s: s["joint_range"].pop(), "joint_range"),
    "range upside down": (_set("joint_range", 2, [1.4, 0.0]), "left_knee_pitch"),
    "home out of range": (_set("default_joint_pos", 2, 3.0), "out of its range"),
    "not finite": (_set("kp", 0, float("nan")), "not finite"),
    "speed of 0": (_set("joint_max_velocity", 3, 0.0), "above 0"),
    "gain of another mapping": (_set("action", "gain", 0, 0.5), "mapping 'home'"),
    "offset moved": (_set("action", "offset", 1, 0.2), "mapping 'home'"),
    "unknown mapping": (_set("action", "mapping", "degrees"), "degrees"),
    "filter of 1": (_set("action", "filter", 1.0), "filter"),
    "filter not as trained": (_set("action", "filter", 0.6), "0.6"),
    "unit changed": (_set("observation_layout", "fields", 1, "unit", "deg/s"), "digest"),
    "frame changed": (_set("observation_layout", "fields", 0, "frame", "body"), "digest"),
    "size changed": (_set("observation_layout", "fields", 0, "size", 4), "imu_gravity"),
    "history of others": (_set("history", {"steps": 4, "fields": ["command"]}), "history of 4"),
    "control step": (_set("ctrl_dt", 20.0), "ctrl_dt"),
    "another control step": (_set("ctrl_dt", 0.01), "ctrl_dt"),
    "delay below 0": (_set("delays_ms", {"joint_age": [-1.0, 5.0]}), "joint_age"),
    "delay upside down": (_set("delays_ms", {"imu_age": [20.0, 5.0]}), "imu_age"),
    "envelope wider": (_set("envelope", "commands", "forward", [0.05, 2.0]), "forward"),
    "no action": (lambda s: s.pop("action"), "'action'"),
    "text for numbers": (_set("joint_range", "all"), "cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_there_and_wrong_refuses_in_one_line(shipped: dict[str, Any], name: str) -> None:
    change, words = WRONG[name]
    spec = copy.deepcopy(shipped)
    change(spec)
    with pytest.raises(ContractError, match=words) as raised:
        require_sound(spec, "policy.onnx")
    assert str(raised.value).startswith("policy.onnx: ") and "\n" not in str(raised.value)


def test_the_graph_must_be_the_contracts(shipped: dict[str, Any]) -> None:
    assert "opset" in require_sound(shipped, "it", opset=20, sizes=(184, 8))
    with pytest.raises(ContractError, match="from 184 to 9"):
        require_sound(shipped, "it", sizes=(184, 9))
    with pytest.raises(ContractError, match="opset 20, the graph has 17"):
        require_sound({**shipped, "opset": 20}, "it", opset=17)


@pytest.mark.parametrize("name", ["format", "history", "delays_ms", "envelope", "opset", "servo",
                                  "provenance", "frames", "kp", "metrics"])  # fmt: skip
def test_what_is_absent_is_no_evidence(shipped: dict[str, Any], name: str) -> None:
    require_sound({k: v for k, v in shipped.items() if k != name}, "it")


def test_no_contract_is_no_policy() -> None:
    with pytest.raises(ContractError, match="wildrobot export"):
        parse({}, "policy.onnx")
    with pytest.raises(ContractError, match="no JSON"):
        parse({"policy_spec": "{"}, "policy.onnx")
    with pytest.raises(ContractError, match="a list"):
        parse({"policy_spec": json.dumps([1])}, "policy.onnx")
