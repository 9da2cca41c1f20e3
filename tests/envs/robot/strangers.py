"""Bipeds as strangers write them, made to order, with what is true of them by construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray

EX, EY, EZ = np.eye(3)
AXES = {
    "yaw": EZ, "roll": EX, "pitch": EY, "knee": EY, "ankle_pitch": EY, "ankle_roll": EX,
}  # fmt: skip
FLEXES = {
    "pitch": -1, "knee": 1, "ankle_pitch": 1, "roll": -1, "yaw": -1, "ankle_roll": -1,
}  # fmt: skip
"""Sign of the left joint's angle about +x, +y or +z that flexes, turns inwards, points down."""
HEIGHTS = {"pitch": 0.0, "roll": 0.0, "yaw": 0.0, "knee": -0.2, "ankle_pitch": -0.38,
           "ankle_roll": -0.38}  # fmt: skip
RANGES = {"yaw": (-0.6, 0.6), "roll": (-0.5, 0.5), "pitch": (-1.2, 1.2), "knee": (-0.05, 2.0),
          "ankle_pitch": (-0.9, 0.9), "ankle_roll": (-0.5, 0.5)}  # fmt: skip

FEET = {
    "box": '<geom type="box" size=".08 .04 .01" pos="{0}" quat="{q}"/>',
    "capsules": '<geom type="capsule" size=".01" fromto="{1} {2}"/>'
    '<geom type="capsule" size=".01" fromto="{3} {4}"/>',
    "spheres": '<geom size=".01" pos="{1}"/><geom size=".01" pos="{2}"/>'
    '<geom size=".01" pos="{3}"/><geom size=".01" pos="{4}"/>',
    "mesh": '<geom type="mesh" mesh="foot" pos="{0}" quat="{q}"/>',
    "boxes": '<geom type="box" size=".03 .04 .01" pos="{5}" quat="{q}"/>'
    '<geom type="box" size=".03 .04 .01" pos="{6}" quat="{q}"/>',
    "none": "",
    "visual": '<geom type="box" size=".08 .04 .01" pos="{0}" contype="0" conaffinity="0"/>',
}
"""Feet 0.16 m long, 0.08 m wide and 0.02 m high, whose middle is 0.03 m ahead of the ankle."""
FLAT = {"heel": -0.05, "toe": 0.11, "width": 0.08}
ROUND = {"heel": -0.04, "toe": 0.10, "width": 0.06}
"""Balls and capsules touch the ground below their middles, a radius of 0.01 m further in."""


@dataclass
class Biped:
    """A biped to order; lengths in metres, every body frame parallel to the root's."""

    order: tuple[str, ...] = ("yaw", "roll", "pitch", "knee", "ankle_pitch", "ankle_roll")
    """Kinds of a leg's joints, from the trunk on."""
    flipped: tuple[str, ...] = ()
    """Kinds whose axis is reversed on the right alone."""
    reversed: tuple[str, ...] = ()
    """Kinds whose axis is reversed on both sides."""
    names: tuple[str, str] = ("left", "right")
    """What the left and the right leg's names begin with."""
    axes: Array = field(default_factory=lambda: np.eye(3))
    """Robot's axes in the root's: columns forward, left, up."""
    upright: bool = True
    """Whether the MJCF shows it standing: its root is turned for that."""
    foot: str = "box"
    upper: bool = False
    """Whether it has waist yaw, neck, and arms of two joints."""
    actuator: str = "position"
    """`position`, `motor`, or `none`."""
    limited: bool = True
    """Whether servos have a torque limit."""
    legs: int = 2
    free: bool = True
    middle: float = 0.0
    """Of the mirror plane, to the left of the root's origin."""
    slid: float = 0.0
    """How far the right knee's anchor is moved along its own axis."""

    @property
    def sole(self) -> dict[str, float]:
        """Rectangle of the sole [m]."""
        return ROUND if self.foot in ("spheres", "capsules") else FLAT

    def sign(self, kind: str, side: int) -> int:
        """Sign of a joint's axis against the robot's; side 1 is the left."""
        sign = -1 if kind in self.reversed else 1
        return -sign if side < 0 and kind in self.flipped else sign

    def mirror_sign(self, kind: str) -> int:
        """A rotation about y is its own image; one about x or z is reversed."""
        same = self.sign(kind, 1) * self.sign(kind, -1)
        return same if AXES[kind] is EY else -same

    def action_sign(self, kind: str, side: int) -> int:
        """Where FLEXES says for the left; inwards is reversed on the right."""
        flexes = FLEXES[kind] * (1 if AXES[kind] is EY else side)
        return flexes * self.sign(kind, side)

    def joint(self, kind: str, side: int) -> str:
        return f"{self.names[0 if side > 0 else 1]}_{kind}"

    def body(self, kind: str, side: int) -> str:
        return f"{self.joint(kind, side)}_link"

    def xml(self) -> str:
        legs = "".join(self._leg(side, x) for side, x in _places(self.legs))
        sides = (1, -1) if self.legs > 1 else (1,)
        joints = [self.joint(kind, side) for side in sides for kind in self.order]
        top = ""
        if self.upper:
            top, names = self._upper()
            joints = names + joints[::-1]
        if self.actuator == "none":
            joints = []
        limit = 'forcerange="-30 30"' if self.limited else ""
        law = f'kp="60" kv="2" {limit}' if self.actuator == "position" else 'gear="30"'
        if self.actuator == "motor" and self.limited:
            law += ' ctrllimited="true" ctrlrange="-1 1"'
        acts = "".join(f'<{self.actuator} joint="{joint}" {law}/>' for joint in joints)
        turn = _quat(self.axes.T) if self.upright else "1 0 0 0"
        return f"""<mujoco><compiler angle="radian" autolimits="true"/>
        <asset><mesh name="foot" vertex="{_hull(0.08, 0.04, 0.01)}"/></asset>
        <default><joint damping=".3" armature=".01"/></default>
        <worldbody><body name="base" pos="0 0 1" quat="{turn}">{"<freejoint/>" * self.free}
        <geom type="box" size=".05 .05 .05" mass="2" pos="{self._at(0, 0, 0.1)}" contype="0"
        conaffinity="0"/>{legs}{top}</body></worldbody><actuator>{acts}</actuator></mujoco>"""

    def _at(self, x: float, y: float, z: float) -> str:
        return _words(self.axes @ np.array([x, y + self.middle, z]))

    def _by(self, x: float, y: float, z: float) -> str:
        return _words(self.axes @ np.array([x, y, z]))

    def _leg(self, side: int, x: float) -> str:
        text, height = "", 0.0
        y = 0.1 * side
        for i, kind in enumerate(self.order):
            place = self._at(x, y, -0.05) if not i else self._by(0, 0, HEIGHTS[kind] - height)
            height = HEIGHTS[kind]
            axis = _words(self.axes @ AXES[kind] * self.sign(kind, side))
            low, high = RANGES[kind]
            if self.sign(kind, side) < 0:
                low, high = -high, -low
            # The image of a range about x or z on the right.
            if side < 0 and AXES[kind] is not EY:
                low, high = -high, -low
            anchor = self._by(0, self.slid if kind == "knee" and side < 0 else 0.0, 0)
            suffix = "" if x == 0.0 else f"_{x:g}"
            text += (
                f'<body name="{self.body(kind, side)}{suffix}" pos="{place}">'
                f'<joint name="{self.joint(kind, side)}{suffix}" axis="{axis}" pos="{anchor}" '
                f'range="{low} {high}"/><geom size=".02" mass=".3" contype="0" conaffinity="0"/>'
            )
        z = -0.44 - height
        corners = [(0.03 + dx, dy, z) for dx, dy in ((-0.07, -0.03), (0.07, -0.03), (-0.07, 0.03),
                                                     (0.07, 0.03))]  # fmt: skip
        points = [self._by(*p) for p in [(0.03, 0, z), *corners, (0.08, 0, z), (-0.02, 0, z)]]
        text += FEET[self.foot].format(*points, q=_quat(self.axes))
        return text + "</body>" * len(self.order)

    def _upper(self) -> tuple[str, list[str]]:
        names = ["waist", "neck"]
        arms = ""
        for side, name in zip((1, -1), self.names, strict=True):
            names += [f"{name}_shoulder", f"{name}_elbow"]
            arms += (
                f'<body name="{name}_arm" pos="{self._by(0, 0.15 * side, 0.3)}">'
                f'<joint name="{name}_shoulder" axis="{self._by(0, side, 0)}" range="-2 2"/>'
                f'<geom size=".03" mass=".2" pos="{self._by(0, 0.02 * side, -0.1)}"/>'
                f'<body name="{name}_fore" pos="{self._by(0, 0, -0.15)}">'
                f'<joint name="{name}_elbow" axis="{self._by(0, 1, 0)}" range="-2 .1"/>'
                f'<geom size=".03" mass=".1" pos="{self._by(0, 0, -0.1)}"/></body></body>'
            )
        return (
            f'<body name="chest" pos="{self._at(0, 0, 0.1)}"><joint name="waist" '
            f'axis="{self._by(0, 0, 1)}" range="-1 1"/><geom size=".08" mass="1" '
            f'pos="{self._by(0, 0, 0.15)}"/><body name="head" pos="{self._by(0, 0, 0.35)}">'
            f'<joint name="neck" axis="{self._by(0, 1, 0)}" range="-1 1"/>'
            f'<geom size=".05" mass=".2" pos="{self._by(0, 0, 0.06)}"/></body>{arms}</body>'
        ), names


def _places(legs: int) -> list[tuple[int, float]]:
    return {1: [(1, 0.0)], 2: [(1, 0.0), (-1, 0.0)],
            4: [(1, 0.0), (-1, 0.0), (1, -0.3), (-1, -0.3)]}[legs]  # fmt: skip


def _words(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _quat(axes: Array) -> str:
    """Quaternion of a rotation matrix, by the half-turn formula for each column's sum."""
    w = np.sqrt(max(0.0, 1.0 + np.trace(axes))) / 2.0
    if w > 1e-6:
        v = np.array([axes[2, 1] - axes[1, 2], axes[0, 2] - axes[2, 0], axes[1, 0] - axes[0, 1]])
        return _words(np.array([w, *(v / (4.0 * w))]))
    axis = np.sqrt(np.maximum((np.diag(axes) + 1.0) / 2.0, 0.0))
    largest = int(axis.argmax())
    signs = np.sign(axes[largest])
    signs[largest] = 1.0
    return _words(np.array([0.0, *(axis * np.where(signs == 0.0, 1.0, signs))]))


def _hull(x: float, y: float, z: float) -> str:
    return " ".join(f"{a * x} {b * y} {c * z}" for a in (-1, 1) for b in (-1, 1) for c in (-1, 1))
