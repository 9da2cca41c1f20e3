"""Limits of the safety layer, read from a file; `safety.yaml` beside it has the defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from envs.errors import UserError, closest
from wildrobot_torch.deploy.runtime.calibration import read_yaml

DEFAULT = Path(__file__).parent / "safety.yaml"
"""Limits of the WildRobot with servos HTD-45H."""


class LimitsError(UserError):
    """Limits that are none, or make no sense."""


@dataclass(frozen=True, kw_only=True)
class SafetyLimits:
    """Every limit once. The names hold the units; see the default file for what each is."""

    joint_speed_rad_s: float
    servo_speed_rad_s: float
    servo_gain_nm_rad: float
    torque_nm: float
    unusable_targets: int
    tilt_deg: float
    fall_horizon_s: float
    joint_age_s: float
    imu_age_s: float
    jump_slack_deg: float
    jumps: int
    quat_norm_low: float
    quat_norm_high: float
    frozen_s: float
    frozen_target_deg: float
    frozen_motion_deg: float
    missed_ticks: int
    missed_window_s: float
    derate_from_c: float
    hot_c: float
    derated_share: float
    voltage_low_v: float
    voltage_high_v: float
    voltage_s: float
    start_tilt_deg: float
    start_rate_rad_s: float
    start_range_deg: float
    start_samples: int
    blend_s: float
    blend_error_deg: float
    blend_hold_s: float
    stop_s: float
    stop_tilt_deg: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise LimitsError(f"{field.name} is {value!r}; give {kind}")
            low, high = _ALLOWED.get(field.name, _BY_UNIT[_unit(field.name)])
            if not (math.isfinite(value) and low <= value <= high):
                raise LimitsError(f"{field.name} is {value}; allowed: {low:g} to {high:g}")
        for less, more in _ORDERED:
            if not getattr(self, less) < getattr(self, more):
                raise LimitsError(
                    f"{less} is {getattr(self, less)}; it must be below {more}, which is "
                    f"{getattr(self, more)}"
                )

    @classmethod
    def load(cls, path: Path | str = DEFAULT) -> SafetyLimits:
        """Read a file that has every limit.

        Raises:
            LimitsError: there is no such file, or a limit is unknown, missing or makes no sense.
        """
        content = read_yaml(path, LimitsError)
        if not isinstance(content, dict):
            raise LimitsError(f"{path} holds no limits; begin with a copy of {DEFAULT}")
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in content if name not in known]:
            raise LimitsError(
                f"{path}: limit {unknown[0]!r} is unknown{closest(str(unknown[0]), known)}; "
                f"allowed: {', '.join(known)}"
            )
        if missing := [name for name in known if name not in content]:
            raise LimitsError(f"{path}: limit {missing[0]} is missing; {DEFAULT} has them all")
        try:
            return cls(**content)
        except LimitsError as error:
            raise LimitsError(f"{path}: {error}") from error


_BY_UNIT = {"deg": (0.1, 179.0), "rad_s": (0.01, 100.0), "s": (0.001, 60.0), "c": (0.0, 150.0),
            "v": (0.1, 100.0), "nm": (0.01, 1000.0), "nm_rad": (0.1, 10000.0),
            "": (1, 1000)}  # fmt: skip
"""Unit -> what a limit may be: wide, but a slip of units falls outside."""
_ALLOWED = {
    "quat_norm_low": (0.5, 1.0), "quat_norm_high": (1.0, 1.5), "derated_share": (0.05, 1.0),
    "tilt_deg": (5.0, 90.0), "start_range_deg": (0.0, 30.0), "start_tilt_deg": (1.0, 45.0),
    "joint_age_s": (0.001, 1.25), "imu_age_s": (0.001, 1.0), "jumps": (1, 10),
    "unusable_targets": (1, 10), "stop_tilt_deg": (1.0, 60.0), "start_rate_rad_s": (0.01, 5.0),
    "fall_horizon_s": (0.01, 1.0),
}  # fmt: skip
_ORDERED = (("derate_from_c", "hot_c"), ("voltage_low_v", "voltage_high_v"),
            ("start_tilt_deg", "tilt_deg"), ("stop_tilt_deg", "tilt_deg"))  # fmt: skip


def _unit(name: str) -> str:
    return next((unit for unit in ("nm_rad", "rad_s", "deg", "nm", "s", "c", "v")
                 if name.endswith(f"_{unit}")), "")  # fmt: skip
