"""The guided calibration, with scripted answers and a robot that somebody turns by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wildrobot_torch.cli.main import main
from wildrobot_torch.deploy.runtime.calibrate import Dialogue, StoppedError, calibrate
from wildrobot_torch.deploy.runtime.calibration import Calibration, CalibrationError
from wildrobot_torch.deploy.runtime.drill import HOME, NAMES, ScriptedRobot, contract
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits

AXES = {"nose down": (0, 1, 0), "right side down": (1, 0, 0), "turned left": (0, 0, 1)}
ON_ITS_SIDE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def about(axis: Any, angle: float) -> Array:
    """Rotation about x, y, z [rad], written out for each axis."""
    c, s = math.cos(angle), math.sin(angle)
    return {
        (1, 0, 0): np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        (0, 1, 0): np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        (0, 0, 1): np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[tuple(axis)]


def quaternion(matrix: Array) -> Array:
    """For rotations by less than half a turn."""
    w = math.sqrt(max(0.0, 1.0 + np.trace(matrix))) / 2.0
    skew = [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    return np.array([w, *(np.array(skew) / (4.0 * w))])


class Bench(ScriptedRobot):
    """A robot without torque that a person turns: 40 deg in 2 s, then held."""

    def __init__(self, mount: Array) -> None:
        super().__init__()
        self.mount, self.axis, self.begun, self.way = mount, (0, 0, 1), math.inf, 1.0
        self.position = HOME.copy()
        self.switches = np.array([1.0, 0.0])
        self.mixed = False

    def read(self) -> Sample:
        passed = min(max(0.0, self.now - self.begun), 2.0)
        rate = self.way * math.radians(20.0)
        # The IMU's heading is that of its own start, not that of the room.
        turned = about((0, 0, 1), 0.4) @ about(self.axis, rate * passed) @ self.mount
        gyro = self.mount.T @ np.array(self.axis) * rate * (0.0 < passed < 2.0)
        quat = quaternion(turned)
        return replace(
            super().read(), quat=quat[[1, 2, 3, 0]] if self.mixed else quat, gyro=gyro,
            imu_time=self.now, switches=self.switches.copy(),
        )  # fmt: skip


class Person:
    """Answers, and does what is asked for."""

    def __init__(self, bench: Bench, **said: str) -> None:
        self.bench, self.said, self.lines = bench, said, list[str]()
        self.gestures: dict[str, tuple[Any, float]] = {n: (a, 1.0) for n, a in AXES.items()}
        self.pressed = {"toe": (0, 0.0), "heel": (1, 1.0)}

    def ask(self, question: str) -> str:
        self.lines.append(question)
        for name, (axis, way) in self.gestures.items():
            if f"Gesture: {name}" in question:
                self.bench.axis, self.bench.way, self.bench.begun = axis, way, self.bench.now
        for plate, (index, level) in self.pressed.items():
            if f"switch {plate} " in question:
                self.bench.switches = np.array([1.0, 0.0])
                self.bench.switches[index] = level
        for words, answer in self.said.items():
            if words.replace("_", " ") in question:
                return answer
        return "go" if "[go" in question else "yes"

    def dialogue(self) -> Dialogue:
        return Dialogue(self.ask, self.lines.append, self.bench.pass_time)


def start() -> Calibration:
    return Calibration.identity(NAMES, ("toe", "heel"))


def done(person: Person, *steps: str, truth: Any = None) -> Calibration:
    return calibrate(
        person.bench, contract(), start(), person.dialogue(), SafetyLimits.load(), steps, truth
    )


@pytest.mark.parametrize("mount", [np.eye(3), ON_ITS_SIDE])
def test_three_gestures_find_how_the_imu_is_mounted(mount: Array) -> None:
    crooked = mount @ about((1, 0, 0), math.radians(8.0))
    square = done(Person(Bench(crooked)), "imu")
    assert square.imu_map == pytest.approx(mount)
    as_measured = done(Person(Bench(crooked), square="no"), "imu")
    assert as_measured.imu_map == pytest.approx(crooked, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "axis", "way", "words"),
    [
        ("nose down", (0, 1, 0), -1.0, "mirror image"),  # up
        ("nose down", (1, 0, 0), 1.0, "mirror image|right angles"),  # another axis
        ("turned left", (0, 0, 1), 0.2, "turned by 8 deg"),
    ],
)
def test_a_gesture_that_cannot_be_right_is_refused(
    name: str, axis: Any, way: float, words: str
) -> None:
    person = Person(Bench(ON_ITS_SIDE))
    person.gestures[name] = (axis, way)
    with pytest.raises(CalibrationError, match=words):
        done(person, "imu")


def test_a_quaternion_in_another_order_is_found_by_the_gyro() -> None:
    bench = Bench(ON_ITS_SIDE)
    bench.mixed = True
    with pytest.raises(CalibrationError, match="gyro and quaternion differ"):
        done(Person(bench), "imu")


def test_zeros_are_shown_and_taken_or_not() -> None:
    bench = Bench(np.eye(3))
    bench.position = HOME + np.radians([2.0, -4.0, 0.0, 1.0])
    person = Person(bench)
    made = done(person, "zeros")
    assert np.degrees(made.zero) == pytest.approx([2.0, -4.0, 0.0, 1.0], abs=0.15)  # half a count
    (row,) = [line.split() for line in person.lines if line.startswith("knee ")]
    assert [float(n) for n in row[2:]] == pytest.approx([0.0, -4.0, -4.0], abs=0.15)
    with pytest.raises(StoppedError):
        done(Person(bench, Take_these_zeros="no"), "zeros")
    bench.position = HOME + np.radians([12.0, 0.0, 0.0, 0.0])
    person = Person(bench)
    done(person, "zeros")
    assert any("hip changes by 12" in line for line in person.lines)
    bench.position = HOME + np.radians([31.0, 0.0, 0.0, 0.0])
    with pytest.raises(CalibrationError, match="-30 to 30"):
        done(Person(bench), "zeros")


def test_signs_are_what_the_person_saw() -> None:
    person = Person(Bench(np.eye(3)), knee_was_moved="other")
    made = done(person, "signs")
    assert made.sign.tolist() == [1.0, -1.0, 1.0, 1.0]
    sent = np.array(person.bench.written)
    assert np.degrees(np.abs(sent - HOME).max()) < 2.3  # a nudge, and half a count of the readings
    with pytest.raises(CalibrationError, match="numbers are exchanged"):
        done(Person(Bench(np.eye(3)), ankle_was_moved="wrong"), "signs")
    bench = Bench(np.eye(3))
    with pytest.raises(StoppedError):
        done(Person(bench, Move_the_joints="no"), "signs")
    assert not bench.written


def test_a_joint_that_does_not_move_is_found() -> None:
    bench = Bench(np.eye(3))
    bench.blocked = True
    with pytest.raises(CalibrationError, match="hip was told to move"):
        done(Person(bench), "signs")
    assert bench.released


def test_switches_are_pressed_in_turn() -> None:
    made = done(Person(Bench(np.eye(3))), "switches")
    assert (made.switch_order, made.switch_inverted) == ((0, 1), (True, False))
    for pressed, words in (((0, 1.0), "none did"), ((1, 1.0), "is that of toe already")):
        person = Person(Bench(np.eye(3)))
        person.pressed = {"toe": pressed, "heel": pressed}
        with pytest.raises(CalibrationError, match=words):
            done(person, "switches")


SIGNS, ZEROS = [1, -1, 1, -1, -1, 1, 1, -1], [5, -9, 3, 2, 25, 0, -4, 8]
ORDER = [4, 5, 6, 7, 0, 1, 2, 3]


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[str]:
    """Address of a simulated robot whose servos turn and count as they like."""
    address = str(tmp_path / "robot")
    words = [sys.executable, "-m", "wildrobot_torch.deploy.simulated", "--lockstep", "--owned"]
    words += ["--address", address, "--signs", str(SIGNS), "--zeros", str(ZEROS)]
    words += ["--order", str(ORDER), "--gantry_hold_s", "1e6", "--gantry_lift", "0.1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield address
        process.terminate()


def test_a_simulated_robot_is_calibrated_to_a_count(strange: str, tmp_path: Path) -> None:
    out = tmp_path / "calibration.yaml"
    assert main(["calibrate", "--robot", strange, "--out", str(out), "--yes"]) == 0
    made = Calibration.load(out)
    assert made.joint_names[0] == "left_hip_pitch" and made.order == tuple(ORDER)
    assert made.sign.tolist() == [SIGNS[servo] for servo in ORDER]
    expected = [ZEROS[servo] for servo in ORDER]
    assert np.degrees(made.zero) == pytest.approx(expected, abs=0.25)


def test_without_a_person_or_a_simulation_nothing_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from wildrobot_torch.deploy.runtime.drill import ScriptedRobot as make\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "calibration.yaml"
    assert main(["calibrate", "--robot", "mine:make", "--out", str(out), "--yes"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["calibrate", "--robot", "mine:make", "--out", str(out)]) == 2
    assert "no servo of left_hip_pitch" in capsys.readouterr().err and not out.exists()
