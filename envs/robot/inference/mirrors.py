"""Which joint mirrors which, with which sign, and by how much the mirror image misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.inference.frame import (
    MIRROR,
    MIRROR_AXIAL,
    Frame,
    angle_between,
    place,
    pose,
    turn_between,
)
from envs.robot.inference.limbs import Leg
from envs.robot.inference.tree import Tree

Array = np.ndarray

WORST = 0.35
"""Dissimilarity beyond which two limbs are no mirror images."""


@dataclass(frozen=True)
class Pair:
    """Two joints that mirror each other, or one on the midline with itself."""

    left: int
    right: int
    sign: int
    """The mirrored robot's angle is sign * q of the other joint."""
    skew: float
    """Angle between one axis and the image of the other [rad]."""
    offset: float
    """Distance between those two axes [m]."""
    gap: float = 0.0
    """For joints of legs: largest miss of a sole by the mirrored pose [m]."""
    gap_other_sign: float = 0.0
    """The same with the other sign, which must be worse [m]."""
    turn: float = 0.0
    """Largest angle between the soles of the mirrored pose [rad]."""


def pair_joints(
    tree: Tree, frame: Frame, legs: tuple[Leg, Leg], trunk: int
) -> tuple[tuple[Pair, ...], tuple[int, ...]]:
    """Pairs of all driven joints, and those that have no image.

    Legs are paired joint by joint from the trunk on, other limbs by where their axes and masses
    are. On the midline a joint is paired with itself.

    Args:
        tree: the robot.
        frame: its axes.
        legs: left and right leg.
        trunk: link that both hang on.
    """
    data = place(tree, frame)
    in_legs = {joint for leg in legs for joint in (*leg.joints, *leg.beyond, *leg.passive)}
    found = [
        _pair(tree, data, left, right)
        for left, right in zip(legs[0].joints, legs[1].joints, strict=True)
    ]
    if len(legs[0].beyond) == len(legs[1].beyond):
        toes = zip(legs[0].beyond, legs[1].beyond, strict=True)
        found += [_pair(tree, data, left, right) for left, right in toes if left in tree.driven]
    pending = [(tree.root, tree.root)]
    length = _length(tree, data, legs)
    while pending:
        left, right = pending.pop()
        sides = [
            [c for c in tree.children(link) if not in_legs & set(_joints_below(tree, c))]
            for link in (left, right)
        ]
        # A limb that holds the legs is on the midline.
        waist = [c for c in tree.children(left) if left == right and trunk in tree.below(c)]
        matched = _match(tree, data, sides[0], sides[1], left == right, length)
        for one, other in [*matched, *((w, w) for w in waist)]:
            found += _paired_links(tree, data, one, other)
            pending.append((one, other))
    known = {joint for pair in found for joint in (pair.left, pair.right)}
    alone = tuple(j for j in tree.joints if j in tree.driven and j not in known)
    return tuple(found), alone


def measured(
    tree: Tree,
    frame: Frame,
    pair: Pair,
    soles: Sequence[tuple[int, Array, Array]],
) -> Pair:
    """The pair with what the soles miss when one leg moves and the other is the image.

    Args:
        tree: the robot.
        frame: its axes.
        pair: two joints of the legs.
        soles: left, right: body, position (3,) and quaternion (4,) of the sole in its frame.
    """
    low, high = joint_range(tree, pair.left)
    angles = [low + share * (high - low) for share in (0.0, 0.25, 0.75, 1.0)]
    gaps = {}
    for sign in (pair.sign, -pair.sign):
        misses = [
            sole_gap(tree, frame, {pair.left: angle}, {pair.right: sign * angle}, soles)
            for angle in angles
        ]
        gaps[sign] = max(m for m, _ in misses), max(t for _, t in misses)
    gap, turn = gaps[pair.sign]
    return Pair(
        **{name: getattr(pair, name) for name in ("left", "right", "sign", "skew", "offset")},
        gap=gap,
        gap_other_sign=gaps[-pair.sign][0] + gaps[-pair.sign][1] * 0.1,
        turn=turn,
    )


def sole_gap(
    tree: Tree,
    frame: Frame,
    angles: dict[int, float],
    images: dict[int, float],
    soles: Sequence[tuple[int, Array, Array]],
) -> tuple[float, float]:
    """How far and by which angle the soles at `images` miss the mirror image of those at `angles`.

    Returns:
        Distance [m] and angle [rad], the larger of both feet.
    """
    data = place(tree, frame, angles)
    places = [_sole(data, sole) for sole in soles]
    pose(tree, frame, images, data)
    others = [_sole(data, sole) for sole in reversed(soles)]
    flip = np.diag(MIRROR)
    gaps = [
        (
            float(np.linalg.norm(p * MIRROR - q)),
            # The image's own y axis points to the other side of the foot: flipped twice, it fits.
            turn_between(flip @ r @ flip, s),
        )
        for (p, r), (q, s) in zip(places, others, strict=True)
    ]
    return max(g for g, _ in gaps), max(t for _, t in gaps)


def joint_range(tree: Tree, joint: int) -> tuple[float, float]:
    """Lower and upper stop of a hinge [rad]; a quarter turn each way for one without."""
    if tree.model.jnt_limited[joint]:
        low, high = tree.model.jnt_range[joint]
        return float(low), float(high)
    return -0.5 * np.pi, 0.5 * np.pi


def _sole(data: mujoco.MjData, sole: tuple[int, Array, Array]) -> tuple[Array, Array]:
    """Position (3,) and axes (3, 3) of a sole in the world."""
    body, pos, quat = sole
    turn, own = data.xmat[body].reshape(3, 3), np.zeros(9)
    mujoco.mju_quat2Mat(own, quat)
    return data.xpos[body] + turn @ pos, turn @ own.reshape(3, 3)


def _joints_below(tree: Tree, link: int) -> list[int]:
    return [joint for part in tree.below(link) for joint in tree.joints_of(part)]


def _length(tree: Tree, data: mujoco.MjData, legs: tuple[Leg, Leg]) -> float:
    """About the length of a leg [m]."""
    return float(np.linalg.norm(data.xanchor[legs[0].joints[0]] - data.xpos[legs[0].foot]))


def _pair(tree: Tree, data: mujoco.MjData, left: int, right: int) -> Pair:
    """Two joints as images of each other."""
    image = data.xaxis[left] * MIRROR_AXIAL
    axis = data.xaxis[right]
    sign = 1 if image @ axis >= 0.0 else -1
    between = data.xanchor[left] * MIRROR - data.xanchor[right]
    between -= (between @ axis) * axis
    return Pair(
        left, right, sign, angle_between(image * sign, axis), float(np.linalg.norm(between))
    )


def _paired_links(tree: Tree, data: mujoco.MjData, left: int, right: int) -> list[Pair]:
    joints = [[j for j in tree.joints_of(link) if j in tree.driven] for link in (left, right)]
    if len(joints[0]) != len(joints[1]):
        return []
    return [_pair(tree, data, one, other) for one, other in zip(*joints, strict=True)]


def _match(
    tree: Tree,
    data: mujoco.MjData,
    left: list[int],
    right: list[int],
    midline: bool,
    length: float,
) -> list[tuple[int, int]]:
    """Links that mirror each other, the left one first.

    Args:
        tree: the robot.
        data: the zero pose.
        left: links that hang on one side's link.
        right: those on the other side's; the same links for one on the midline.
        midline: whether that is so: then a link may be its own image.
        length: of a leg [m].
    """
    cost = {(a, b): _unlike(tree, data, a, b, length) for a in left for b in right}
    if not midline:
        return [pair for pair in _greedy(cost) if cost[pair] < WORST]
    found: list[tuple[int, int]] = []
    for a, b in _greedy({(a, b): c for (a, b), c in cost.items() if a <= b}):
        y = [data.subtree_com[link, 1] for link in (a, b)]
        if cost[a, b] < WORST:
            found.append((a, b) if y[0] >= y[1] else (b, a))
    return found


def _greedy(cost: dict[tuple[int, int], float]) -> tuple[tuple[int, int], ...]:
    """Pairs by rising cost, each link once."""
    taken: set[tuple[str, int]] = set()
    found = []
    for a, b in sorted(cost, key=lambda pair: cost[pair]):
        if not {("a", a), ("b", b), ("a", b), ("b", a)} & taken:
            found.append((a, b))
            taken |= {("a", a), ("b", b), ("a", b), ("b", a)}
    return tuple(found)


def _unlike(tree: Tree, data: mujoco.MjData, a: int, b: int, length: float) -> float:
    """How little one limb looks like the image of another; 0 for the image itself."""
    model = tree.model
    mass = [float(model.body_subtreemass[link]) for link in (a, b)]
    joints = [_joints_below(tree, link) for link in (a, b)]
    far = np.linalg.norm(data.subtree_com[a] * MIRROR - data.subtree_com[b]) / length
    unlike = far + abs(mass[0] - mass[1]) / max(*mass, 1e-9)
    unlike += abs(len(joints[0]) - len(joints[1])) / max(map(len, joints))
    first = _pair(tree, data, joints[0][0], joints[1][0])
    return float(unlike + first.offset / length + 0.3 * np.sin(first.skew))
