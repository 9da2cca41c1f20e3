"""What a captured figure is, found from its shape: roles, up, sides and unit.

Files differ in names, axes and units, but a person has two like chains of thigh and shank, the
longest pair of limbs, below one joint, and toes that point ahead. Roles come from the tree of
joints, from lengths and from where points are over time. Names are asked only which side is left,
and where a head begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from envs.robot.spec import SIDES
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read.skeleton import SkeletonMotion
from wildrobot_torch.motion.rotations import Array

INCH = 0.0254
UNITS = {
    "metre": 1.0,
    "centimetre": 0.01,
    "millimetre": 0.001,
    "inch": INCH,
    "inch / 0.45 (CMU)": INCH / 0.45,
}
"""Units of length a file may be in [m]."""
HUMAN_LEG = 0.82
"""Hip over knee to ankle of an adult [m]: 0.491 of 1.67 m (Winter 2009, after Drillis and
Contini)."""
LEG_RANGE = (0.4, 1.15)
"""Legs of people, children included [m]."""

_LOOKED_AT = 200
"""Frames, evenly spread, that shape and axes are found from."""
_ALIKE = 0.15
"""Largest difference of left and right lengths, as a share of the longer."""
_RATIO = (0.6, 1.0 / 0.6)
"""Thigh to shank, and upper arm to forearm."""
_USUAL_RATIO = 1.1
"""Of people's thighs to shanks 1.0, of their upper arms to forearms 1.27 (Winter 2009)."""
_STRAIGHT = 1.02
"""Way over joints between two to their distance: what is less lies on one bone."""
_STANDING = 0.85
"""Cosine to the vertical of legs in a rest pose that stands."""
_COINCIDE = 0.02
"""Joints nearer than this share of a leg are at one place."""
_AXES = "xyz"
# Axis that points up -> rows of the new x, y, z: a cyclic exchange keeps the hand.
_CYCLES = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}


@dataclass(frozen=True)
class Capture:
    """A tree of J joints and end points, and how it moves in the file's axes and unit."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Index of each point's parent, -1 of the root; parents come first."""
    ends: tuple[bool, ...]
    """Whether a point only ends a bone and never turns."""
    rest: Array | None
    """(J, 3): points in the pose without rotations; None where the file has no such pose."""
    num_frames: int
    fps: float
    poses: Callable[[Sequence[int], slice], tuple[Array, Array | None]]
    """Positions (N, K, 3) and rotations to the world (N, K, 3, 3) of K points in some frames."""
    rest_turns: Array | None = None
    """(J, 3, 3): rotations to the world in the rest pose; none where None."""


class Limb(NamedTuple):
    """Points of a limb from where it branches off to its end, and which ones are its joints."""

    chain: tuple[int, ...]
    upper: int
    middle: int
    lower: int
    lengths: tuple[float, float]

    @property
    def beyond(self) -> tuple[int, ...]:
        """Points after the last joint."""
        return self.chain[self.chain.index(self.lower) + 1 :]


class Frame(NamedTuple):
    """The file's axes in those of a motion: z up, right-handed."""

    axes: Array
    """(3, 3): rows are the new axes; its determinant is -1 for left-handed files."""
    up: str
    mirrored: bool
    scale: float
    """[m] of the file's unit."""
    unit: str


def motion_of(
    capture: Capture, name: str, source: str, metres: float | None = None, unit: str = ""
) -> SkeletonMotion:
    """A capture as the motion of a figure, with roles, axes and unit found from its shape.

    `metres` is the length of the file's unit where the file says so, `unit` how it says so.

    Raises:
        ClipError: no two legs, no way up, or no unit that makes the legs those of a person.
    """
    step = max(1, capture.num_frames // _LOOKED_AT)
    everything = capture.poses(range(len(capture.names)), slice(None, None, step))
    seen = everything[0]
    if not np.isfinite(seen).all():
        raise ClipError("a joint's position is not finite; allowed: numbers")
    pairs = _limb_pairs(capture, seen)
    legs = _legs(capture, seen, pairs)
    frame = _frame(capture, seen, legs, metres, unit)
    seen = frame.scale * seen @ frame.axes.T
    _require_lowest(capture, seen, legs)
    roles = _roles(capture, seen, legs, pairs)
    nodes = list(range(len(capture.names))) if step == 1 else sorted(set(roles.values()))
    positions, turns = everything if step == 1 else capture.poses(nodes, slice(None))
    column = {node: i for i, node in enumerate(nodes)}
    at = {
        role: frame.scale * positions[:, column[node]] @ frame.axes.T
        for role, node in roles.items()
    }
    orientations: dict[str, Array] = {}
    rest_note = "orientations: none in the file"
    if turns is not None:
        turned = {
            role: frame.axes @ turns[:, column[node]] @ frame.axes.T
            for role, node in roles.items()
            if not capture.ends[node]
        }
        levels, rest_note = _levels(capture, frame, roles, at, turned)
        for role, level in levels.items():
            quat = Rotation.from_matrix(turned[role] @ level).as_quat(scalar_first=True)
            orientations[role] = rotations.continuous(quat)
    leg = sum(legs[0].lengths) * frame.scale
    legs_of = "legs" if metres is None else "declared, legs"
    notes = (
        f"unit {frame.unit} ({legs_of} {leg:.2f} m)",
        f"{frame.up} up",
        "left-handed: left joints lie on the right of where the toes point; mirrored"
        if frame.mirrored
        else "right-handed",
        rest_note,
    )
    joints = {role: capture.names[node] for role, node in roles.items()}
    return SkeletonMotion(name, capture.fps, source, joints, at, orientations, notes)


def _children(parents: Sequence[int]) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(node)
    return children


def _legs(capture: Capture, seen: Array, pairs: list[tuple[Limb, Limb]]) -> tuple[Limb, Limb]:
    """The longest pair of like limbs, in no order."""
    if not pairs:
        raise ClipError(_no_legs(capture, seen))
    return max(pairs, key=lambda pair: sum(pair[0].lengths) + sum(pair[1].lengths))


def _no_legs(capture: Capture, seen: Array) -> str:
    needed = "needed: two like chains of thigh, shank and foot from one joint"
    bones = [(n, p) for n, p in enumerate(capture.parents) if p >= 0 and not capture.ends[n]]
    lengths = np.array([np.linalg.norm(seen[:, n] - seen[:, p], axis=1).mean() for n, p in bones])
    size = float(np.ptp(seen[0], axis=0).max())
    zero = [capture.names[n] for (n, _), d in zip(bones, lengths, strict=True) if d <= 1e-6 * size]
    if len(zero) == len(bones):
        return f"all bones have zero length; no legs found; {needed}"
    more = f"; of zero length: {', '.join(zero[:6])}" if zero else ""
    return f"no legs found among {len(capture.names)} points{more}; {needed}"


def _require_lowest(capture: Capture, seen: Array, legs: tuple[Limb, Limb]) -> None:
    """Refuse limbs below which the figure goes on: arms, where the legs cannot be used."""
    height = seen[..., 2].mean(0)
    below = int(np.argmin(height))
    sole = min(height[list(leg.chain)].min() for leg in legs)
    if height[below] < sole - 0.1 * (height[legs[0].chain[0]] - sole):
        limbs = " and ".join(capture.names[leg.upper] for leg in legs)
        what = f"the longest like limbs begin at {limbs}, but {capture.names[below]} is lower"
        raise ClipError(f"{what}; {_no_legs(capture, seen)}")


def _limb_pairs(capture: Capture, seen: Array) -> list[tuple[Limb, Limb]]:
    """Pairs of like limbs that branch off one joint."""
    children = _children(capture.parents)
    bone = np.array(
        [
            0.0 if p < 0 else np.linalg.norm(seen[:, n] - seen[:, p], axis=1).mean()
            for n, p in enumerate(capture.parents)
        ]
    )
    # Longest way to an end below each point, and the child it goes through.
    reach, onward = np.zeros(len(bone)), [-1] * len(bone)
    for node in reversed(range(len(bone))):
        for child in children[node]:
            if onward[node] < 0 or bone[child] + reach[child] > reach[node]:
                reach[node], onward[node] = bone[child] + reach[child], child
    pairs = []
    for node, below in enumerate(children):
        limbs = []
        for child in below:
            chain = [node, child]
            while onward[chain[-1]] >= 0:
                chain.append(onward[chain[-1]])
            if (limb := _limb(chain, seen)) is not None:
                limbs.append(limb)
        pairs += [pair for pair in combinations(limbs, 2) if _alike(*pair)]
    return pairs


def _alike(one: Limb, other: Limb) -> bool:
    return all(
        abs(a - b) <= _ALIKE * max(a, b) for a, b in zip(one.lengths, other.lengths, strict=True)
    )


def _limb(chain: list[int], seen: Array) -> Limb | None:
    """The joints of a limb: its two long bones in a row, of about one length."""
    points = seen[:, chain]
    apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).mean(0)
    way = np.concatenate([[0.0], np.cumsum(np.diag(apart, 1))])
    found: list[Limb] = []
    for a, b, c in combinations(range(1, len(chain)), 3):
        upper, lower = float(apart[a, b]), float(apart[b, c])
        if min(upper, lower) <= 1e-9 or not _RATIO[0] < upper / lower < _RATIO[1]:
            continue
        if max((way[b] - way[a]) / upper, (way[c] - way[b]) / lower) <= _STRAIGHT:
            found.append(Limb(tuple(chain), chain[a], chain[b], chain[c], (upper, lower)))
    if not found:
        return None
    longest = max(sum(limb.lengths) for limb in found)

    def unusual(limb: Limb) -> tuple[float, int]:
        # Of joints at one place the last, which has turned by all of them.
        ratio = abs(np.log(limb.lengths[0] / limb.lengths[1] / _USUAL_RATIO))
        places = sum(limb.chain.index(node) for node in limb[1:4])
        return round(float(ratio), 6), -places

    return min((x for x in found if sum(x.lengths) > 0.7 * longest), key=unusual)


def _frame(
    capture: Capture, seen: Array, legs: tuple[Limb, Limb], metres: float | None, unit: str
) -> Frame:
    length = sum(sum(leg.lengths) for leg in legs) / 2.0
    if metres is None:
        fits = {u: abs(np.log(length * m / HUMAN_LEG)) for u, m in UNITS.items()}
        fits = {u: f for u, f in fits.items() if LEG_RANGE[0] <= length * UNITS[u] <= LEG_RANGE[1]}
        if not fits:
            between = f"{LEG_RANGE[0]:g} to {LEG_RANGE[1]:g} m"
            tried = ", ".join(UNITS)
            raise ClipError(
                f"legs are {length:.4g} long; no unit ({tried}) makes them {between}; "
                "scale the file"
            )
        unit = min(fits, key=lambda u: fits[u])
        metres = UNITS[unit]
    axes, up = _up(seen, legs)
    mirrored = _mirrored(capture, seen @ axes.T, legs)
    if mirrored:
        axes = np.diag([1.0, -1.0, 1.0]) @ axes
    return Frame(axes, up, mirrored, metres, unit)


def _up(seen: Array, legs: tuple[Limb, Limb]) -> tuple[Array, str]:
    """Axes with z up, and the file's axis that is: along the legs while they are straight."""
    along = np.sum([seen[:, leg.upper] - seen[:, leg.lower] for leg in legs], axis=0)
    reach = np.linalg.norm(along, axis=1)
    straight = along[reach >= np.quantile(reach, 0.6)]
    straight = straight / np.linalg.norm(straight, axis=1)[:, None]
    mean = straight.mean(0)
    axis = int(np.argmax(np.abs(mean)))
    if abs(mean[axis]) < 0.8:
        legs_point = " ".join(f"{x:.2f}" for x in mean)
        raise ClipError(
            f"no axis is up: the legs point along ({legs_point}); needed: standing or walking"
        )
    letter = _AXES[axis]
    axes = np.eye(3)[list(_CYCLES[letter])]
    if mean[axis] < 0.0:
        return np.diag([1.0, -1.0, -1.0]) @ axes, f"-{letter}"
    return axes, letter


def _ahead(seen: Array, legs: tuple[Limb, Limb]) -> Array:
    """Horizontal direction (N, 2) the toes point in, or the knees where no foot has toes."""
    ways = []
    for leg in legs:
        foot = seen[:, leg.beyond[-1]] - seen[:, leg.lower] if leg.beyond else None
        if foot is None or np.linalg.norm(foot[:, :2], axis=1).mean() < 0.05 * sum(leg.lengths):
            foot = seen[:, leg.middle] - (seen[:, leg.upper] + seen[:, leg.lower]) / 2.0
        ways.append(foot[:, :2])
    return ways[0] + ways[1]


def _first_is_left(seen: Array, legs: tuple[Limb, Limb], one: int, other: int) -> bool:
    """Whether point `one` is to the left of `other`, as the toes point, in most frames."""
    ahead = _ahead(seen, legs)
    across = (seen[:, one] - seen[:, other])[:, :2]
    return bool(np.median(ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0]) > 0.0)


def _mirrored(capture: Capture, seen: Array, legs: tuple[Limb, Limb]) -> bool:
    """Whether the names of the legs call the sides otherwise than the toes do."""
    votes = 0
    for nodes in zip(*(leg[1:4] for leg in legs), strict=True):
        one, other = (capture.names[node] for node in nodes)
        votes += _named_left(one, other)
    is_left = _first_is_left(seen, legs, legs[0].upper, legs[1].upper)
    return votes != 0 and (votes > 0) != is_left


def _named_left(one: str, other: str) -> int:
    """1 where the names say that one is left and the other right, -1 the reverse, else 0.

    What is left of them without a common beginning and end begins with l and r.
    """
    one, other = one.lower(), other.lower()
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return {("l", "r"): 1, ("r", "l"): -1}.get((one[:1], other[:1]), 0)


def _roles(
    capture: Capture, seen: Array, legs: tuple[Limb, Limb], pairs: list[tuple[Limb, Limb]]
) -> dict[str, int]:
    """Role -> point, of points (N, J, 3) with z up and sides as they are."""
    if not _first_is_left(seen, legs, legs[0].upper, legs[1].upper):
        legs = (legs[1], legs[0])
    leg_m = float(np.linalg.norm(seen[:, legs[0].upper] - seen[:, legs[0].middle], axis=1).mean())
    near = _COINCIDE * 2.0 * leg_m

    def away(node: int, nodes: Sequence[int]) -> list[int]:
        """Those of `nodes` that are not where `node` is."""
        apart = np.linalg.norm(seen[:, list(nodes)] - seen[:, [node]], axis=2).mean(0)
        return [n for n, d in zip(nodes, apart, strict=True) if d > near]

    roles = {"pelvis": legs[0].chain[0]}
    for side, leg in zip(SIDES, legs, strict=True):
        roles |= {f"{side}_hip": leg.upper, f"{side}_knee": leg.middle, f"{side}_ankle": leg.lower}
        if toes := away(leg.lower, leg.beyond):
            roles[f"{side}_toe"] = toes[0]
    if missing := [side for side in SIDES if f"{side}_toe" not in roles]:
        names = " and ".join(capture.names[roles[f"{side}_ankle"]] for side in missing)
        raise ClipError(f"no toe beyond {names}; needed: a joint or end point ahead of the ankle")
    return roles | _upper_body(capture, seen, legs, pairs, away)


def _upper_body(
    capture: Capture,
    seen: Array,
    legs: tuple[Limb, Limb],
    pairs: list[tuple[Limb, Limb]],
    away: Callable[[int, Sequence[int]], list[int]],
) -> dict[str, int]:
    """Spine, neck, head and arms, as far as there are some."""
    pelvis, children = legs[0].chain[0], _children(capture.parents)
    taken = {node for leg in legs for node in leg.chain[1:]}
    arms = [
        pair
        for pair in pairs
        if not taken & {*pair[0].chain, *pair[1].chain}
        and not set(pair[0].chain[1:]) & set(pair[1].chain[1:])
    ]
    roles: dict[str, int] = {}
    if not arms:
        return roles
    pair = max(arms, key=lambda pair: sum(pair[0].lengths) + sum(pair[1].lengths))
    if not _first_is_left(seen, legs, pair[0].upper, pair[1].upper):
        pair = (pair[1], pair[0])
    for side, arm in zip(SIDES, pair, strict=True):
        names = (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        roles |= dict(zip(names, (arm.upper, arm.middle, arm.lower), strict=True))
    chest = pair[0].chain[0]
    spine = _way(capture.parents, pelvis, chest)
    if between := away(pelvis, spine):
        roles["spine"] = between[0]
    arm_starts = {arm.chain[1] for arm in pair}
    others = [n for n in children[chest] if n not in arm_starts | taken and n not in spine]
    if others:
        neck = max(others, key=lambda n: seen[:, _last(children, n), 2].mean())
        branch = _branch(capture, children, neck)
        # Where a joint is where its bone begins, what branches off begins at one place beyond it.
        junction = chest if away(neck, children[chest]) else neck
        roles["neck"] = (away(junction, branch) or branch)[0]
        after = branch[branch.index(roles["neck"]) + 1 :]
        named = [n for n in after if "head" in capture.names[n].lower()]
        if after:
            roles["head"] = named[0] if named else after[-1]
    return roles


def _way(parents: Sequence[int], above: int, below: int) -> list[int]:
    """Points after `above` down to `below`; none where it is not below."""
    way: list[int] = []
    node = below
    while node not in (above, -1):
        way.append(node)
        node = parents[node]
    return way[::-1] if node == above else []


def _last(children: list[list[int]], node: int) -> int:
    while children[node]:
        node = children[node][0]
    return node


def _branch(capture: Capture, children: list[list[int]], node: int) -> list[int]:
    """Joints from `node` on, until they end or fork (into a face)."""
    branch = [node]
    while len(joints := [n for n in children[branch[-1]] if not capture.ends[n]]) == 1:
        branch.append(joints[0])
    return branch


def _levels(
    capture: Capture,
    frame: Frame,
    roles: dict[str, int],
    at: dict[str, Array],
    turned: dict[str, Array],
) -> tuple[dict[str, Array], str]:
    """Level axes (3, 3) of each role's segment in its own frame, and how they were found.

    Where the rest pose stands they are its directions: x ahead (of the foot: where its toes are),
    z up (of thigh and shank: along the bone). Otherwise (bones along one axis) those of pelvis and
    legs follow from the motion: the pelvis and the resting foot are level on average, and knees
    are hinges.
    """
    if capture.rest is not None:
        rest = {role: frame.scale * frame.axes @ capture.rest[node] for role, node in roles.items()}
        down = [_unit(rest[f"{side}_hip"] - rest[f"{side}_ankle"]) for side in SIDES]
        if min(d[2] for d in down) > _STANDING:
            left = rest["left_hip"] - rest["right_hip"]
            ahead = _unit(np.array([left[1], -left[0], 0.0]))
            levels = dict.fromkeys(turned, _axes(ahead, np.array([0.0, 0.0, 1.0])))
            for side in SIDES:
                for one, other in (("hip", "knee"), ("knee", "ankle")):
                    bone = rest[f"{side}_{one}"] - rest[f"{side}_{other}"]
                    levels[f"{side}_{one}"] = _axes(ahead, _unit(bone))
                toes = rest[f"{side}_toe"] - rest[f"{side}_ankle"]
                levels[f"{side}_ankle"] = _axes(toes, np.array([0.0, 0.0, 1.0]))
            if (turns := capture.rest_turns) is not None:
                back = {role: frame.axes @ turns[roles[role]].T @ frame.axes.T for role in turned}
                levels = {role: back[role] @ levels[role] for role in turned}
            return {role: levels[role] for role in turned}, "orientations from the rest pose"
    levels = {"pelvis": _pelvis_level(at, turned["pelvis"])}
    for side in SIDES:
        points = [at[f"{side}_{part}"] for part in ("hip", "knee", "ankle", "toe")]
        thigh, shank = points[1] - points[0], points[2] - points[1]
        hinge = np.cross(thigh, shank)
        bend = np.linalg.norm(hinge, axis=1)
        if bend.mean() < 0.1 * np.linalg.norm(thigh[0]) * np.linalg.norm(shank[0]):
            continue  # knees that hardly bend are no hinges to see
        for role, bone in ((f"{side}_hip", -thigh), (f"{side}_knee", -shank)):
            y, z = _local(turned[role], hinge), _local(turned[role], bone)
            levels[role] = _axes(np.cross(y, z), z)
        low = points[2][:, 2] <= np.quantile(points[2][:, 2], 0.3)
        role = f"{side}_ankle"
        if role in turned:
            vertical = np.tile([0.0, 0.0, 1.0], (int(low.sum()), 1))
            toes = _local(turned[role], points[3] - points[2])
            levels[role] = _axes(toes, _local(turned[role][low], vertical))
    return levels, "orientations of pelvis and legs from the motion (the rest pose does not stand)"


def _pelvis_level(at: dict[str, Array], turned: Array) -> Array:
    left = _local(turned, at["left_hip"] - at["right_hip"])
    up = _local(turned, np.tile([0.0, 0.0, 1.0], (len(turned), 1)))
    up = _unit(up - left * (up @ left))
    return _axes(np.cross(left, up), up)


def _local(turned: Array, vector: Array) -> Array:
    """Mean direction (3,) of world vectors (N, 3) in a segment's frame."""
    return _unit(np.einsum("nji,nj->i", turned, vector))


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def _axes(ahead: Array, up: Array) -> Array:
    """Rotation (3, 3) whose columns are x near `ahead`, y left, z along the unit vector `up`."""
    x = _unit(ahead - up * (ahead @ up))
    return np.stack([x, np.cross(up, x), up], -1)
