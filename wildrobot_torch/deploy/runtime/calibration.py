"""What differs between a robot as built and the contract's robot: joints, zeros, IMU, switches.

A servo shows `sign * joint + zero` when its joint is at `joint` [rad]. The IMU map is the rotation
from the IMU's axes to the root's: a vector v of the IMU is `imu_map @ v` in the root's frame (x
forward, y left, z up).
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from envs.errors import UserError
from wildrobot_torch.contract import Readings
from wildrobot_torch.deploy.runtime.hardware import Array, Sample
from wildrobot_torch.files import atomic_write

ZERO_LIMIT = math.radians(30.0)
"""Largest zero offset [rad]: the range of the servo's own offset register (HTD-45H)."""
_ROTATION = 1e-3
"""A map is a rotation if M M' differs from 1, and its determinant from +1, by less than this."""
_HEAD = """\
# Calibration of one robot. Written by `wildrobot calibrate`; {date}.
# joints: the contract's joint -> its servo (index in the hardware's order), the servo's sense of
# turning, and what the servo shows when the joint is at 0 [deg].
# imu_map: rotation from the IMU's axes to the root's (x forward, y left, z up).
# switches: contact plate -> its input (index), inverted if it reads 0 when pressed.
"""


class CalibrationError(UserError):
    """A calibration that no robot can have, or a file that holds none."""


@dataclass(frozen=True)
class Calibration:
    """J joints in the contract's order, P contact plates."""

    joint_names: tuple[str, ...]
    """In the contract's order."""
    order: tuple[int, ...]
    """(J,): index of each joint's servo in the hardware's order."""
    sign: Array
    """(J,): +1 where the servo turns as its joint does, -1 where it turns against it."""
    zero: Array
    """(J,) [rad]: what each servo shows when its joint is at 0."""
    imu_map: Array
    """(3, 3): rotation from the IMU's axes to the root's."""
    plates: tuple[str, ...]
    """Names of the contact plates in the contract's order; () for a robot without switches."""
    switch_order: tuple[int, ...]
    """(P,): index of each plate's input in the hardware's order."""
    switch_inverted: tuple[bool, ...]
    """(P,): whether the input reads 0 when the switch is pressed."""

    # Prepared for the control loop.
    _index: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    _back: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    _switch_index: NDArray[np.intp] = field(init=False, repr=False, compare=False)
    _inverted: NDArray[np.bool_] = field(init=False, repr=False, compare=False)
    _axes: list[list[float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_each_once("joints", self.joint_names, "servo", self.order)
        _require_each_once("switches", self.plates, "input", self.switch_order)
        if len(self.switch_inverted) != len(self.plates):
            raise CalibrationError("switches: each plate needs `inverted`, true or false")
        for what, values in (("sign", self.sign), ("zero", self.zero)):
            if values.shape != (len(self.joint_names),):
                raise CalibrationError(f"{what} has shape {values.shape} for {self.joint_names}")
        for name, sign, zero in zip(self.joint_names, self.sign, self.zero, strict=True):
            if sign not in (-1.0, 1.0):
                raise CalibrationError(f"sign of {name} is {sign:g}; allowed: 1 and -1")
            if not abs(zero) <= ZERO_LIMIT:
                raise CalibrationError(
                    f"zero of {name} is {math.degrees(zero):.2f} deg; allowed: -30 to 30, the "
                    "range of the servo's offset register; mount the servo's horn again"
                )
        require_rotation(self.imu_map, "imu_map")
        prepared = {
            "_index": np.array(self.order, dtype=np.intp),
            "_back": np.argsort(self.order),
            "_switch_index": np.array(self.switch_order, dtype=np.intp),
            "_inverted": np.array(self.switch_inverted, dtype=bool),
            "_axes": self.imu_map.tolist(),
        }
        for name, value in prepared.items():
            object.__setattr__(self, name, value)

    @classmethod
    def identity(cls, joint_names: Sequence[str], plates: Sequence[str] = ()) -> Calibration:
        """Of a robot that is built as the contract has it, with servos in the contract's order."""
        joints = len(joint_names)
        return cls(
            tuple(joint_names), tuple(range(joints)), np.ones(joints), np.zeros(joints), np.eye(3),
            tuple(plates), tuple(range(len(plates))), (False,) * len(plates),
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> Calibration:
        """Read a file that `save` or a person wrote.

        Raises:
            CalibrationError: there is no such file, or it holds no calibration of a robot.
        """
        content = read_yaml(path, CalibrationError)
        try:
            return cls._of(content)
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}; run `wildrobot calibrate` again") from error

    @classmethod
    def _of(cls, content: Any) -> Calibration:
        _require_keys(content, ("joints", "imu_map", "switches"), "the file")
        joints, switches = content["joints"], content["switches"]
        for what, entries, keys in (
            ("joints", joints, ("servo", "sign", "zero_deg")),
            ("switches", switches, ("input", "inverted")),
        ):
            if not isinstance(entries, Mapping):
                raise CalibrationError(f"{what} is {entries!r}; give names with values")
            for name, entry in entries.items():
                _require_keys(entry, keys, f"{what}: {name}")
        for name, entry in switches.items():
            if not isinstance(entry["inverted"], bool):
                raise CalibrationError(
                    f"switches: {name}: inverted is {entry['inverted']!r}; allowed: true, false"
                )
        rows = content["imu_map"]
        if not (isinstance(rows, list) and all(isinstance(row, list) for row in rows)):
            raise CalibrationError(f"imu_map is {rows!r}; give three rows of three numbers")
        if [len(row) for row in rows] != [3, 3, 3]:
            raise CalibrationError("imu_map has another shape; give three rows of three numbers")
        return cls(
            joint_names=tuple(joints),
            order=tuple(_index(j["servo"], f"servo of {n}") for n, j in joints.items()),
            sign=np.array([_number(j["sign"], f"sign of {n}") for n, j in joints.items()]),
            zero=np.radians([_number(j["zero_deg"], f"zero of {n}") for n, j in joints.items()]),
            imu_map=np.array([[_number(x, "imu_map") for x in row] for row in rows]),
            plates=tuple(switches),
            switch_order=tuple(_index(s["input"], f"input of {n}") for n, s in switches.items()),
            switch_inverted=tuple(s["inverted"] for s in switches.values()),
        )

    def save(self, path: Path | str) -> Path | None:
        """Write the file whole or not at all; returns the copy of the file that was there before.

        The copy has the time in its name (`calibration.2026-08-17T101500.yaml`).
        """
        path, backup = Path(path), None
        if path.exists():
            stamp = time.strftime("%Y-%m-%dT%H%M%S", time.localtime(path.stat().st_mtime))
            backup = path.with_name(f"{path.stem}.{stamp}{path.suffix}")
            number = 1
            while backup.exists():
                number += 1
                backup = path.with_name(f"{path.stem}.{stamp}-{number}{path.suffix}")
            shutil.copy2(path, backup)
        with atomic_write(path) as file:
            file.write(self.to_yaml().encode())
        return backup

    def to_yaml(self) -> str:
        """What the file holds."""
        degrees = np.degrees(self.zero)
        joints = [
            f"  {name}: {{servo: {self.order[i]}, sign: {self.sign[i]:.0f}, "
            f"zero_deg: {float(degrees[i])!r}}}"
            for i, name in enumerate(self.joint_names)
        ]
        rows = [f"  - [{', '.join(repr(float(x)) for x in row)}]" for row in self.imu_map]
        switches = [
            f"  {name}: {{input: {self.switch_order[i]}, "
            f"inverted: {str(bool(self.switch_inverted[i])).lower()}}}"
            for i, name in enumerate(self.plates)
        ] or ["  {}"]
        head = _HEAD.format(date=time.strftime("%Y-%m-%d %H:%M"))
        return head + "\n".join(["joints:", *joints, "imu_map:", *rows, "switches:", *switches, ""])

    def readings(self, sample: Sample, previous: Sample | None = None) -> Readings:
        """A sample in the contract's order, signs, zeros and frame.

        `previous` is the sample before it; without one the readings are as old as themselves (0 s).
        """
        w, x, y, z = sample.quat.tolist()
        norm = w * w + x * x + y * y + z * z
        two = 2.0 / norm if norm else math.nan  # a quaternion's length says nothing
        # The world's vertical in the IMU's axes: the last row of the IMU's rotation to the world.
        ux, uy, uz = two * (x * z - w * y), two * (y * z + w * x), 1.0 - two * (x * x + y * y)
        # The root's forward axis in the IMU's axes, then its first two components in the world.
        fx, fy, fz = self._axes[0]
        north = (1.0 - two * (y * y + z * z)) * fx
        north += two * ((x * y - w * z) * fy + (x * z + w * y) * fz)
        west = (1.0 - two * (x * x + z * z)) * fy
        west += two * ((x * y + w * z) * fx + (y * z - w * x) * fz)
        switches = sample.switches[self._switch_index]
        return Readings(
            gravity=np.array([-(ax * ux + ay * uy + az * uz) for ax, ay, az in self._axes]),
            angvel=self.imu_map @ sample.gyro,
            heading=math.atan2(west, north),
            joint_pos=(sample.position[self._index] - self.zero) * self.sign,
            joint_time=sample.position_time[self._index],
            switches=np.where(self._inverted, 1.0 - switches, switches),
            age=0.0 if previous is None else sample.time - previous.time,
        )

    def to_servo(self, targets: Array) -> Array:
        """Targets (J,) [rad] of the contract as the servos (J,) count them, in their order."""
        return (targets * self.sign + self.zero)[self._back]


def require_rotation(matrix: Array, what: str) -> None:
    """Refuse a matrix (3, 3) that is no rotation.

    Raises:
        CalibrationError: its axes are not orthogonal unit vectors, or they are left-handed.
    """
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise CalibrationError(f"{what} is not three rows of three finite numbers")
    error = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if error > _ROTATION:
        raise CalibrationError(
            f"{what} is no rotation: its rows are not orthogonal unit vectors (off by {error:.3f})"
        )
    determinant = float(matrix[0] @ np.cross(matrix[1], matrix[2]))
    if abs(determinant - 1.0) > _ROTATION:
        raise CalibrationError(
            f"{what} is no rotation: its determinant is {determinant:.3f}, allowed: +1; one axis "
            "has the wrong sign"
        )


def read_yaml(path: Path | str, error: type[UserError]) -> Any:
    """Plain values of a YAML file; a key that is given twice is refused.

    Raises:
        UserError: of the class `error`: there is no such file, or it is no YAML.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Strict)
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise error(
            f"{path}: cannot be read as YAML: {' '.join(str(failure).split())}"
        ) from failure


class _Strict(yaml.SafeLoader):
    """Refuses a mapping that has a key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As usual, but for keys that repeat."""
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)


def _require_keys(entry: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise CalibrationError(f"{where} is {entry!r}; give {', '.join(keys)}")
    if wrong := [key for key in entry if key not in keys]:
        raise CalibrationError(f"{where}: unknown key {wrong[0]!r}; allowed: {', '.join(keys)}")
    if missing := [key for key in keys if key not in entry]:
        raise CalibrationError(f"{where}: key {missing[0]!r} is missing")


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CalibrationError(f"{what} is {value!r}; give a finite number")
    return float(value)


def _index(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CalibrationError(f"{what} is {value!r}; give a whole number from 0")
    return value


def _require_each_once(what: str, names: Sequence[str], of: str, order: Sequence[int]) -> None:
    if what == "joints" and not names:
        raise CalibrationError("joints: there is none")
    if len(set(names)) != len(names):
        raise CalibrationError(f"{what}: a name is given twice in {', '.join(names)}")
    if sorted(order) != list(range(len(names))):
        raise CalibrationError(
            f"{what}: the {of} numbers are {', '.join(map(str, order))}; each of 0 to "
            f"{len(names) - 1} is needed once"
        )
