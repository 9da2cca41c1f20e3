"""What drives a joint: the limits that the MJCF states, and guesses where it states none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.robot.drives import drive_of
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
    model, drive = tree.model, drive_of(tree.model, joint)
    stops = model.jnt_range[joint] if model.jnt_limited[joint] else drive.targets
    kind = "none"
    if drive.laws:
        kind = drive.laws[0] if len(drive.laws) == 1 else "several"
        if sorted(drive.laws) == ["position", "velocity"]:  # a servo written as two actuators
            kind = "position"
    return Servo(
        kind=kind,
        kp=drive.kp if kind == "position" else None,
        kv=drive.kv if kind == "position" else None,
        torque=drive.torque or None,
        range=(float(stops[0]), float(stops[1])) if stops is not None else None,
        damping=float(np.atleast_1d(model.dof_damping[model.jnt_dofadr[joint]])[0]),
    )
