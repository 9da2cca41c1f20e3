"""The rules of the safety layer: each is one pure function of what was measured and of the limits.

A rule that says whether something is wrong is False for what is allowed; numbers that are no
numbers are never allowed. `safety.py` says what follows. Tilts and angles are in rad, J servos.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wildrobot_torch.deploy.runtime.hardware import Array
from wildrobot_torch.deploy.runtime.limits import SafetyLimits

Mask = NDArray[np.bool_]
UPRIGHT = 0.02
"""Below this sine of the tilt its direction says nothing [1]."""


# Targets: what is sent


def unusable(targets: Any, joints: int) -> bool:
    """Whether these are no targets: of another size, or not finite."""
    return not (
        isinstance(targets, np.ndarray)
        and targets.shape == (joints,)
        and targets.dtype.kind in "fiu"
        and np.isfinite(targets).all()
    )


def unusable_again(count: int, limits: SafetyLimits) -> bool:
    """Whether too many requests in a row were no targets."""
    return count >= limits.unusable_targets


def within_range(targets: Array, low: Array, high: Array) -> Array:
    """Targets within the joints' stops."""
    return np.minimum(np.maximum(targets, low), high)


def within_rate(targets: Array, last: Array, step: Array | float) -> Array:
    """Targets at most a step [rad] away from the last ones."""
    return np.minimum(np.maximum(targets, last - step), last + step)


def within_torque(targets: Array, joint_pos: Array, reach: Array | float) -> Array:
    """Targets at most a reach [rad] away from the readings: torque is gain times this distance."""
    return np.minimum(np.maximum(targets, joint_pos - reach), joint_pos + reach)


def fastest(limits: SafetyLimits) -> float:
    """Largest speed of a target [rad/s]."""
    return min(limits.joint_speed_rad_s, limits.servo_speed_rad_s)


def share_when_hot(temperature: Array, limits: SafetyLimits) -> Array:
    """(J,): share of speed and torque that servos of this temperature [deg C] have; NaN has all."""
    above = (temperature - limits.derate_from_c) / (limits.hot_c - limits.derate_from_c)
    return 1.0 - (1.0 - limits.derated_share) * np.fmin(np.fmax(above, 0.0), 1.0)


# Readings: what is believed


def no_number(values: Array) -> Mask:
    """Which values are not finite."""
    return ~np.isfinite(values)


def jumped(moved: Array, elapsed: Array, limits: SafetyLimits) -> Mask:
    """Which readings moved [rad] further than a servo can in the time [s] since the last one."""
    most = limits.servo_speed_rad_s * elapsed + math.radians(limits.jump_slack_deg)
    return ~(np.abs(moved) <= most)


def jumped_again(count: int, limits: SafetyLimits) -> bool:
    """Whether too many readings of a joint in a row were dropped."""
    return count >= limits.jumps


def bad_norm(norm: float, limits: SafetyLimits) -> bool:
    """Whether a quaternion of this norm is no orientation."""
    return not limits.quat_norm_low <= norm <= limits.quat_norm_high


def joints_old(age: float, limits: SafetyLimits) -> bool:
    """Whether the oldest joint reading is too old [s]."""
    return not age <= limits.joint_age_s


def imu_old(age: float, limits: SafetyLimits) -> bool:
    """Whether the IMU's last report is too old [s]."""
    return not age <= limits.imu_age_s


def joints_frozen(same_for: Array, strayed: Array, limits: SafetyLimits) -> Mask:
    """Which joints have had identical readings for too long [s] although their targets went away.

    `strayed` is the largest distance of the target from these readings [rad].
    """
    return (same_for >= limits.frozen_s) & (strayed > math.radians(limits.frozen_target_deg))


def imu_frozen(same_for: float, turned: float, limits: SafetyLimits) -> bool:
    """Whether the IMU's reports were identical for too long [s] while a joint turned [rad]."""
    return same_for >= limits.frozen_s and turned > math.radians(limits.frozen_motion_deg)


def stepped_back(elapsed: float) -> bool:
    """Whether a time is before the one that came before it."""
    return elapsed < 0.0


def ahead(early: float, ctrl_dt: float) -> bool:
    """Whether a time is in the future [s] by more than a control step."""
    return early > ctrl_dt


# Attitude


def tilted(tilt: float, limits: SafetyLimits) -> bool:
    """Whether the robot leans too far."""
    return not tilt <= math.radians(limits.tilt_deg)


def tilt_rate(gravity: list[float], angvel: list[float]) -> float:
    """How fast the tilt grows [rad/s], from g' = -w x g in the root's frame."""
    (gx, gy, _), (wx, wy, _) = gravity, angvel
    sine = math.hypot(gx, gy)
    if sine < UPRIGHT:
        return math.hypot(wx, wy)
    return (wy * gx - wx * gy) / sine


def falling(tilt: float, rate: float, limits: SafetyLimits) -> bool:
    """Whether the tilt will be too large at the horizon if it goes on growing at this rate."""
    return not tilt + rate * limits.fall_horizon_s <= math.radians(limits.tilt_deg)


def too_tilted_to_stop_softly(tilt: float, limits: SafetyLimits) -> bool:
    """Whether a soft stop must give up."""
    return not tilt <= math.radians(limits.stop_tilt_deg)


# Time, heat, supply


def too_many_missed(missed: int, limits: SafetyLimits) -> bool:
    """Whether too many control steps were missed within the window."""
    return missed > limits.missed_ticks


def hot(temperature: float, limits: SafetyLimits) -> bool:
    """Whether a servo is too hot [deg C]; NaN is not reported, and cannot be judged."""
    return temperature >= limits.hot_c


def voltage_outside(voltage: float, limits: SafetyLimits) -> bool:
    """Whether the supply [V] is outside what servos work with; NaN cannot be judged."""
    return voltage < limits.voltage_low_v or voltage > limits.voltage_high_v


def voltage_outside_for_long(seconds: float, limits: SafetyLimits) -> bool:
    """Whether it has been outside for too long."""
    return seconds >= limits.voltage_s


# Start


def start_tilted(tilt: float, limits: SafetyLimits) -> bool:
    """Whether a robot leans too far to start."""
    return not tilt <= math.radians(limits.start_tilt_deg)


def start_turning(rate: float, limits: SafetyLimits) -> bool:
    """Whether a robot turns too fast to start [rad/s]."""
    return not rate <= limits.start_rate_rad_s


def start_outside(beyond: float, limits: SafetyLimits) -> bool:
    """Whether a joint is read too far beyond its range [rad] to start."""
    return not beyond <= math.radians(limits.start_range_deg)


def start_too_soon(count: int, limits: SafetyLimits) -> bool:
    """Whether too few samples in a row were fit for a start."""
    return count < limits.start_samples


def off_pose(error: float, limits: SafetyLimits) -> bool:
    """Whether a joint is too far from where the blend led it [rad]."""
    return not error <= math.radians(limits.blend_error_deg)


# State


def latched(state: str) -> bool:
    """Whether nothing may be sent until somebody resets the robot."""
    return state == "damped"


def unarmed(state: str) -> bool:
    """Whether nobody has started the robot."""
    return state == "off"
