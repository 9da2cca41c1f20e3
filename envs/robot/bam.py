"""BAM: a servo's measured motor and friction, read from a parameter file.

Format and formulas are those of Duclusaud, Passault, Padois and Ly, "Extended Friction Models for
the Physics Simulation of Servo Actuators", arXiv 2410.08650, and of its repository Rhoban/bam,
which has files of several servos. Left out are what a file says of its test bench (`q_offset`,
`command_delay`) and of the firmware (`max_velocity`, `error_gain_ratio`): the servo's gain is `kp`
of the MJCF, and robot.yaml has its travel time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.errors import UserError

_MOTOR = ("kt", "R", "armature")
_COULOMB = ("friction_base", "friction_viscous")
_STRIBECK = ("friction_stribeck", "dtheta_stribeck", "alpha")
_SIDES = (
    *("load_friction_motor", "load_friction_external"),
    *("load_friction_motor_stribeck", "load_friction_external_stribeck"),
)
PARAMETERS: dict[str, tuple[str, ...]] = {
    "m1": (*_MOTOR, *_COULOMB),
    "m2": (*_MOTOR, *_COULOMB, *_STRIBECK),
    "m3": (*_MOTOR, *_COULOMB, "load_friction_base"),
    "m4": (*_MOTOR, *_COULOMB, *_STRIBECK, "load_friction_base", "load_friction_stribeck"),
    "m5": (*_MOTOR, *_COULOMB, *_STRIBECK, *_SIDES),
    "m6": (
        *(*_MOTOR, *_COULOMB, *_STRIBECK, *_SIDES),
        *("load_friction_motor_quad", "load_friction_external_quad"),
    ),
}
"""What a file of each friction model must hold."""

POSITIVE = ("kt", "R", "armature", "dtheta_stribeck", "alpha")
"""Parameters that must be above 0; the others must not be below it."""

CURRENT_CONTROLLED = ("erob", "unitree")
"""How BAM's names of servos begin that set currents; their law is another."""


@dataclass(frozen=True)
class BamServo:
    """A servo whose firmware sets a voltage in proportion to the position error.

    All friction models are the largest, M6, with some coefficients at 0; see
    `envs.reality.friction`.
    """

    torque_constant: float
    """kt [N m/A], at the joint; also the back-EMF [V s/rad]."""
    resistance: float
    """R of the windings [ohm]."""
    armature: float
    """Rotor inertia at the joint [kg m^2]."""
    viscous: float
    """K_v [N m s/rad]."""
    coulomb: float
    """K_c [N m]."""
    motor: float = 0.0
    """K_m: share of the motor's torque that the gears lose."""
    load: float = 0.0
    """K_e: share of the load that they lose."""
    coulomb_rest: float = 0.0
    """K_cs [N m]: what is added at rest."""
    motor_rest: float = 0.0
    """K_ms: likewise."""
    load_rest: float = 0.0
    """K_es: likewise."""
    motor_square: float = 0.0
    """K_mq [1/(N m)], at rest."""
    load_square: float = 0.0
    """K_eq [1/(N m)], at rest."""
    stribeck_speed: float = 1.0
    """Speed [rad/s] at which what is added at rest has fallen to 1/e."""
    stribeck_exponent: float = 1.0
    """alpha: how suddenly it falls."""


def read_bam(path: Path, error: type[UserError] = UserError) -> BamServo:
    """The servo in a BAM parameter file.

    Args:
        path: a JSON file.
        error: the class of error to raise.

    Raises:
        UserError: the file is missing or unreadable, its model or servo has no law here, or a
            parameter is missing or impossible.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from failure
    except ValueError as failure:
        raise error(f"{path}: cannot be read as JSON: {failure}") from failure
    if not isinstance(content, dict) or content.get("model") not in PARAMETERS:
        found = content.get("model") if isinstance(content, dict) else content
        raise error(f"{path}: model is {found!r}; allowed: {', '.join(PARAMETERS)}")
    servo = str(content.get("actuator", ""))
    if servo.startswith(CURRENT_CONTROLLED):
        raise error(
            f"{path}: actuator {servo!r} controls its current; only servos that control their "
            "voltage can be simulated"
        )
    values = {n: _number(content, n, path, error) for n in PARAMETERS[content["model"]]}

    def value(*names: str) -> float:
        return next((values[name] for name in names if name in values), 0.0)

    return BamServo(
        torque_constant=values["kt"],
        resistance=values["R"],
        armature=values["armature"],
        viscous=values["friction_viscous"],
        coulomb=values["friction_base"],
        # M3 and M4 do not tell the motor's side from the load's.
        motor=value("load_friction_motor", "load_friction_base"),
        load=value("load_friction_external", "load_friction_base"),
        coulomb_rest=value("friction_stribeck"),
        motor_rest=value("load_friction_motor_stribeck", "load_friction_stribeck"),
        load_rest=value("load_friction_external_stribeck", "load_friction_stribeck"),
        motor_square=value("load_friction_motor_quad"),
        load_square=value("load_friction_external_quad"),
        stribeck_speed=values.get("dtheta_stribeck", 1.0),
        stribeck_exponent=values.get("alpha", 1.0),
    )


def _number(content: dict[str, Any], name: str, path: Path, error: type[UserError]) -> float:
    if name not in content:
        raise error(f"{path}: {name} is missing, which model {content['model']} needs")
    value = content[name]
    number = not isinstance(value, bool) and isinstance(value, int | float)
    low = "above 0" if name in POSITIVE else "0 or more"
    if not number or not math.isfinite(value) or value < 0 or (name in POSITIVE and value == 0):
        raise error(f"{path}: {name} is {value!r}; allowed: a finite number, {low}")
    return float(value)
