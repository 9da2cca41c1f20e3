"""Tests of deploy/quantize.py: int8 weights, the same contract, and a suite that decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from wildrobot_torch.deploy.card import model_card
from wildrobot_torch.deploy.quantize import Int8, compare, quantize
from wildrobot_torch.deploy.runtime.bundle import described
from wildrobot_torch.evaluation.suites import load_suite
from wildrobot_torch.files import WALKING_POLICY


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "policy_int8.onnx"
    quantize(WALKING_POLICY, out)
    return out


def test_the_layers_are_int8_and_the_contract_is_the_same(int8: Path) -> None:
    kinds = [node.op_type for node in onnx.load(str(int8)).graph.node]
    assert kinds.count("MatMulInteger") == 3 and "Gemm" not in kinds
    assert int8.stat().st_size < 0.4 * WALKING_POLICY.stat().st_size
    one, two = (described(path.read_bytes(), "it") for path in (WALKING_POLICY, int8))
    assert one[0] == two[0] and "opset" in two[2]


def test_actions_stay_near(int8: Path) -> None:
    generator = np.random.default_rng(0)
    apart = []
    sessions = [onnxruntime.InferenceSession(str(path)) for path in (WALKING_POLICY, int8)]
    for _ in range(100):
        observation = generator.normal(0.0, 0.5, (1, 184)).astype(np.float32)
        one, two = (session.run(None, {"obs": observation})[0] for session in sessions)
        apart.append(np.abs(one - two).max())
    # Weights within 1/254 of the largest of each output: actions differ, and by little.
    assert 1e-4 < max(apart) < 0.2


def test_the_suite_counts_both_on_the_same_episodes(int8: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "defaults: {servo: {model: robot}, seconds: 2.0, settle_s: 1.0, seed: 1}\n"
        "entries:\n"
        "  flat:\n    title: flat\n    commands: [0.3]\n    episodes: 6\n"
        "    success: {fallen: {max: 0}}\n"
        "  never:\n    title: none can\n    commands: [0.3]\n    episodes: 2\n"
        "    success: {speed_error: {max: 0.000001}}\n"
    )
    found = compare(WALKING_POLICY, int8, load_suite(file), lambda line: None)
    assert found == Int8(8, 0.75, 0.75) and found.passes


def test_two_points_less_are_allowed_and_no_more() -> None:
    assert Int8(100, 0.9, 0.88).passes and Int8(100, 0.9, 0.95).passes
    assert not Int8(100, 0.9, 0.87).passes


def test_the_card_says_what_was_found() -> None:
    spec, _, _ = described(WALKING_POLICY.read_bytes(), "it")

    def card(int8: Int8 | str) -> str:
        return model_card(spec, {"tilt_deg": 60.0}, None, {"trained": 200}, int8)

    assert "policy_int8.onnx is here: 89.0 % of 100 episodes" in card(Int8(100, 0.9, 0.89))
    assert "policy_int8.onnx was left out: 50.0 %" in card(Int8(100, 0.9, 0.5))
    assert "There is no policy_int8.onnx: it was not asked for" in card("it was not asked for")
