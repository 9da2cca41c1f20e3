"""Calibrations: what a sample means, and what no robot can have."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from wildrobot_torch.deploy.runtime.calibration import Calibration, CalibrationError
from wildrobot_torch.deploy.runtime.hardware import Array, Sample

JOINTS, PLATES = ("hip", "knee", "ankle"), ("toe", "heel")
S, C = math.sin(math.radians(10.0)), math.cos(math.radians(10.0))


def sample(quat: Array, gyro: Array, position: Array | None = None) -> Sample:
    nothing = np.full(3, np.nan)
    position = np.zeros(3) if position is None else position
    return Sample(
        5.0, quat, gyro, 4.99, position, np.array([4.9, 4.8, 4.7]), np.array([1.0, 0.0]), 5.0,
        nothing, nothing,
    )  # fmt: skip


def about(axis: str, degrees: float) -> Array:
    """Quaternion of a rotation about an axis, by its definition."""
    half = math.radians(degrees) / 2
    return np.array([math.cos(half), *(math.sin(half) * (axis == name) for name in "xyz")])


def product(a: Array, b: Array) -> Array:
    w, v, u, q = a[0], a[1:], b[0], b[1:]
    return np.array([w * u - v @ q, *(w * q + u * v + np.cross(v, q))])


# The IMU lies on its side: its x axis is the root's z, its y the root's x, its z the root's y.
MAP = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
MOUNT = np.array([0.5, -0.5, -0.5, -0.5])
"""The same rotation as a quaternion: a third of a turn about (-1, -1, -1)."""


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize(
    ("axis", "gravity", "heading"),
    [
        ("y", (S, 0.0, -C), 0.0),  # nose down: gravity points forward
        ("x", (0.0, -S, -C), 0.0),  # right side down: gravity points to the right
        ("z", (0.0, 0.0, -1.0), 10.0),  # turned left: the heading grows
    ],
)
def test_tilted_poses_by_hand(
    axis: str, gravity: tuple[float, ...], heading: float, mounted: bool
) -> None:
    calibration = Calibration.identity(JOINTS, PLATES)
    quat, rate = about(axis, 10.0), 0.3 * np.array([axis == name for name in "xyz"])
    gyro = rate
    if mounted:
        calibration = replace(calibration, imu_map=MAP)
        quat = product(quat, MOUNT)
        gyro = {"x": [0, 0.3, 0], "y": [0, 0, 0.3], "z": [0.3, 0, 0]}[axis]
    # A quaternion says the same with the other sign, and with another length.
    for factor in (1.0, -1.0, 1.02):
        found = calibration.readings(sample(factor * quat, np.array(gyro)))
        assert found.gravity == pytest.approx(gravity, abs=1e-12)
        assert found.angvel == pytest.approx(rate, abs=1e-12)
        assert math.degrees(found.heading) == pytest.approx(heading, abs=1e-9)


def test_servos_show_sign_times_joint_plus_zero() -> None:
    calibration = replace(
        Calibration.identity(JOINTS, PLATES),
        order=(2, 0, 1), sign=np.array([1.0, -1.0, 1.0]), zero=np.array([0.1, 0.2, 0.0]),
        switch_order=(1, 0), switch_inverted=(True, False),
    )  # fmt: skip
    joints = np.array([0.5, 0.3, -0.4])
    shown = np.array([-0.1, -0.4, 0.6])  # knee: -0.3 + 0.2; ankle: -0.4; hip: 0.5 + 0.1
    assert calibration.to_servo(joints) == pytest.approx(shown)
    found = calibration.readings(sample(np.array([1.0, 0, 0, 0]), np.zeros(3), shown))
    assert found.joint_pos == pytest.approx(joints)
    assert found.joint_time.tolist() == [4.7, 4.9, 4.8]
    assert found.switches.tolist() == [1.0, 1.0]  # the toe's input reads 0, and is inverted


def test_a_file_says_the_same_when_read_again_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    first = Calibration.identity(JOINTS, PLATES)
    second = replace(first, zero=np.radians([1.7, -29.9, 0.1]), imu_map=MAP, order=(1, 2, 0))
    assert first.save(path) is None
    backup, again = second.save(path), second.save(path)
    assert backup and again and backup != again
    assert Calibration.load(backup).zero.tolist() == [0.0, 0.0, 0.0]
    read = Calibration.load(path)
    assert read.zero == pytest.approx(second.zero, abs=1e-15)
    assert (read.joint_names, read.order, read.plates) == (JOINTS, (1, 2, 0), PLATES)
    assert read.imu_map.tolist() == MAP.tolist()
    assert Calibration.load(again).order == (1, 2, 0)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("imu_map",), [[1, 0, 0], [0, -1, 0], [0, 0, 1]], "determinant is -1"),
        (("imu_map",), [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]], "not orthogonal"),
        (("imu_map",), [[1, 0], [0, 1]], "three rows"),
        (("imu_map",), [[1, 0, 0], [0, 1, 0], [0, 0, float("nan")]], "finite"),
        (("joints", "knee", "servo"), 0, "each of 0 to 2 is needed once"),
        (("joints", "knee", "servo"), 7, "each of 0 to 2 is needed once"),
        (("joints", "knee", "servo"), True, "whole number"),
        (("joints", "knee", "sign"), 0, "allowed: 1 and -1"),
        (("joints", "knee", "sign"), 2, "allowed: 1 and -1"),
        (("joints", "knee", "zero_deg"), 30.5, "allowed: -30 to 30"),
        (("joints", "knee", "zero_deg"), float("inf"), "finite"),
        (("joints", "knee"), {"servo": 1, "sign": 1}, "'zero_deg' is missing"),
        (("joints", "knee", "offset"), 1, "unknown key 'offset'"),
        (("joints",), {}, "there is none"),
        (("switches", "toe", "input"), 1, "each of 0 to 1 is needed once"),
        (("switches", "toe", "inverted"), 1, "true, false"),
        (("extra",), 1, "unknown key"),
    ],
)
def test_what_no_robot_can_have_is_refused_in_one_line(
    place: tuple[str, ...], value: object, words: str, tmp_path: Path
) -> None:
    content = yaml.safe_load(Calibration.identity(JOINTS, PLATES).to_yaml())
    at = content
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CalibrationError, match=words) as refused:
        Calibration.load(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_files_that_hold_no_calibration(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    with pytest.raises(CalibrationError, match="No such file"):
        Calibration.load(path)
    for text, words in (("a: [", "YAML"), ("joints: {}\njoints: {}", "twice"), ("1", "the file")):
        path.write_text(text)
        with pytest.raises(CalibrationError, match=words) as refused:
            Calibration.load(path)
        assert "\n" not in str(refused.value)
