"""Tests of the simulators: the same body in each, mistakes found, verdicts of comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.config import LocomotionConfig
from envs.robot.spec import RobotSpec
from wildrobot_torch.cli.main import main
from wildrobot_torch.evaluation.outcomes import Outcome
from wildrobot_torch.evaluation.simulators.account import verdict
from wildrobot_torch.evaluation.simulators.compare import (
    Comparison,
    SimulatorResult,
    compare,
)
from wildrobot_torch.evaluation.simulators.loop import HEIGHT, LEAN, fall, rotation, sense
from wildrobot_torch.evaluation.simulators.plain_mujoco import NUMERICS, PlainMujoco
from wildrobot_torch.evaluation.simulators.registry import installed, make_simulator
from wildrobot_torch.evaluation.simulators.servos import ServoLaw
from wildrobot_torch.evaluation.simulators.simulator import Body, Simulator
from wildrobot_torch.evaluation.simulators.truths import BodyTruth, Reference, body_truths
from wildrobot_torch.evaluation.suites import Suite, load_suite

SHIPPED = Path(__file__).parents[4] / "wildrobot_torch" / "assets" / "walking.onnx"
KNEE = 2
DRAKE = pytest.param(
    "drake",
    marks=pytest.mark.skipif(
        not installed("drake"), reason="drake is not installed: pip install -e '.[drake]'"
    ),
)
LITTLE = """
defaults: {servo: {model: robot}, seconds: 1.0, settle_s: 0.4, seed: 1}
entries:
  flat: {commands: [0.3], episodes: 2, success: {fallen: {max: 0}}}
"""


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(LocomotionConfig())


@pytest.fixture
def law(robot: RobotSpec) -> ServoLaw:
    return ServoLaw.of(robot)


def broken(truths: tuple[BodyTruth, ...]) -> list[str]:
    return [truth.what for truth in truths if not truth.holds]


@pytest.mark.parametrize("name", [*NUMERICS, DRAKE])
def test_every_simulator_has_the_same_body(
    name: str, robot: RobotSpec, law: ServoLaw, reference: Reference
) -> None:
    truths = body_truths(make_simulator(name, robot), law, reference, KNEE)
    assert broken(truths) == []
    assert len(truths) == 8


def test_a_mistake_of_the_body_or_its_servos_is_found(
    robot: RobotSpec, law: ServoLaw, reference: Reference
) -> None:
    undamped = replace(law, kv=np.zeros(8))
    found = broken(body_truths(PlainMujoco("mujoco", robot), undamped, reference, KNEE))
    assert found == ["the same: largest difference of a joint"]
    without_limit = replace(law, no_load_speed=np.inf)
    assert broken(body_truths(PlainMujoco("mujoco", robot), without_limit, reference, KNEE))
    heavy = PlainMujoco("mujoco", robot)
    heavy.model.body_mass[1] *= 1.1
    found = broken(body_truths(heavy, law, reference, KNEE))
    assert "support while standing" in found and "centre of mass at home, z" in found
    weightless = PlainMujoco("mujoco", robot)
    weightless.model.dof_armature[:] = 0.0
    assert broken(body_truths(weightless, law, reference, KNEE))


@pytest.mark.parametrize("name", ["mujoco", DRAKE])
def test_a_state_is_sensed_as_it_was_given(name: str, robot: RobotSpec, law: ServoLaw) -> None:
    simulator: Simulator = make_simulator(name, robot)
    rng = np.random.default_rng(0)
    for _ in range(5):
        quat = rng.normal(size=4)
        quat /= np.linalg.norm(quat)
        joints = law.joint_range.mean(1) + rng.uniform(-0.3, 0.3, 8)
        qpos = np.concatenate([rng.normal(size=2), [2.0], quat, joints])
        qvel = rng.normal(size=14)
        simulator.place(qpos, qvel)
        body = simulator.body()
        sign = np.sign(body.qpos[3] * quat[0])  # q and -q are one orientation
        assert np.concatenate([body.qpos[:3], sign * body.qpos[3:7], body.qpos[7:]]) == (
            pytest.approx(qpos, abs=1e-9)
        )
        assert body.qvel == pytest.approx(qvel, abs=1e-9)
        assert body.plate_force == pytest.approx(np.zeros(4))
        other = PlainMujoco("mujoco", robot)
        other.place(qpos, qvel)
        same = other.body()
        for what in ("sole_pos", "sole_linvel", "sole_height", "com"):
            assert getattr(body, what) == pytest.approx(getattr(same, what), abs=1e-9), what


def standing(**changes: np.ndarray) -> Body:
    two = np.zeros((2, 3))
    body = Body(
        np.array([0, 0, 0.47, 1, 0, 0, 0, *[0.0] * 8]), np.zeros(14), two, two, two[0, :2],
        np.array([1.9, 2.1, 0.0, 9.0]), two[0],
    )  # fmt: skip
    return replace(body, **changes)


def lying(roll: float, pitch: float) -> Body:
    cr, sr, cp, sp = np.cos(roll / 2), np.sin(roll / 2), np.cos(pitch / 2), np.sin(pitch / 2)
    qpos = standing().qpos
    qpos[3:7] = [cp * cr, cp * sr, sp * cr, -sp * sr]
    return standing(qpos=qpos)


def test_falls_are_those_of_the_task() -> None:
    limits = vars(LocomotionConfig().termination)
    assert (limits["min_height"], limits["max_height"]) == HEIGHT
    assert limits["max_roll"] == limits["max_pitch"] == LEAN
    assert fall(standing()) is None
    assert fall(lying(0.85, 0.0)) == fall(lying(-0.85, 0.0)) == "roll"
    assert fall(lying(0.0, 0.85)) == fall(lying(0.0, -0.85)) == "pitch"
    assert fall(lying(0.5, -0.75)) is None
    low = standing().qpos
    low[2] = 0.29
    assert fall(standing(qpos=low)) == "height"
    assert fall(standing(qvel=np.full(14, np.nan))) == "physics"


def test_sensors_by_hand(law: ServoLaw) -> None:
    readings = sense(lying(0.0, 0.3), law, 2.0, 0.0, 0.02)
    # Leaning forward, the robot sees gravity ahead of its feet.
    assert readings.gravity == pytest.approx([np.sin(0.3), 0.0, -np.cos(0.3)])
    assert readings.switches.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert np.allclose(rotation(np.array([1.0, 0, 0, 0])), np.eye(3))
    qpos, qvel = standing().qpos, np.zeros(14)
    qpos[3:7] = [np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4)]  # facing to the world's left
    qvel[1] = 0.4
    turned = sense(standing(qpos=qpos, qvel=qvel), law, 2.0, 0.0, 0.02)
    assert turned.truth is not None
    assert turned.truth.linvel == pytest.approx([0.4, 0.0, 0.0])
    assert turned.heading == pytest.approx(np.pi / 2)


@pytest.fixture
def little(tmp_path: Path) -> Suite:
    path = tmp_path / "little.yaml"
    path.write_text(LITTLE)
    return load_suite(path)


@pytest.mark.parametrize("name", ["mujoco", DRAKE])
def test_the_shipped_policy_walks_a_second_alike(name: str, little: Suite) -> None:
    result = compare(SHIPPED, [name], little)
    here, there = result.trained.outcomes["flat"], result.simulators[0].outcomes["flat"]
    assert here.success.all() and there.success.all()
    assert there.mean("distance").value == pytest.approx(here.mean("distance").value, abs=0.06)
    assert there.mean("torque_mean").value == pytest.approx(
        here.mean("torque_mean").value, rel=0.15
    )
    # Two episodes cannot show that so little is lost.
    assert not result.all_passed
    assert verdict(result, result.simulators[0]) == "FAIL: not shown by so few episodes"


def made(successes: int, of: int, truths: tuple[BodyTruth, ...] = ()) -> SimulatorResult:
    flags = torch.arange(of) < successes
    outcome = Outcome(flags, {}, {}, {}, (), {}, {}, {})
    return SimulatorResult("mujoco", truths, {"flat": outcome}, 0.0)


@pytest.mark.parametrize(
    ("successes", "word"),
    [(65, "pass"), (64, "pass"), (62, "FAIL: not shown by so few episodes"), (50, "FAIL")],
)
def test_the_end_of_the_interval_decides(successes: int, word: str, little: Suite) -> None:
    result = made(successes, 65)
    assert verdict(Comparison(little, made(65, 65), (result,)), result) == word


def test_another_body_fails_however_well_it_walks(little: Suite) -> None:
    result = made(65, 65, (BodyTruth("mass", "kg", 3.4, 3.3, 0.01),))
    comparison = Comparison(little, made(65, 65), (result,))
    assert verdict(comparison, result) == "FAIL: not the same body"
    assert not comparison.all_passed


def test_a_policy_that_fails_at_home_does_not_pass_elsewhere(little: Suite) -> None:
    result = made(20, 65)
    comparison = Comparison(little, made(20, 65), (result,))
    assert comparison.drop(result).value == 0.0
    assert verdict(comparison, result) == "FAIL: it fails in its own environment"
    assert not comparison.all_passed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--simulator", "mujoco-eliptic"], "did you mean 'mujoco-elliptic'"),
        (["--simulator", "mujoco", "--scenario", "walking"], "--scenario does not go with"),
        (["--simulator", "mujoco", "--physics", "warp-cpu"], "name the simulator warp"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(SHIPPED), *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(installed("drake"), reason="drake is installed")
def test_a_simulator_that_is_not_installed_is_named_with_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", str(SHIPPED), "--simulator", "drake"]) == 2
    assert "pip install -e '.[drake]'" in capsys.readouterr().err
