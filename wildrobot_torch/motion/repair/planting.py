"""Planting: standing feet that stay in place, and a trunk that keeps its balance over them.

A robot slides where its clip does, and tips with the zero-moment point off the soles. So stances
are found where the toes rest and held in place, then the trunk is moved horizontally, as little as
balance needs. Lengths, speeds and times here and in `PlantingConfig` are meant for a robot of the
WildRobot's size, and scaled to the robot's (`RobotSpec.scale`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import uniform_filter1d

from envs.robot.model import RobotModel
from envs.robot.spec import SIDES, RobotSpec
from envs.settings import NonNegativeFloat, NonNegativeInt, check
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.augment import turn
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.feedforward import inverse_dynamics
from wildrobot_torch.motion.kinematics import legs_of, sole_axes, soles
from wildrobot_torch.motion.legs import Legs
from wildrobot_torch.motion.posing import FootPath, foot_paths, pose
from wildrobot_torch.motion.ranges import JointMargin
from wildrobot_torch.motion.rotations import Array, Flags
from wildrobot_torch.motion.series import runs
from wildrobot_torch.motion.synthesis.pendulum import COM_HEIGHT

_REST_SPEED, _REST_HEIGHT = 0.22, 0.02
"""A foot stands while its toes are slower over the floor [m/s] and its lowest corner lower [m]."""
_SHORTEST_STANCE_S, _SHORTEST_SWING_S, _SWING_S = 0.12, 0.14, 0.3
"""Shorter stances and swings are ignored [s]; a swing in a clip that has no whole one [s]."""
_ON_FLOOR = 2e-4
"""A sole lower than this stands, in a clip whose feet stand well [m]."""
_SETTLED = 1e-3
"""A smaller shift of the trunk ends the rounds of legs without a closed form [m]."""
_MOST, _SMALLNESS = 0.05, 0.05
"""Most that one round moves the zero-moment point [m]; weight of the trunk's squared shift against
that point's squared distance from where it should be."""


@dataclass(frozen=True, kw_only=True)
class PlantingConfig:
    """How clips are planted."""

    feet_apart: NonNegativeFloat = 0.16
    """Least lateral distance between the middles of the planted soles [m]; with less, the hips
    reach their adduction stops as the trunk moves over a foot."""
    clearance: NonNegativeFloat = 0.03
    """Least peak of a swinging sole's lowest corner [m]."""
    rounds: NonNegativeInt = 6
    """Rounds in which the trunk is moved for balance; 0 leaves it alone."""
    margin: JointMargin = 0.05
    """Distance that joints keep from their stops [rad]."""

    def __post_init__(self) -> None:
        check(self)


def plant(clip: Clip, robot_model: RobotModel, config: PlantingConfig | None = None) -> Clip:
    """The clip with its standing feet held in place and its trunk moved over them.

    Raises:
        ClipError: a foot never stands, or the clip has another number of joints than the robot.
    """
    config = config or PlantingConfig()
    robot = robot_model.robot
    legs = legs_of(robot)
    # Along +x, for that is where feet are "ahead" and "aside".
    forward = rotations.quat_rotate(clip.require(robot).root_quat, np.array([1.0, 0.0, 0.0]))
    heading = math.atan2(float(forward[:, 1].mean()), float(forward[:, 0].mean()))
    straight = replace(turn(clip, -heading), name=clip.name)
    feet = planted_feet(straight, robot, config)
    planted = _balanced(straight, feet, robot_model, legs, config)
    return replace(turn(planted, heading), name=clip.name, source=f"{clip.source}; planted")


def balance(clip: Clip, robot_model: RobotModel, config: PlantingConfig | None = None) -> Clip:
    """A clip whose feet stand well already, with its trunk moved over them.

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    config, legs = config or PlantingConfig(), legs_of(robot_model.robot)
    paths = foot_paths(legs, clip.require(robot_model.robot))
    for foot in paths:
        on_floor = foot.sole[:, 2] < _ON_FLOOR * robot_model.robot.scale
        foot.sole[on_floor, 2] = 0.0
    moved = _balanced(clip, paths, robot_model, legs, config)
    return replace(moved, name=clip.name, source=f"{clip.source}; balanced")


def _balanced(
    clip: Clip,
    feet: tuple[FootPath, FootPath],
    robot_model: RobotModel,
    legs: Legs,
    config: PlantingConfig,
) -> Clip:
    """The clip on given paths of its feet, its trunk moved towards balance round by round."""
    margin, root_pos = config.margin, clip.root_pos
    for number in range(config.rounds + 1):
        posed = pose(legs, root_pos, clip.root_quat, feet, clip.fps, margin).clip
        planted = replace(posed, joint_pos=legs.within_stops(posed.joint_pos, margin))
        if number < config.rounds:
            shift = _towards_balance(planted, feet, robot_model, legs)
            if not legs.exact and np.abs(shift).max() < _SETTLED * robot_model.robot.scale:
                break
            root_pos = planted.root_pos + shift
    return planted


def planted_feet(clip: Clip, robot: RobotSpec, config: PlantingConfig) -> tuple[FootPath, FootPath]:
    """Paths of both soles of a walk along +x, with every stance in one place on the floor.

    A swing goes from stance to stance along half a cosine wave, at rest at both ends, as high as
    the clip lifts the foot.

    Raises:
        ClipError: a foot never stands.
    """
    legs, scale, pace = legs_of(robot), robot.scale, robot.speed_scale
    fps = clip.fps * pace
    axes, centre = sole_axes(legs, clip), soles(legs, clip)
    # Narrow hips would reach their stops with less than the WildRobot's share of the leg's length.
    wide = min(config.feet_apart * scale, 2.0 * robot.leg.leg_y)
    middle = uniform_filter1d(centre[..., 1].mean(1), max(1, round(fps)), mode="nearest")
    paths = []
    for side, foot in enumerate(foot_paths(legs, clip)):
        sole = foot.sole
        sole[:, 2] -= float(np.quantile(sole[:, 2], 0.1))
        toes = centre[:, side] + legs.robot.leg.toe * axes[:, side, :, 0]
        speed = np.linalg.norm(np.gradient(toes[:, :2], axis=0), axis=1) * clip.fps
        rests = speed < _REST_SPEED * pace
        stances = _stances(rests & (sole[:, 2] < _REST_HEIGHT * scale), fps)
        if not stances:
            raise ClipError(f"clip {clip.name!r}: the {SIDES[side]} foot never stands")
        outwards = 1.0 - 2.0 * side
        apart = outwards * (sole[:, 1] - middle)
        sole[:, 1] = middle + outwards * np.maximum(apart, wide / 2.0)
        planted = planted_path(sole, stances, fps, config.clearance * scale)
        paths.append(FootPath(planted, foot.pitch, _held(foot.yaw, stances)))
    return paths[0], paths[1]


def _stances(resting: Flags, fps: float) -> list[tuple[int, int]]:
    """(start, stop) of the stances of one foot, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in runs(resting):
        if merged and start - merged[-1][1] < _SHORTEST_SWING_S * fps:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    # A stance that the clip's end cuts off may have been longer.
    shortest, end = _SHORTEST_STANCE_S * fps, len(resting)
    return [(a, b) for a, b in merged if b - a >= shortest or a == 0 or b == end]


def planted_path(
    sole: Array, stances: list[tuple[int, int]], fps: float, clearance: float
) -> Array:
    """The path (N, 3) [m] with each stance (start, stop) in its median place; z is 0 there.

    A swing is half a cosine wave from stance to stance, as high as the path, or `clearance` [m].
    """
    planted = sole.copy()
    places = [np.median(sole[a:b, :2], axis=0) for a, b in stances]
    for (a, b), place in zip(stances, places, strict=True):
        planted[a:b, :2], planted[a:b, 2] = place, 0.0
    for i, (before, after) in enumerate(pairwise(stances)):
        swing = planted[before[1] - 1 : after[0] + 1]
        _swing(swing, np.linspace(0.0, 1.0, len(swing)), places[i], places[i + 1], clearance)
    swings = [after[0] - before[1] for before, after in pairwise(stances)]
    usual = float(np.median(swings)) if swings else _SWING_S * fps
    first, last = stances[0][0], stances[-1][1] - 1
    # The clip may begin and end in a swing: its end, and that of the same swing backwards.
    for path, start, place in (
        (planted[: first + 1], sole[0, :2], places[0]),
        (planted[last:][::-1], sole[-1, :2], places[-1]),
    ):
        if len(path) > 1:
            share = 1.0 - np.arange(len(path))[::-1] / max(usual, len(path))
            _swing(path, share, start, place, clearance)
    return planted


def _held(yaw: Array | None, stances: list[tuple[int, int]]) -> Array | None:
    """A foot's heading (N,) [rad] that is constant in each stance, and turns in the swings."""
    if yaw is None:
        return None
    frames = [frame for start, stop in stances for frame in (start, stop - 1)]
    values = [float(np.median(yaw[a:b])) for a, b in stances for _ in range(2)]
    return np.interp(np.arange(len(yaw)), frames, values)


def _swing(path: Array, share: Array, start: Array, stop: Array, clearance: float) -> None:
    """Write a swing over `path` (n, 3): from `start`, at the first `share` of it, to `stop`."""
    left = (1.0 + np.cos(np.pi * share)) / 2.0
    path[:, :2] = stop + (left / left[0])[:, None] * (start - stop)
    peak = max(float(path[:, 2].max()), clearance)
    path[:, 2] = peak * np.sin(np.pi * share) ** 2


def _towards_balance(
    clip: Clip, feet: tuple[FootPath, FootPath], robot_model: RobotModel, legs: Legs
) -> Array:
    """Shift of the trunk (N, 3) [m] that brings the zero-moment point nearer to the soles.

    A shift d of the centre of mass moves the zero-moment point by d - d'' / w^2 (linear inverted
    pendulum; Kagami et al., "A fast dynamically equilibrated walking trajectory generation method
    of humanoid robot", Autonomous Robots 12, 2002). Least squares give a small shift, its ends
    free. Trunk and legs do not move as one mass, hence the rounds.
    """
    zmp = inverse_dynamics(clip, robot_model)[1]
    if feet[0].yaw is None or feet[1].yaw is None:
        low, high = _support(feet, legs)
        lack = np.clip(zmp, low, high) - zmp
    else:
        # "Ahead" and "aside" are those of the feet.
        facing = rotations.yaw_quat((feet[0].yaw + feet[1].yaw) / 2.0)
        back = rotations.quat_conjugate(facing)
        seen = [foot._replace(sole=rotations.quat_rotate(back, foot.sole)) for foot in feet]
        low, high = _support((seen[0], seen[1]), legs)
        point = rotations.quat_rotate(back, np.pad(zmp, ((0, 0), (0, 1))))
        short = np.pad(np.clip(point[:, :2], low, high) - point[:, :2], ((0, 0), (0, 1)))
        lack = rotations.quat_rotate(facing, short)[:, :2]
    most = _MOST * legs.robot.scale
    lack = np.clip(uniform_filter1d(lack, 3, axis=0, mode="nearest"), -most, most)
    count = clip.num_frames
    stiffness = COM_HEIGHT * legs.robot.leg.leg_length / legs.robot.gravity * clip.fps**2
    # Normal equations of rows d - (d[-1] - 2 d + d[+1]) * stiffness, and of small d.
    moves = np.zeros((count - 2, count))
    inner = np.arange(count - 2)
    moves[inner, inner] = moves[inner, inner + 2] = -stiffness
    moves[inner, inner + 1] = 1.0 + 2.0 * stiffness
    normal = moves.T @ moves + _SMALLNESS * np.eye(count)
    shift = np.zeros((count, 3))
    shift[:, :2] = np.linalg.solve(normal, moves.T @ lack[1:-1])
    return shift


def _support(feet: tuple[FootPath, FootPath], legs: Legs) -> tuple[Array, Array]:
    """Bounds (N, 2) of the zero-moment point: the box around the standing soles, or else both."""
    leg, soles_w = legs.robot.leg, np.stack([foot.sole for foot in feet], 1)
    place, stands = soles_w[..., :2], soles_w[..., 2] == 0.0
    stands = (stands | ~stands.any(1, keepdims=True))[..., None]
    back, front = np.array([[leg.heel, -leg.sole_width / 2.0], [leg.toe, leg.sole_width / 2.0]])
    low = np.where(stands, place + back, np.inf).min(1)
    high = np.where(stands, place + front, -np.inf).max(1)
    return low, high
