"""From a task for a robot of the WildRobot's size to the same task for a larger or smaller one.

Numbers of a task in metres, seconds and newtons are those of the WildRobot. For another robot they
follow from its leg and its weight, as in a model test of a ship: lengths as the leg, times and
speeds as its root, so that the Froude number v^2 / (g leg) stays, forces as the weight (R. McN.
Alexander, "The gaits of bipedal and quadrupedal animals", Int. J. Robotics Research 3, 1984). Yaw
rates stay: how fast a robot turns is the user's wish and no matter of its legs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from envs.errors import UserError, closest
from envs.robot.spec import RobotSpec

if TYPE_CHECKING:
    from envs.config import LocomotionConfig

Factor = Callable[[float, RobotSpec], float]
"""From a number of the WildRobot's task to that of another robot."""


def _length(value: float, robot: RobotSpec) -> float:
    return value * robot.scale


def _height(value: float, robot: RobotSpec) -> float:
    return robot.scaled_height(value)


def _speed(value: float, robot: RobotSpec) -> float:
    return value * robot.speed_scale


def _time(value: float, robot: RobotSpec) -> float:
    return value * robot.speed_scale  # both are the root of the length


def _mass(value: float, robot: RobotSpec) -> float:
    return value * robot.mass_scale


def _impulse(value: float, robot: RobotSpec) -> float:
    return value * robot.mass_scale * robot.speed_scale


def _force(value: float, robot: RobotSpec) -> float:
    return value * robot.force_scale


def _torque(value: float, robot: RobotSpec) -> float:
    return value * robot.force_scale * robot.scale


def _stiffness(value: float, robot: RobotSpec) -> float:
    return value * robot.force_scale / robot.scale


def _damping(value: float, robot: RobotSpec) -> float:
    return value * robot.force_scale / robot.speed_scale


def _turning_damping(value: float, robot: RobotSpec) -> float:
    return _torque(value, robot) * robot.speed_scale


SIZED: Mapping[str, Mapping[str, Factor]] = {
    "observation": {"foot_switch_threshold": _force},
    "command": {"velocity_min": _speed, "velocity_max": _speed, "lateral_max": _speed},
    "reward": {"tracking_time": _time, "swing_time": _time},
    "termination": {"min_height": _height, "max_height": _height},
    "reset": {"velocity_noise": _speed},
    "push": {"impulse_min": _impulse, "impulse_max": _impulse},
    "randomization": {"payload": _mass, "com": _length},
    "support": {
        "height_kp": _stiffness,
        "height_kd": _damping,
        "force_cap": _force,
        "tilt_kp": _torque,
        "tilt_kd": _turning_damping,
        "torque_cap": _torque,
    },
}
"""Part of the task -> its numbers that depend on the robot's size."""


def sized(config: LocomotionConfig, robot: RobotSpec) -> LocomotionConfig:
    """The task for `robot`; all of its numbers then are as they are written.

    Parts that `config.as_written` names stay as they are. A robot of the WildRobot's size has the
    task itself.
    """
    if robot.is_standard:
        return config
    parts: dict[str, Any] = {}
    for name, numbers in SIZED.items():
        part = getattr(config, name)
        if name not in config.as_written and part is not None:
            parts[name] = _scaled(part, numbers, robot)
    return replace(config, **parts, as_written=tuple(SIZED))


def _scaled(part: Any, numbers: Mapping[str, Factor], robot: RobotSpec) -> Any:
    values = {}
    for name, factor in numbers.items():
        value = getattr(part, name)
        if value is None:
            continue
        if hasattr(value, "sd"):  # the distribution of a randomisation term
            bounds = {key: number for key, number in vars(value).items() if number is not None}
            values[name] = replace(value, **{k: factor(v, robot) for k, v in bounds.items()})
        else:
            values[name] = round(factor(value, robot), 6)
    return replace(part, **values)


def what_was_sized(before: LocomotionConfig, after: LocomotionConfig) -> list[str]:
    """A line for each number that `sized` changed."""
    lines = []
    for name, numbers in SIZED.items():
        old, new = getattr(before, name), getattr(after, name)
        if old is None:
            continue
        for key in numbers:
            was, now = getattr(old, key), getattr(new, key)
            if was != now and not hasattr(was, "sd"):
                lines.append(f"{name}.{key} {was:g} -> {now:.4g}")
    return lines


def check_parts(names: tuple[str, ...]) -> None:
    """Refuse parts of a task that have no size.

    Raises:
        UserError: names the first one.
    """
    for name in names:
        if name not in SIZED:
            raise UserError(
                f"as_written has {name!r}{closest(name, SIZED)}; allowed: {', '.join(SIZED)}"
            )
