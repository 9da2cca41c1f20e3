"""What each joint of a leg does, by moving it and looking at the foot; and which way is ahead."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.chain import Kind
from envs.robot.inference.frame import Frame, place, pose
from envs.robot.inference.limbs import Leg, Legs, snapped
from envs.robot.inference.mirrors import joint_range
from envs.robot.inference.reading import InferenceError
from envs.robot.inference.soles import Sole, find_sole
from envs.robot.inference.tree import Tree, placed_points
from envs.robot.legs import joint_kinds

Array = np.ndarray

STEP = 0.05
"""By how much a joint is moved to see what it does [rad]."""


@dataclass(frozen=True)
class Motion:
    """What a joint of a leg is."""

    joint: int
    kind: Kind
    action_sign: int
    """+1 where a rising angle flexes hip or knee, turns the leg inwards, or points the toes down;
    -1 where it does the contrary."""
    purity: float
    """Cosine between the joint's axis and the robot's axis that it is named after."""


@dataclass(frozen=True)
class Evidence:
    """One reason to think that the robot looks this way, or the other."""

    weight: float
    """Positive for this way."""
    reason: str


def axes_of(tree: Tree, legs: Legs) -> tuple[Frame, tuple[Leg, Leg], tuple[Evidence, ...]]:
    """The robot's axes, its left and right leg, and what speaks for that.

    The line between the feet is across. Which of its ends is the left follows from what is ahead:
    feet reach further ahead of the ankle, knees bend back, x is ahead in most MJCFs, and names that
    say left and right count as much as these.

    Raises:
        InferenceError: the feet lie in one place.
    """
    upright = _frame(legs.up, _any_across(legs.up), 0.0)
    data = place(tree, upright)
    centers = [_center(tree, leg.foot, data) for leg in legs.pair]
    across = centers[0] - centers[1]
    across[2] = 0.0
    if np.linalg.norm(across) < 1e-3:
        raise InferenceError("both feet lie in one place in the zero pose; a biped has one a side")
    left = snapped(upright.axes.T @ across)
    middle = float((upright.axes.T @ (centers[0] + centers[1])) @ left) / 2.0
    frame = _frame(legs.up, left, middle)
    pair = legs.pair
    evidence = _evidence(tree, frame, pair)
    if sum(each.weight for each in evidence) < 0.0:
        frame, pair = frame.turned(), (pair[1], pair[0])
        evidence = tuple(Evidence(-each.weight, each.reason) for each in evidence)
    return frame, pair, evidence


def soles_of(tree: Tree, frame: Frame, legs: tuple[Leg, Leg]) -> tuple[Sole, Sole]:
    """The soles of the left and the right foot."""
    data = place(tree, frame)
    left, right = (
        find_sole(tree, leg.foot, _ankle_point(tree, frame, leg, data), data) for leg in legs
    )
    return left, right


def motions_of(tree: Tree, frame: Frame, leg: Leg, side: int, sole: Sole) -> tuple[Motion, ...]:
    """What the joints of a leg do, from the trunk on.

    Args:
        tree: the robot.
        frame: its axes.
        leg: one leg.
        side: 1 for the left leg, -1 for the right.
        sole: its sole.
    """
    kinds = kinds_of(tree, frame, leg)
    data, moved = place(tree, frame), mujoco.MjData(tree.model)
    found = []
    inwards = -side  # on the left: about -x and -z
    for joint, kind in zip(leg.joints, kinds, strict=True):
        axis = data.xaxis[joint]
        if kind == "knee":
            sign = _flexing(tree, frame, leg, joint, sole)
        else:
            pose(tree, frame, {joint: STEP}, moved)
            before, after = (_sole_axes(each, sole) for each in (data, moved))
            turn = after @ before.T
            rate = np.array([turn[2, 1], turn[0, 2], turn[1, 0]])  # about x, y, z
            # A hip flexes about -y; toes go down about y.
            toward = {
                "pitch": -rate[1],
                "ankle_pitch": rate[1],
                "roll": inwards * rate[0],
                "ankle_roll": inwards * rate[0],
                "yaw": inwards * rate[2],
            }[kind]
            sign = 1 if toward >= 0.0 else -1
        found.append(Motion(joint, kind, sign, float(np.abs(axis).max())))
    return tuple(found)


def kinds_of(tree: Tree, frame: Frame, leg: Leg) -> tuple[Kind, ...]:
    """Kind of each joint of a leg: by the robot's axis it turns about, and its place on the way."""
    data = place(tree, frame)
    under = _center(tree, leg.foot, data)
    listed = ", ".join(map(tree.joint_name, leg.joints))
    joints = list(leg.joints)
    return joint_kinds(data.xaxis[joints], data.xanchor[joints], under, listed)


def _flexing(tree: Tree, frame: Frame, leg: Leg, knee: int, sole: Sole) -> int:
    """Sign of the knee's flexion: towards the stop that brings the foot nearer to the hip."""
    data = mujoco.MjData(tree.model)
    near = {}
    for stop in joint_range(tree, knee):
        pose(tree, frame, {knee: stop}, data)
        near[stop] = float(np.linalg.norm(data.xanchor[leg.joints[0]] - _sole_place(data, sole)))
    nearest = min(near, key=lambda stop: near[stop])
    return 1 if nearest == max(near) else -1


def _sole_place(data: mujoco.MjData, sole: Sole) -> Array:
    return data.xpos[sole.body] + data.xmat[sole.body].reshape(3, 3) @ sole.pos


def _sole_axes(data: mujoco.MjData, sole: Sole) -> Array:
    own = np.zeros(9)
    mujoco.mju_quat2Mat(own, sole.quat)
    return data.xmat[sole.body].reshape(3, 3) @ own.reshape(3, 3)


def _frame(up: Array, left: Array, middle: float) -> Frame:
    left = left - (left @ up) * up
    left /= np.linalg.norm(left)
    return Frame(np.stack([np.cross(left, up), left, up]), middle)


def _any_across(up: Array) -> Array:
    """A direction that is not along `up`: y of the body's frame, or x."""
    return np.eye(3)[1] if abs(up[1]) < 0.9 else np.eye(3)[0]


def _center(tree: Tree, link: int, data: mujoco.MjData) -> Array:
    """Middle of a foot's sides, at the height of its underside (3,) [m]."""
    points, radii = placed_points(tree.model, tree.geoms(link), data)
    middle = (points.min(0) + points.max(0)) / 2.0
    middle[2] = (points[:, 2] - radii).min()
    return middle


def _ankle_point(tree: Tree, frame: Frame, leg: Leg, data: mujoco.MjData) -> Array | None:
    """A point of the axis that the foot pitches about, in the world; None without an ankle."""
    kinds = kinds_of(tree, frame, leg)
    if "ankle_pitch" not in kinds:
        return None
    joint = leg.joints[kinds.index("ankle_pitch")]
    point, axis = data.xanchor[joint].copy(), data.xaxis[joint]
    # An askew axis is met where it passes the middle of the foot.
    return point + axis * ((_center(tree, leg.foot, data) - point) @ axis)


def _evidence(tree: Tree, frame: Frame, legs: tuple[Leg, Leg]) -> tuple[Evidence, ...]:
    """What speaks for (positive) and against this frame, with these legs on the left and right."""
    found = []
    data = place(tree, frame)
    sole = find_sole(tree, legs[0].foot, _ankle_point(tree, frame, legs[0], data), data)
    ahead = (sole.toe + sole.heel) / (sole.toe - sole.heel)
    if abs(ahead) > 0.05:
        weight = 2.0 * float(np.clip(ahead / 0.3, -1.0, 1.0))
        near, far = sorted((1000.0 * sole.toe, -1000.0 * sole.heel))
        reach = f"feet reach further from the ankle to one side, {far:.0f} against {near:.0f} mm"
        found.append(Evidence(weight, reach))
    back = _bends_back(tree, frame, legs[0], sole)
    if back:
        found.append(Evidence(float(back), "the knees bend to one side alone"))
    forward = frame.axes[0]
    if abs(forward[0]) > 0.9:
        found.append(Evidence(float(np.sign(forward[0])), "most MJCFs have x ahead"))
    named = [_side_in(_names(tree, leg)) for leg in legs]
    if named[0] * named[1] < 0:
        found.append(Evidence(1.5 * named[0], "names say which side is the left"))
    return tuple(found)


def _bends_back(tree: Tree, frame: Frame, leg: Leg, sole: Sole) -> int:
    """1 where the knee bends so that the foot goes back, -1 ahead; 0 where it bends both ways."""
    kinds = kinds_of(tree, frame, leg)
    if "knee" not in kinds:
        return 0
    knee = leg.joints[kinds.index("knee")]
    low, high = joint_range(tree, knee)
    if min(abs(low), abs(high)) > 0.3 * max(abs(low), abs(high)) and low * high < 0.0:
        return 0
    stop = max(low, high, key=abs)
    data = place(tree, frame)
    before = float(_sole_place(data, sole)[0])
    pose(tree, frame, {knee: 0.5 * stop}, data)
    return 1 if _sole_place(data, sole)[0] < before else -1


def _names(tree: Tree, leg: Leg) -> str:
    names = [tree.joint_name(joint) for joint in leg.joints]
    return " ".join([*names, tree.body_name(leg.foot)]).lower()


def _side_in(names: str) -> int:
    """1 where names say left, -1 right, 0 neither; a hint alone."""
    padded = f" {names} ".replace("_", " ").replace("-", " ")
    left = names.count("left") + padded.count(" l ") + padded.count("fl ")
    right = names.count("right") + padded.count(" r ") + padded.count("fr ")
    return int(np.sign(left - right))
