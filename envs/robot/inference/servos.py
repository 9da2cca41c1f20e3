"""What drives a joint: the limits that the MJCF states, and guesses where it states none."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.inference.tree import Tree

TORQUE_SHARE = 0.35
"""Guess of a leg servo's largest torque, as a share of weight times leg length: 4.9 N m for the
WildRobot, whose servos have 4.0."""
GAIN_SHARE = 2.0
"""Guess of its position gain, likewise [1/rad]: two ankles then hold the robot upright three times,
which leaves enough for knees and hips that give way. Small servo bipeds have 1.2 to 2.7."""
FASTEST = 0.002
"""A guessed gain is low enough for physics steps of this length [s]: the joint's own inertia must
not swing faster than one radian a step."""
SPEED_SHARE = 2.1
"""Guess of its speed, as a share of sqrt(g / leg length): 10 rad/s for the WildRobot."""
DAMPING_TIME = 0.1
"""Guess of kv / kp, as a share of sqrt(leg length / g)."""


@dataclass(frozen=True)
class Servo:
    """What drives one joint, gear included: all values are at the joint."""

    kind: str
    """`position`, `motor`, `velocity`, `other`, `several` or `none`."""
    kp: float | None
    """[N m/rad]; None unless it is a position servo."""
    kv: float | None
    """[N m s/rad]; likewise."""
    torque: float | None
    """Largest torque that the MJCF states [N m]; None where it states none."""
    range: tuple[float, float] | None
    """How far the joint may go [rad]: its stops, else the servo's targets; None without either."""
    damping: float
    """Damping of the joint itself [N m s/rad]."""


def servo_of(tree: Tree, joint: int) -> Servo:
    """What the MJCF says of a joint's servo."""
    model = tree.model
    actuators = tree.actuators.get(joint, ())
    limits = []
    if model.jnt_actfrclimited[joint]:
        limits.append(float(np.abs(model.jnt_actfrcrange[joint]).min()))
    stops = model.jnt_range[joint] if model.jnt_limited[joint] else None
    kind, kp, kv = "none", None, None
    kinds = [_kind(model, actuator) for actuator in actuators]
    for actuator, what in zip(actuators, kinds, strict=True):
        gear, gain = float(model.actuator_gear[actuator, 0]), model.actuator_gainprm[actuator, 0]
        if model.actuator_forcelimited[actuator]:
            limits.append(abs(gear) * float(np.abs(model.actuator_forcerange[actuator]).min()))
        targets = model.actuator_ctrlrange[actuator]
        if what == "motor" and model.actuator_ctrllimited[actuator]:
            limits.append(abs(gear * gain) * float(np.abs(targets).min()))
        if what == "position":
            kp = gear**2 * float(gain)
            kv = (kv or 0.0) - gear**2 * float(model.actuator_biasprm[actuator, 2])
            if stops is None and model.actuator_ctrllimited[actuator]:
                stops = np.sort(targets / gear)
        if what == "velocity":
            kv = (kv or 0.0) + gear**2 * float(gain)
    if actuators:
        kind = kinds[0] if len(kinds) == 1 else "several"
        if sorted(kinds) == ["position", "velocity"]:  # a servo written as two actuators
            kind = "position"
    return Servo(
        kind=kind,
        kp=kp if kind == "position" else None,
        kv=kv if kind == "position" else None,
        torque=min(limits) if limits and min(limits) > 0.0 else None,
        range=(float(stops[0]), float(stops[1])) if stops is not None else None,
        damping=float(np.atleast_1d(model.dof_damping[model.jnt_dofadr[joint]])[0]),
    )


def _kind(model: mujoco.MjModel, actuator: int) -> str:
    """What law an actuator follows."""
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
