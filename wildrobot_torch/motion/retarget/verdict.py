"""What is wrong with a clip before any robot follows it: feet, stops, servos and balance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from envs.reality.servo import torque_limit
from envs.robot.model import RobotModel
from envs.thresholds import JOINT_STOP
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.feedforward import inverse_dynamics
from wildrobot_torch.motion.kinematics import legs_of, sole_axes, sole_corners, soles
from wildrobot_torch.motion.rotations import Array

_LOW, _FLOATS = 1e-3, 5e-3
"""A sole lower than the first stands, of a robot of the WildRobot's size; where the lower sole is
higher than the second, the robot floats [m]."""
_ROOM = 0.01
"""Least room between the soles, for the same robot [m]."""


@dataclass(frozen=True)
class Verdict:
    """Measures of one clip."""

    slip: float
    """Mean speed of standing soles over the floor [m/s]."""
    floating: float
    """Share of frames in which no sole is near the floor [1]."""
    penetration: float
    """Deepest point of a sole below the floor [m]."""
    stops: float
    """Share of frames in which a joint rests on a stop, worst joint [1]."""
    speed: float
    """Fastest joint over what its servo turns at without load [1]."""
    jerk: float
    """Largest second difference of a joint's speed, times the square of the unit of time
    sqrt(L / g), over that speed's largest size [1]."""
    apart: float
    """Least room between the soles, sideways, in the feet's own frame [m]."""
    unbalanced: float
    """Share of frames with the zero-moment point outside the standing soles [1]."""
    torque: float
    """Torque that the motion needs over what the servo has at that speed, 95th percentile of the
    worst joint [1]."""

    def faults(self, scale: float = 1.0) -> list[str]:
        """What is beyond its limit, for a robot so much longer of leg than the WildRobot."""
        pace = scale**0.5
        checks = [
            ("slip", self.slip, 0.05 * pace, "m/s"),
            ("floating", self.floating, 0.1, "of frames"),
            ("penetration", self.penetration, 0.005 * scale, "m"),
            ("on a stop", self.stops, 0.05, "of frames"),
            ("joint speed", self.speed, 1.0, "of the servo's"),
            ("unbalanced", self.unbalanced, 0.25, "of frames"),
            ("torque", self.torque, 1.0, "of the servo's"),
        ]
        found = [
            f"{n} {v:.3g} {unit} (at most {most:.3g})" for n, v, most, unit in checks if v > most
        ]
        if self.apart < _ROOM * scale:
            found.append(f"room between soles {self.apart:.3g} m (at least {_ROOM * scale:.3g})")
        return found

    def line(self) -> str:
        """The measures in one line."""
        return (
            f"slip {self.slip:.3f} m/s, floats {self.floating:.0%}, "
            f"{1e3 * self.penetration:.1f} mm deep, on stops {self.stops:.0%}, joint speed "
            f"{self.speed:.2f} and torque {self.torque:.2f} of the servo's, room "
            f"{1e3 * self.apart:.0f} mm, unbalanced {self.unbalanced:.0%}, jerk {self.jerk:.1f}"
        )


def verdict(clip: Clip, robot_model: RobotModel) -> Verdict:
    """Measures of a clip of the robot.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    robot = robot_model.robot.to("cpu")
    legs = legs_of(robot)
    corners, middle = sole_corners(legs, clip.require(robot)), soles(legs, clip)
    lowest = corners[..., 2].min(-1)
    stands = lowest < _LOW * robot.scale
    # A foot stands in a step if it does so at both ends of it.
    held = stands[1:] & stands[:-1]
    pace = np.linalg.norm(np.diff(middle[..., :2], axis=0), axis=-1) * clip.fps
    joint_vel = clip.velocities(robot)[2]
    low, high = robot.joint_range.double().numpy().T
    on_stop = (clip.joint_pos < low + JOINT_STOP) | (clip.joint_pos > high - JOINT_STOP)
    servo_speed = np.minimum(robot.joint_max_velocity.double().numpy(), robot.servo.no_load_speed)
    torque, zmp = inverse_dynamics(clip, robot_model, _LOW)
    most = torque_limit(
        torch.from_numpy(joint_vel * np.sign(torque)).float(), {}, robot, robot.servo.model
    )
    share = np.abs(torque) / np.maximum(most.double().numpy(), 1e-6)
    unit = (robot.leg.leg_length / robot.gravity) ** 0.5
    jerk = np.abs(np.diff(joint_vel, n=2, axis=0)).max() * clip.fps**2 * unit**2
    return Verdict(
        slip=float(pace[held].mean()) if held.any() else 0.0,
        floating=float((lowest.min(1) > _FLOATS * robot.scale).mean()),
        penetration=max(0.0, -float(lowest.min())),
        stops=float(on_stop.mean(0).max()),
        speed=float((np.abs(joint_vel) / servo_speed).max()),
        jerk=float(jerk / max(np.abs(joint_vel).max(), 1e-9)),
        apart=_apart(middle, sole_axes(legs, clip), robot.leg.sole_width),
        unbalanced=_outside(zmp, corners, stands),
        torque=float(np.quantile(share, 0.95, axis=0).max()),
    )


def _apart(middle: Array, axes: Array, width: float) -> float:
    """Least room [m] between soles at (N, 2, 3), along the left foot's own sideways axis."""
    across = ((middle[:, 0] - middle[:, 1]) * axes[:, 0, :, 1]).sum(-1)
    along = np.abs(((middle[:, 0] - middle[:, 1]) * axes[:, 0, :, 0]).sum(-1))
    beside = along <= np.median(along) + 1e-9
    return float(across[beside].min()) - width


def _outside(zmp: Array, corners: Array, stands: Array) -> float:
    """Share of frames whose point (N, 2) is in none of the soles that stand, nor between them."""
    outside = 0
    for point, feet, down in zip(zmp, corners, stands, strict=True):
        used = feet[down] if down.any() else feet
        hull = _hull(used[..., :2].reshape(-1, 2))
        edge, towards = np.roll(hull, -1, axis=0) - hull, point - hull
        outside += bool((edge[:, 0] * towards[:, 1] - edge[:, 1] * towards[:, 0] < 0.0).any())
    return outside / len(zmp)


def _hull(points: Array) -> Array:
    """Corners (K, 2) of the convex hull of points (M, 2), counter-clockwise: Andrew's chain."""
    ordered = sorted(map(tuple, points))

    def half(row: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for p in row:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0.0:
                    break
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))
