"""Do the robot's signals mean what the policy was trained with? Asked before every start.

The truth is worked out by hand here, and shares nothing with `calibration.py`: how gravity, turning
and heading read in poses that anybody can picture. A simulator and a runtime that share a mistake
agree with each other, and the robot falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.errors import RunError, UserError
from wildrobot_torch.contract import Contract
from wildrobot_torch.deploy.runtime.calibration import Calibration, require_rotation
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.runtime.safety import SafeRobot, require_same_joints

ANGLE = math.radians(10.0)
"""Of the poses that the truth is worked out for [rad]."""
NUDGE = math.radians(2.0)
"""By which each joint is moved on a simulated robot [rad]."""
LEAST = 0.4
"""Share of the nudge by which the joint must move at least, and no other joint may."""
_NEAR = 1e-9

_S, _C = math.sin(ANGLE), math.cos(ANGLE)
_COLUMNS = {
    # The root's axes x (forward), y (left) and z (up), in the world (x, y, z), after a turn by 10
    # degrees from where the robot stands upright and looks along the world's x axis.
    "nose down": ((_C, 0.0, -_S), (0.0, 1.0, 0.0), (_S, 0.0, _C)),
    "nose up": ((_C, 0.0, _S), (0.0, 1.0, 0.0), (-_S, 0.0, _C)),
    "right side down": ((1.0, 0.0, 0.0), (0.0, _C, _S), (0.0, -_S, _C)),
    "left side down": ((1.0, 0.0, 0.0), (0.0, _C, -_S), (0.0, _S, _C)),
    "turned left": ((_C, _S, 0.0), (-_S, _C, 0.0), (0.0, 0.0, 1.0)),
    "turned right": ((_C, -_S, 0.0), (_S, _C, 0.0), (0.0, 0.0, 1.0)),
}
_EXPECTED = {
    # Gravity and angular velocity in the root's axes, and the heading [deg]. Gravity points to
    # where the robot leans; a rotation counts by the right hand: nose down is about +y.
    "nose down": ((_S, 0.0, -_C), (0.0, 1.0, 0.0), 0.0),
    "nose up": ((-_S, 0.0, -_C), (0.0, -1.0, 0.0), 0.0),
    "right side down": ((0.0, -_S, -_C), (1.0, 0.0, 0.0), 0.0),
    "left side down": ((0.0, _S, -_C), (-1.0, 0.0, 0.0), 0.0),
    "turned left": ((0.0, 0.0, -1.0), (0.0, 0.0, 1.0), 10.0),
    "turned right": ((0.0, 0.0, -1.0), (0.0, 0.0, -1.0), -10.0),
}


class SelfTestError(RunError):
    """Signals do not mean what the policy was trained with; the message says which."""


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    what: str
    holds: bool
    found: str
    """In words."""


def self_test(
    calibration: Calibration,
    contract: Contract,
    servos: Sequence[str],
    sample: Sample | None = None,
    described: Mapping[str, Any] | None = None,
) -> tuple[Check, ...]:
    """Every check that needs no motion.

    Args:
        calibration: of the robot.
        contract: of the policy.
        servos: the hardware's joint names, in its order.
        sample: that the hardware gave.
        described: what the hardware says of itself, `robot` and `robot_digest` for example; what
            it does not say is no evidence and refuses nothing.
    """
    checks = [_joints(calibration, contract, servos), _map(calibration)]
    checks += [_pose(calibration, name) for name in _EXPECTED]
    checks += _order(calibration, servos)
    if sample is not None:
        checks.append(_switches(calibration, contract, sample))
        checks.append(_upright(calibration, sample))
    for name in ("robot", "robot_digest"):
        if described is not None and name in described:
            stated, needed = described[name], getattr(contract, name)
            found = f"the hardware says {stated}, the policy needs {needed}"
            checks.append(Check(name.replace("_", " "), stated == needed, found))
    return tuple(checks)


def require(checks: Sequence[Check]) -> None:
    """Refuse to start unless every check holds.

    Raises:
        SelfTestError: names what does not hold.
    """
    failed = [f"{check.what} ({check.found})" for check in checks if not check.holds]
    if failed:
        raise SelfTestError(
            f"{len(failed)} of {len(checks)} self-tests failed: {'; '.join(failed)}; nothing was "
            "started: run `wildrobot calibrate`"
        )


def table(checks: Sequence[Check]) -> str:
    """The checks for people."""
    width = max(len(check.what) for check in checks)
    return "\n".join(
        f"{'ok    ' if check.holds else 'FAILED'}  {check.what:<{width}}  {check.found}"
        for check in checks
    )


def nudge_test(
    robot: SafeRobot, contract: Contract, truth: Callable[[], Array], sleep: Callable[[float], None]
) -> tuple[Check, ...]:
    """Move each joint by 2 degrees and see which one really turns, and which way.

    The robot must be ready to be armed; afterwards it is let go. `truth` returns the joints (J,)
    [rad] in the contract's order as they really are: a simulated robot knows.
    """
    checks = []
    for joint, name in enumerate(contract.joint_names):
        low, high = contract.joint_range[joint]
        before = truth()
        way = NUDGE if before[joint] + NUDGE <= high or before[joint] - NUDGE < low else -NUDGE
        read, after = robot.nudge(joint, way, sleep, truth)
        turned = (after - before) / way
        most = int(np.abs(turned).argmax())
        holds = bool(
            most == joint
            and turned[joint] >= LEAST
            and read[joint] / way >= LEAST
            and np.delete(np.abs(turned), joint).max() < LEAST
        )
        found = (
            f"asked for {math.degrees(way):+.1f} deg, turned "
            f"{math.degrees(way * turned[joint]):+.2f}, read {math.degrees(read[joint]):+.2f}"
        )
        if most != joint:
            found += f"; it is {contract.joint_names[most]} that turned"
        checks.append(Check(f"nudge of {name}", holds, found))
    robot.let_go()
    return tuple(checks)


def _joints(calibration: Calibration, contract: Contract, servos: Sequence[str]) -> Check:
    try:
        require_same_joints(servos, calibration, contract)
    except UserError as error:
        return Check("names of joints", False, str(error))
    return Check("names of joints", True, f"{len(servos)} servos, each moves its joint")


def _map(calibration: Calibration) -> Check:
    try:
        require_rotation(calibration.imu_map, "imu_map")
    except UserError as error:
        return Check("IMU map", False, str(error))
    return Check("IMU map", True, "a rotation")


def _pose(calibration: Calibration, name: str) -> Check:
    """What the runtime makes of the sample that an IMU mounted as calibrated gives in this pose."""
    gravity, angvel, heading = _EXPECTED[name]
    root = np.array(_COLUMNS[name]).T
    joints = len(calibration.joint_names)
    sample = Sample(
        time=0.0,
        quat=_quaternion(root @ calibration.imu_map),
        gyro=calibration.imu_map.T @ np.array(angvel),
        imu_time=0.0,
        position=calibration.to_servo(np.zeros(joints)),
        position_time=np.zeros(joints),
        switches=np.zeros(len(calibration.plates)),
        switch_time=0.0,
        voltage=np.full(joints, np.nan),
        temperature=np.full(joints, np.nan),
    )
    readings = calibration.readings(sample)
    off = max(
        float(np.abs(readings.gravity - gravity).max()),
        float(np.abs(readings.angvel - angvel).max()),
        abs(math.remainder(readings.heading - math.radians(heading), math.tau)),
    )
    gx, gy, gz = readings.gravity
    found = f"gravity ({gx:+.3f}, {gy:+.3f}, {gz:+.3f})"
    return Check(f"{name} by 10 deg", off < _NEAR, found)


def _order(calibration: Calibration, servos: Sequence[str]) -> list[Check]:
    """A target of one joint must reach the servo that has its name, in its sense, and come back."""
    joints, wrong = len(calibration.joint_names), []
    at_zero = calibration.to_servo(np.zeros(joints))
    for joint, name in enumerate(calibration.joint_names):
        targets = np.zeros(joints)
        targets[joint] = ANGLE
        shown = calibration.to_servo(targets)
        moved = np.flatnonzero(np.abs(shown - at_zero) > _NEAR).tolist()
        sense = (shown - at_zero)[moved] / ANGLE
        reached = [
            servos[i] if i < len(servos) else f"servo {i}, which is not there" for i in moved
        ]
        if reached != [name]:
            wrong.append(f"{name} moves {', '.join(reached)}")
        elif abs(sense[0] - calibration.sign[joint]) > _NEAR:
            wrong.append(f"{name} moves by {sense[0]:g}")
    nothing = np.full(joints, np.nan)
    empty = Sample(0.0, np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(3), 0.0, at_zero, np.zeros(joints),
                   np.zeros(len(calibration.plates)), 0.0, nothing, nothing)  # fmt: skip
    pose = ANGLE * np.arange(1, joints + 1) / joints
    back = calibration.readings(replace(empty, position=calibration.to_servo(pose))).joint_pos
    same = bool(np.abs(back - pose).max() < _NEAR)
    return [
        Check("order of joints", not wrong, "; ".join(wrong) or "each target reaches its servo"),
        Check("readings of targets", same, "what is sent is read" if same else "they differ"),
    ]


def _switches(calibration: Calibration, contract: Contract, sample: Sample) -> Check:
    needed = any(name.startswith(("switch_reading", "foot_switch")) for name, _ in contract.fields)
    found = f"{len(sample.switches)} inputs, {len(calibration.plates)} calibrated"
    enough = len(sample.switches) >= len(calibration.plates)
    return Check("foot switches", enough and (bool(calibration.plates) or not needed), found)


def _upright(calibration: Calibration, sample: Sample) -> Check:
    """A robot that is to be started is upright, so gravity points down in its frame."""
    gravity = calibration.readings(sample).gravity
    norm = float(np.linalg.norm(sample.quat))
    found = f"gravity z {gravity[2]:+.3f}, norm of the quaternion {norm:.3f}"
    return Check("stands upright now", bool(gravity[2] < -0.8 and 0.9 <= norm <= 1.1), found)


def _quaternion(matrix: Array) -> Array:
    """Unit quaternion (wxyz) of a rotation matrix, from the eigenvector of Bar-Itzhack's matrix."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = matrix
    k = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    return np.linalg.eigh(k)[1][:, -1]
