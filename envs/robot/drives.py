"""What an MJCF says of what drives a joint: laws, gains, limits."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


@dataclass(frozen=True)
class Drive:
    """All actuators of one joint together, gear included: values are at the joint."""

    actuators: tuple[int, ...]
    """Their indices in the model."""
    laws: tuple[str, ...]
    """Law of each: `position`, `velocity`, `motor` or `other`."""
    kp: float
    """Position gain [N m/rad]; 0 without one."""
    kv: float
    """Velocity gain [N m s/rad]; 0 without one."""
    torque: float | None
    """Largest torque, the lowest of all limits that are stated [N m]; None without one."""
    targets: tuple[float, float] | None
    """Lowest and highest target of a position servo [rad]; None without a limit."""


def drive_of(model: mujoco.MjModel, joint: int) -> Drive:
    """What drives the joint of that index; no actuators where nothing does."""
    actuators = tuple(
        index
        for index in range(model.nu)
        if model.actuator_trnid[index, 0] == joint
        and int(model.actuator_trntype[index]) in _ON_JOINT
    )
    laws = tuple(_law(model, actuator) for actuator in actuators)
    kp, kv, limits, targets = 0.0, 0.0, [], None
    if model.jnt_actfrclimited[joint]:
        limits.append(float(np.abs(model.jnt_actfrcrange[joint]).min()))
    for actuator, law in zip(actuators, laws, strict=True):
        gear = float(model.actuator_gear[actuator, 0])
        gain = float(model.actuator_gainprm[actuator, 0])
        told = model.actuator_ctrlrange[actuator] if model.actuator_ctrllimited[actuator] else None
        if model.actuator_forcelimited[actuator]:
            limits.append(abs(gear) * float(np.abs(model.actuator_forcerange[actuator]).min()))
        if law == "motor" and told is not None:  # its torque is what it may be told
            limits.append(abs(gear * gain) * float(np.abs(told).min()))
        if law == "position":
            kp = gear**2 * gain
            kv -= gear**2 * float(model.actuator_biasprm[actuator, 2])
            if told is not None:
                low, high = np.sort(told / gear)
                targets = float(low), float(high)
        if law == "velocity":
            kv += gear**2 * gain
    return Drive(actuators, laws, kp, kv, min(limits, default=None), targets)


def _law(model: mujoco.MjModel, actuator: int) -> str:
    gain, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator, :3]
    fixed = model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED
    affine = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE
    if not fixed or gain <= 0.0:
        return "other"
    if not affine or not bias.any():
        return "motor"
    if bias[0] == 0.0 and bias[1] == -gain and bias[2] <= 0.0:
        return "position"
    if bias[0] == 0.0 and bias[1] == 0.0 and bias[2] == -gain:
        return "velocity"
    return "other"
