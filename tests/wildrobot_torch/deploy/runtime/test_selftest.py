"""The self-test finds the faults of semantics that cost months on the real robot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wildrobot_torch.contract import Contract, Readings, read
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.safety import SafeRobot
from wildrobot_torch.deploy.runtime.selftest import (
    Check,
    SelfTestError,
    nudge_test,
    require,
    self_test,
    table,
)
from wildrobot_torch.files import WALKING_POLICY

PLATES = ("left_toe", "left_heel", "right_toe", "right_heel")


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read(WALKING_POLICY)[0]


def good(contract: Contract) -> Calibration:
    """Of a robot whose IMU is crooked, and whose servos are neither in order nor alike."""
    turn = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    c, s = math.cos(0.1), math.sin(0.1)
    return replace(
        Calibration.identity(contract.joint_names, PLATES),
        order=(4, 5, 6, 7, 0, 1, 2, 3), sign=np.array([1.0, -1.0] * 4),
        zero=np.linspace(-0.2, 0.2, 8), imu_map=turn @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    )  # fmt: skip


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.what for check in checks if not check.holds]


def test_a_good_calibration_passes(contract: Contract) -> None:
    calibration = good(contract)
    servos = contract.joint_names[4:] + contract.joint_names[:4]
    checks = self_test(calibration, contract, servos, None, {"robot": "wildrobot"})
    assert not failed(checks)
    require(checks)
    assert table(checks).count("ok") == len(checks)


TILTS = {"nose down by 10 deg", "nose up by 10 deg", "right side down by 10 deg",
         "left side down by 10 deg"}  # fmt: skip
TURNS = {"turned left by 10 deg", "turned right by 10 deg"}


def _other_order(sample: Sample) -> Sample:
    return replace(sample, quat=sample.quat[[1, 2, 3, 0]])


def _conjugate(sample: Sample) -> Sample:
    return replace(sample, quat=sample.quat * np.array([1.0, -1.0, -1.0, -1.0]))


@pytest.mark.parametrize(
    ("sample", "readings", "what"),
    [
        # The quaternion as x, y, z, w: on the robot until 2026-07-26.
        (_other_order, lambda r: r, TILTS),
        # Gravity rotated by R in place of its transpose; the heading then turns the wrong way, too.
        (_conjugate, lambda r: r, TILTS | TURNS),
        # Gravity's sign: +1 when upright.
        (lambda s: s, lambda r: replace(r, gravity=-r.gravity), TILTS | TURNS),
        # A left-handed frame.
        (lambda s: s, lambda r: replace(r, gravity=r.gravity * np.array([1, -1, 1])),
         {"right side down by 10 deg", "left side down by 10 deg"}),
        (lambda s: s, lambda r: replace(r, heading=-r.heading), TURNS),
        (lambda s: s, lambda r: replace(r, angvel=r.angvel[[1, 0, 2]]), TILTS),
    ],
)  # fmt: skip
def test_faults_of_frames_are_found(
    sample: Callable[[Sample], Sample],
    readings: Callable[[Readings], Readings],
    what: set[str],
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = Calibration.readings
    monkeypatch.setattr(
        Calibration, "readings", lambda self, s, before=None: readings(right(self, sample(s)))
    )
    calibration = Calibration.identity(contract.joint_names, PLATES)
    checks = self_test(calibration, contract, contract.joint_names)
    assert set(failed(checks)) >= what
    with pytest.raises(SelfTestError, match="nothing was started"):
        require(checks)


def test_faults_of_joints_are_found(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    names, calibration = contract.joint_names, Calibration.identity(contract.joint_names, PLATES)
    swapped = (*names[4:], *names[:4])  # boards exchanged: the servos answer under other names
    assert "names of joints" in failed(self_test(calibration, contract, swapped))
    assert "order of joints" in failed(self_test(calibration, contract, swapped))
    assert "names of joints" in failed(self_test(calibration, contract, names[:7]))
    other = replace(contract, joint_names=swapped)
    assert "names of joints" in failed(self_test(calibration, other, names))
    monkeypatch.setattr(
        Calibration, "to_servo", lambda self, targets: targets[[1, 0, *range(2, 8)]]
    )
    checks = failed(self_test(calibration, contract, names))
    assert {"order of joints", "readings of targets"} <= set(checks)


def test_what_the_hardware_says_of_itself(contract: Contract) -> None:
    calibration = Calibration.identity(contract.joint_names, PLATES)

    def asked(**said: Any) -> list[str]:
        return failed(self_test(calibration, contract, contract.joint_names, None, said))

    assert asked(robot="wildrobot", robot_digest=contract.robot_digest) == []
    assert asked() == []  # what is not said is no evidence
    assert asked(robot="duck") == ["robot"]
    assert asked(robot_digest="0" * 16) == ["robot digest"]


@pytest.fixture(scope="module")
def hung() -> Iterator[RemoteRobot]:
    options = {"signs": [1, -1, 1, 1, 1, 1, 1, 1], "gantry_hold_s": 1e6, "gantry_lift": 0.1,
               "start_pitch": 9.0}  # fmt: skip
    with RemoteRobot.start(options, lockstep=True) as robot:
        yield robot


def ready(robot: RemoteRobot, calibration: Calibration, contract: Contract) -> SafeRobot:
    robot.place()
    safe = SafeRobot(robot, calibration, contract, SafetyLimits.load())
    for _ in range(50):
        safe.read()
        if not safe.not_ready:
            return safe
        robot.sleep(0.02)
    raise AssertionError(safe.not_ready)


def joints(robot: RemoteRobot) -> Callable[[], Array]:
    return lambda: robot.truth().qpos[7:]


def test_nudges_find_a_wrong_sign_on_the_simulated_robot(
    hung: RemoteRobot, contract: Contract
) -> None:
    wrong = Calibration.identity(contract.joint_names, PLATES)
    safe = ready(hung, wrong, contract)
    checks = nudge_test(safe, contract, joints(hung), hung.sleep)
    assert failed(checks) == ["nudge of left_hip_roll"] and len(checks) == 8
    assert safe.state == "off" and not hung.truth().loaded.any()


def test_the_simulated_robot_leans_as_the_runtime_reads(
    hung: RemoteRobot, contract: Contract
) -> None:
    safe = ready(hung, Calibration.identity(contract.joint_names, PLATES), contract)
    gravity = np.mean([_read_on(hung, safe).gravity for _ in range(50)], axis=0)
    # It hangs with its nose 9 deg down, as its pose at home has it; each report has noise of 0.23
    # deg.
    w, _, y, _ = hung.truth().qpos[3:7]
    angle = 2.0 * math.atan2(y, w)
    assert math.degrees(angle) == pytest.approx(9.0, abs=0.5)
    assert gravity == pytest.approx([math.sin(angle), 0.0, -math.cos(angle)], abs=0.003)
    checks = self_test(safe._calibration, contract, hung.joint_names, safe.sample)
    assert not failed(checks)


def _read_on(robot: RemoteRobot, safe: SafeRobot) -> Readings:
    robot.sleep(0.02)
    return safe.read()
