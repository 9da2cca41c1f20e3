"""Which limbs are the legs, and where is up, found on the poses that the MJCF has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.inference.reading import InferenceError
from envs.robot.inference.tree import Tree, placed_points

Array = np.ndarray

FEWEST, MOST = 3, 7
"""Driven joints that a leg may have."""
GROUND_BAND = 0.15
"""Share of the robot's height within which an end of a limb counts as on the ground."""
SNAP = np.deg2rad(10.0)
"""A direction this near to an axis of the root body is taken for that axis."""


@dataclass(frozen=True)
class Leg:
    """One leg."""

    joints: tuple[int, ...]
    """Driven joints from the trunk to the foot."""
    foot: int
    """Its last link: the one that stands on the ground."""
    beyond: tuple[int, ...]
    """Joints beyond the foot: toes."""
    passive: tuple[int, ...]
    """Joints between trunk and foot that nothing drives."""


@dataclass(frozen=True)
class Legs:
    """Both legs, in no order yet."""

    pair: tuple[Leg, Leg]
    trunk: int
    """Link that both hang on."""
    up: Array
    """(3,) in the root body's frame."""
    pose: str
    """Pose of the MJCF in which they were found."""
    height: float
    """Of the robot in that pose [m]."""


class _TooManyLimbs(InferenceError):
    """More than two limbs stand on the ground."""


def find_legs(tree: Tree) -> Legs:
    """The two limbs that end lowest, in the first pose of the MJCF that shows two.

    Raises:
        InferenceError: in no pose two limbs stand lowest, or they cannot be legs.
    """
    refusals = []
    for name, qpos in _poses(tree):
        try:
            return _find(tree, name, qpos)
        except InferenceError as refusal:
            refusals.append(refusal)
    if any(isinstance(refusal, _TooManyLimbs) for refusal in refusals):
        raise refusals[0]
    lying = []
    for name, qpos in _other_poses(tree):
        try:
            lying.append(_find(tree, name, qpos))
        except InferenceError:
            continue
    if not lying:
        raise refusals[0]
    return max(lying, key=lambda legs: (round(legs.height, 3), _mass(tree, legs)))


def snapped(direction: Array, angle: float = SNAP) -> Array:
    """The direction (3,), or the axis of its frame that is nearer to it than `angle` [rad]."""
    direction = direction / np.linalg.norm(direction)
    axis = int(np.abs(direction).argmax())
    if abs(direction[axis]) < np.cos(angle):
        return direction
    return np.eye(3)[axis] * np.sign(direction[axis])


def _poses(tree: Tree) -> Iterator[tuple[str, Array]]:
    """Poses (nq,) in which the robot may stand: the MJCF's own, its keyframes, and all zeros."""
    model = tree.model
    yield "the MJCF's own pose", model.qpos0.copy()
    for key in range(model.nkey):
        yield f"keyframe {model.key(key).name or key!r}", model.key_qpos[key].copy()
    zero = model.qpos0.copy()
    first = tree.address(int(model.body_jntadr[tree.root]))
    zero[first + 3 : first + 7] = 1.0, 0.0, 0.0, 0.0
    yield "the zero pose with the root's axes upright", zero


def _other_poses(tree: Tree) -> Iterator[tuple[str, Array]]:
    """The zero pose (nq,) with each axis of the root's frame upwards but z."""
    zero = list(_poses(tree))[-1][1]
    first = tree.address(int(tree.model.body_jntadr[tree.root]))
    for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, -1.0)):
        up = sign * np.eye(3)[axis]
        across = np.eye(3)[(axis + 1) % 3]
        rows = np.stack([across, np.cross(up, across), up])
        qpos = zero.copy()
        mujoco.mju_mat2Quat(qpos[first + 3 : first + 7], rows.flatten())
        yield f"the zero pose with {'-' if sign < 0 else ''}{'xyz'[axis]} of the root upwards", qpos


def _mass(tree: Tree, legs: Legs) -> float:
    """Mass of both legs [kg]."""
    tops = [int(tree.model.jnt_bodyid[leg.joints[0]]) for leg in legs.pair]
    return float(tree.model.body_subtreemass[tops].sum())


def _find(tree: Tree, name: str, qpos: Array) -> Legs:
    model, data = tree.model, mujoco.MjData(tree.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    low, high = {}, {}
    for link in tree.links:
        points, radii = placed_points(model, tree.geoms(link) or tree.geoms(link, False), data)
        places = [data.xpos[link, 2], *(data.xanchor[j, 2] for j in tree.joints_of(link))]
        low[link] = float((points[:, 2] - radii).min()) if len(points) else min(places)
        high[link] = float((points[:, 2] + radii).max()) if len(points) else max(places)
    bottom, height = min(low.values()), max(high.values()) - min(low.values())
    leaves = [link for link in tree.links if link != tree.root and not tree.children(link)]
    reach = {leaf: min(low[link] for link in tree.chain(leaf)[-2:]) for leaf in leaves}
    grounded = [leaf for leaf in leaves if reach[leaf] <= bottom + GROUND_BAND * height]
    grounded.sort(key=lambda leaf: (round(reach[leaf], 4), -len(tree.path(leaf))))
    limbs: list[int] = []
    for leaf in grounded:
        if not any(_same_limb(tree, leaf, other) for other in limbs):
            limbs.append(leaf)
    ends = ", ".join(repr(tree.body_name(leaf)) for leaf in limbs)
    if len(limbs) != 2:
        what = "one limb reaches" if len(limbs) == 1 else f"{len(limbs)} limbs reach"
        kind = _TooManyLimbs if len(limbs) > 2 else InferenceError
        raise kind(
            f"{what} the ground in {name}, ending in {ends}; a biped has two legs"
            if limbs
            else f"no limb reaches the ground in {name}; a biped has two legs"
        )
    common = [a for a, b in zip(*(tree.chain(leaf) for leaf in limbs), strict=False) if a == b]
    trunk = common[-1] if common else tree.root
    first, second = (_leg(tree, trunk, leaf, low, bottom + 0.02 * height) for leaf in limbs)
    if len(first.joints) != len(second.joints):
        raise InferenceError(
            f"the legs differ: {_listed(tree, first)}, and {_listed(tree, second)}; both must have "
            "as many driven joints"
        )
    root = data.xmat[tree.root].reshape(3, 3)
    return Legs((first, second), trunk, snapped(root[2]), name, height)


def _same_limb(tree: Tree, a: int, b: int) -> bool:
    """Whether two ends are of one limb, as toes are: they part within its last two joints."""
    paths = [[j for j in tree.path(end) if j in tree.driven] for end in (a, b)]
    shared = sum(x == y for x, y in zip(*paths, strict=False))
    rest = min(len(path) - shared for path in paths)
    return shared > 0 and rest < FEWEST and rest < 0.5 * max(map(len, paths))


def _leg(tree: Tree, trunk: int, leaf: int, low: dict[int, float], ground: float) -> Leg:
    """The leg that ends in the link `leaf`."""
    above = set(tree.path(trunk)) if trunk != tree.root else set()
    chain = [link for link in tree.chain(leaf) if link != trunk and link not in tree.chain(trunk)]
    # Of a foot and its toes, which both stand on the ground, the foot is the larger.
    standing = [link for link in chain[-2:] if tree.geoms(link) and low[link] <= ground]
    foot = max(standing, key=lambda link: _spread(tree, link)) if standing else chain[-1]
    if not tree.geoms(foot):
        where = " (it has some for the eye alone)" if tree.geoms(foot, False) else ""
        raise InferenceError(
            f"foot {tree.body_name(foot)!r} has no geom that collides{where}; give it a box or "
            "spheres with contype and conaffinity 1"
        )
    path = [joint for joint in tree.path(foot) if joint not in above]
    for joint in path:
        kind = mujoco.mjtJoint(int(tree.model.jnt_type[joint]))
        if kind != mujoco.mjtJoint.mjJNT_HINGE and joint in tree.driven:
            raise InferenceError(
                f"joint {tree.joint_name(joint)!r} of a leg is a {kind.name[6:].lower()} joint; "
                "a leg here has hinges alone"
            )
    joints = tuple(joint for joint in path if joint in tree.driven)
    beyond = tuple(joint for joint in tree.path(leaf) if joint not in above and joint not in path)
    leg = Leg(joints, foot, beyond, tuple(j for j in path if j not in tree.driven))
    if not FEWEST <= len(joints) <= MOST:
        raise InferenceError(
            f"the leg that ends in {tree.body_name(foot)!r} has {len(joints)} driven joints"
            f"{': ' if joints else ''}{', '.join(map(tree.joint_name, joints))}; "
            f"allowed: {FEWEST} to {MOST}"
        )
    return leg


def _spread(tree: Tree, link: int) -> float:
    """Size of a link's geoms, for comparison."""
    return float(sum(tree.model.geom_rbound[geom] ** 2 for geom in tree.geoms(link)))


def _listed(tree: Tree, leg: Leg) -> str:
    return f"{len(leg.joints)} joints to {tree.body_name(leg.foot)!r}"
