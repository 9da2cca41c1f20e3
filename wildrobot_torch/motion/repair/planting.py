"""A clip made possible: standing feet that stay where they are, and a trunk that keeps balance.

A foot that slides in the clip slides under whoever follows the clip, and a zero-moment point off
the soles is a fall or a hop. Both are mended in the clip, where they arise: stances are found by
the toes' rest and held in place, then the trunk moves sideways and along, as little as it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from envs.robot.model import RobotModel
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.augment import turn
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.feedforward import inverse_dynamics
from wildrobot_torch.motion.kinematics import Legs, sole_axes, soles
from wildrobot_torch.motion.posing import FootPath, pose
from wildrobot_torch.motion.rotations import Array, Flags

_COM_HEIGHT = 0.66
"""Height of the centre of mass over the floor, as a share of the straight leg."""
_SWING_S = 0.3
"""Duration of a swing, where a clip shows none whole [s]."""
_MOST = 0.05
"""Most that one round moves the zero-moment point [m]."""


@dataclass(frozen=True, kw_only=True)
class PlantingConfig:
    """How clips are planted."""

    rest_speed: float = 0.22
    """Speed of the toes over the floor below which a foot stands [m/s]."""
    rest_height: float = 0.02
    """Height of a sole's lowest corner above which it does not stand [m]."""
    shortest_stance_s: float = 0.12
    """Rests shorter than this are no stance [s]."""
    shortest_swing_s: float = 0.14
    """Interruptions shorter than this are no swing [s]."""
    feet_apart: float = 0.16
    """Least lateral distance between the middles of the planted soles [m]; narrower, the hips come
    to their adduction stops as the trunk goes over a foot."""
    clearance: float = 0.03
    """Least peak of a swinging sole's lowest corner [m]."""
    inside: float = 0.0
    """Distance that the zero-moment point keeps from the edges of the soles [m]."""
    smallness: float = 0.05
    """Weight of the trunk's squared shift against the zero-moment point's squared distance from
    where it should be."""
    rounds: int = 6
    """Rounds in which the trunk is moved for balance; 0 leaves it alone."""
    margin: float = 0.05
    """Distance that joints keep from their stops [rad]."""

    def __post_init__(self) -> None:
        allowed = {
            "rest_speed": (0.02 <= self.rest_speed <= 1.0, "0.02 to 1 m/s"),
            "rest_height": (0.0 < self.rest_height <= 0.1, "more than 0, up to 0.1 m"),
            "shortest_stance_s": (0.0 <= self.shortest_stance_s <= 0.5, "0 to 0.5 s"),
            "shortest_swing_s": (0.0 <= self.shortest_swing_s <= 0.5, "0 to 0.5 s"),
            "feet_apart": (0.0 <= self.feet_apart <= 0.3, "0 to 0.3 m"),
            "clearance": (0.0 <= self.clearance <= 0.1, "0 to 0.1 m"),
            "inside": (-0.03 <= self.inside <= 0.03, "-0.03 to 0.03 m"),
            "rounds": (0 <= self.rounds <= 50, "0 to 50"),
            "margin": (0.0 <= self.margin <= 0.2, "0 to 0.2 rad"),
        }
        for name, (good, words) in allowed.items():
            if not good:
                raise ClipError(f"planting.{name} is {getattr(self, name)}; allowed: {words}")


def plant(clip: Clip, robot_model: RobotModel, config: PlantingConfig | None = None) -> Clip:
    """The clip with its standing feet held in place and its trunk moved over them.

    Raises:
        ClipError: a foot never stands, or the clip has another number of joints than the robot.
    """
    config = config or PlantingConfig()
    robot = robot_model.robot
    legs = Legs(robot)
    # Along +x, for that is where feet are "ahead" and "aside".
    forward = rotations.quat_rotate(clip.require(robot).root_quat, np.array([1.0, 0.0, 0.0]))
    heading = math.atan2(float(forward[:, 1].mean()), float(forward[:, 0].mean()))
    straight = replace(turn(clip, -heading), name=clip.name)
    feet = planted_feet(straight, robot, config)
    planted = _posed(legs, straight, straight.root_pos, feet, config)
    for _ in range(config.rounds):
        step = _towards_balance(planted, feet, robot_model, legs, config)
        planted = _posed(legs, straight, planted.root_pos + step, feet, config)
    return replace(turn(planted, heading), name=clip.name, source=f"{clip.source}; planted")


def _posed(
    legs: Legs, clip: Clip, root_pos: Array, feet: tuple[FootPath, FootPath], config: PlantingConfig
) -> Clip:
    posed = pose(legs, root_pos, clip.root_quat, feet, clip.fps, config.margin).clip
    limits = legs.robot.joint_range.cpu().double().numpy()
    low, high = limits[:, 0] + config.margin, limits[:, 1] - config.margin
    return replace(posed, joint_pos=np.clip(posed.joint_pos, low, high))


def planted_feet(clip: Clip, robot: RobotSpec, config: PlantingConfig) -> tuple[FootPath, FootPath]:
    """Paths of both soles of a walk along +x, with every stance in one place on the floor.

    A swing runs from stance to stance along half a cosine wave, at rest at both ends, as high as
    the clip lifts the foot.

    Raises:
        ClipError: a foot never stands.
    """
    legs = Legs(robot)
    axes = sole_axes(legs, clip)
    centre = soles(legs, clip)
    paths = []
    middle = uniform_filter1d(centre[..., 1].mean(1), max(1, round(clip.fps)), mode="nearest")
    for side, outwards in ((0, 1.0), (1, -1.0)):
        sole = _level_place(centre[:, side], axes[:, side], legs)
        pitch = -np.arcsin(np.clip(axes[:, side, 2, 0], -1.0, 1.0))
        toes = centre[:, side] + legs.robot.leg.toe * axes[:, side, :, 0]
        ground = sole[:, 2] - float(np.quantile(sole[:, 2], 0.1))
        speed = np.linalg.norm(np.gradient(toes[:, :2], axis=0), axis=1) * clip.fps
        stances = _stances(
            (speed < config.rest_speed) & (ground < config.rest_height), clip.fps, config
        )
        if not stances:
            name = ("left", "right")[side]
            raise ClipError(f"clip {clip.name!r}: the {name} foot never stands")
        apart = outwards * (sole[:, 1] - middle)
        sole[:, 1] = middle + outwards * np.maximum(apart, config.feet_apart / 2.0)
        sole[:, 2] = ground
        paths.append(FootPath(_plant(sole, stances, clip.fps, config), pitch))
    return paths[0], paths[1]


def _level_place(centre: Array, axes: Array, legs: Legs) -> Array:
    """Where each sole (N, 3) would be, turned level about its lowest corner; inverse of `pose`."""
    leg = legs.robot.leg
    ahead = np.where(axes[:, 2, 0] < 0.0, leg.toe, leg.heel)
    aside = np.where(axes[:, 2, 1] < 0.0, leg.sole_width / 2.0, -leg.sole_width / 2.0)
    place = centre.copy()
    place[:, 0] -= ahead * (1.0 - axes[:, 0, 0])
    place[:, 1] -= aside * (1.0 - axes[:, 1, 1])
    place[:, 2] += ahead * axes[:, 2, 0] + aside * axes[:, 2, 1]
    return place


def _stances(resting: Flags, fps: float, config: PlantingConfig) -> list[tuple[int, int]]:
    """(start, stop) of the stances of one foot, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], resting.astype(int), [0]])))
    merged: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if merged and start - merged[-1][1] < config.shortest_swing_s * fps:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    last = len(resting)
    return [
        (a, b)
        for a, b in merged
        # What the clip's ends cut off may have been longer.
        if b - a >= config.shortest_stance_s * fps or a == 0 or b == last
    ]


def _plant(
    sole: Array, stances: list[tuple[int, int]], fps: float, config: PlantingConfig
) -> Array:
    """The path with each stance in its median place; z is 0 there."""
    planted = sole.copy()
    places = [np.median(sole[a:b, :2], axis=0) for a, b in stances]
    for (a, b), place in zip(stances, places, strict=True):
        planted[a:b, :2], planted[a:b, 2] = place, 0.0
    swings = [after[0] - before[1] for before, after in pairwise(stances)]
    swing = float(np.median(swings)) if swings else _SWING_S * fps
    for i in range(len(stances) - 1):
        start, stop = stances[i][1] - 1, stances[i + 1][0]
        share = (np.arange(start, stop + 1) - start) / (stop - start)
        _swing(planted[start : stop + 1], share, places[i], places[i + 1], config)
    first, last = stances[0][0], stances[-1][1] - 1
    if first > 0:  # the clip begins in a swing
        share = 1.0 - np.arange(first, -1, -1) / max(swing, first + 1.0)
        _part_of_swing(planted[: first + 1], share, sole[0, :2], places[0], config)
    if last < len(sole) - 1:
        share = np.arange(len(sole) - last) / max(swing, len(sole) - last + 0.0)
        _part_of_swing(planted[last:][::-1], 1.0 - share[::-1], sole[-1, :2], places[-1], config)
    return planted


def _swing(path: Array, share: Array, start: Array, stop: Array, config: PlantingConfig) -> None:
    """Write a whole swing over `path` (n, 3)."""
    way = (1.0 - np.cos(np.pi * share)) / 2.0
    path[:, :2] = start + way[:, None] * (stop - start)
    lift = np.sin(np.pi * share) ** 2
    peak = max(float(path[:, 2].max()), config.clearance)
    path[:, 2] = peak * lift


def _part_of_swing(
    path: Array, share: Array, away: Array, stance: Array, config: PlantingConfig
) -> None:
    """Write the end of a swing over `path` (n, 3), from `away` to the stance; share ends at 1."""
    left = (1.0 + np.cos(np.pi * share)) / 2.0
    path[:, :2] = stance + (left / left[0])[:, None] * (away - stance)
    peak = max(float(path[:, 2].max()), config.clearance)
    path[:, 2] = peak * np.sin(np.pi * share) ** 2


def _towards_balance(
    clip: Clip,
    feet: tuple[FootPath, FootPath],
    robot_model: RobotModel,
    legs: Legs,
    config: PlantingConfig,
) -> Array:
    """Motion of the trunk (N, 3) [m] that brings the zero-moment point nearer to the soles.

    A shift d of the centre of mass moves the zero-moment point by d - d'' / w^2 (linear inverted
    pendulum; Kagami et al., "A fast dynamically equilibrated walking trajectory generation method
    of humanoid robot", Autonomous Robots 12, 2002). Of all shifts this is nearly the smallest that
    does: least squares, its ends free, for a clip may well begin and end in motion. Trunk and legs
    do not move as one mass, so it takes rounds.
    """
    zmp = inverse_dynamics(clip, robot_model)[1]
    low, high = _support(feet, legs, config.inside)
    lack = np.clip(zmp, low, high) - zmp
    lack = np.clip(uniform_filter1d(lack, 3, axis=0, mode="nearest"), -_MOST, _MOST)
    count = clip.num_frames
    stiffness = _COM_HEIGHT * legs.robot.leg.leg_length / legs.robot.gravity * clip.fps**2
    # Normal equations of rows d - (d[-1] - 2 d + d[+1]) * stiffness, and of small d.
    moves = np.zeros((count - 2, count))
    inner = np.arange(count - 2)
    moves[inner, inner] = moves[inner, inner + 2] = -stiffness
    moves[inner, inner + 1] = 1.0 + 2.0 * stiffness
    normal = moves.T @ moves + config.smallness * np.eye(count)
    shift = np.zeros((count, 3))
    shift[:, :2] = np.linalg.solve(normal, moves.T @ lack[1:-1])
    return shift


def _support(feet: tuple[FootPath, FootPath], legs: Legs, inside: float) -> tuple[Array, Array]:
    """Bounds (N, 2) of where the zero-moment point may be: the box around the standing soles.

    Without a standing sole, around both.
    """
    leg = legs.robot.leg
    place = np.stack([foot.sole[:, :2] for foot in feet], 1)
    stands = np.stack([foot.sole[:, 2] == 0.0 for foot in feet], 1)
    stands = (stands | ~stands.any(1, keepdims=True))[..., None]
    reach = np.array([leg.toe - inside, leg.sole_width / 2.0 - inside])
    back = np.array([leg.heel + inside, -leg.sole_width / 2.0 + inside])
    low = np.where(stands, place + back, np.inf).min(1)
    high = np.where(stands, place + reach, -np.inf).max(1)
    return low, high
