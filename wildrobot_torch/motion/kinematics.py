"""Leg kinematics of any robot: joints -> sole, and sole -> joints, for all frames at once.

`legs_of` gives a robot's legs. Those of a hip pitch, hip roll, knee and ankle pitch in a plane have
a closed form (`PlanarLegs`); all others are solved by numbers (`NumericLegs`). Sides are 0 left and
1 right, as everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from scipy.linalg import solveh_banded

from envs.robot.chain import Kind, LegChain, axis_rotation
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.clip import Clip
from wildrobot_torch.motion.rotations import Array, Flags

SIDES = ("left", "right")
# Internally both legs are the left one.
_FLIP = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
# A straight knee is a singularity: targets are pulled in to this share of the leg's square.
_MAX_REACH = 1.0 - 1e-9

_FEET_AHEAD = 0.004
"""Bearing feet ahead of the hips in balanced walks of the WildRobot, on average [m]."""
_PLANAR = 3e-3
"""Largest difference of closed form and screws, in leg lengths and in the foot's axes [1]."""
_ORIENTATION, _FAINT = 0.3, 0.03
"""Weight of the foot's pitch, heading and roll [1/rad] beside its place in leg lengths; where a leg
has too few joints for both."""
_DAMPING, _SPARE = 1e-8, 1e-5
"""Least damping [1/rad^2]; pull of a leg with joints to spare towards its bent pose."""
_ITERATIONS, _SETTLED = 40, 1e-8
"""Most steps of a solution; the step at which it is one [rad]."""
_SMOOTH, _SMOOTHINGS, _SMOOTHED, _LEAST_SMOOTH = 3e-3, 8, 1e-5, 5
"""Weight of second differences of joint angles [1/rad^2], most rounds, the step that ends them
[rad], and frames it takes."""
_BENT = 0.4
"""A solution begins with knees bent at least so far [rad]."""
_FOLD: dict[Kind, float] = {"pitch": 0.5, "knee": 1.0, "ankle_pitch": -0.5}
"""Share of that bend in each joint, so that the foot stays level below the hip."""
_MISSED = 3e-3
"""An ankle further than this from its target, in leg lengths, was out of reach."""


class FootFrames(NamedTuple):
    """Ankle axis (..., 3) [m] of one foot, and its orientation (..., 3, 3), in the root's frame.

    The orientation is foot to root; x forward along the sole, z away from the ground.
    """

    ankle: Array
    rotation: Array


class Legs(ABC):
    """Kinematics of a robot's two legs of L joints each.

    Joint angles (..., J) are the robot's, in its order and with its signs. Internally both legs
    are the left one: hip pitch > 0 swings forward, hip roll > 0 adducts, yaw > 0 turns the toes
    in, knee > 0 bends, ankle pitch > 0 points the toes down, ankle roll > 0 turns as hip roll does.
    """

    exact = False
    """Whether `inverse` is a closed form, the same whatever it begins at."""

    def __init__(self, robot: RobotSpec, sign: Array) -> None:
        """`sign` (2, L) is the robot's angle over the internal one."""
        self.robot, self.sign = robot, sign
        self.kinds: tuple[Kind, ...] = robot.chains[0].kinds
        self.index = robot.leg_joints.cpu().numpy()
        """(2, L) long: the legs' joints among the robot's, from the root on."""
        limits = robot.joint_range.cpu().double().numpy()[self.index]
        ends = sign[..., None] * limits
        self.lower, self.upper = ends.min(-1), ends.max(-1)
        """(2, L) [rad]: stops of each leg, internal."""
        self.hip = np.array(robot.leg.hip_pitch_pos)
        """(3,) [m]: left hip-pitch axis from the root."""
        self.turns, self.rolls = "yaw" in self.kinds, "ankle_roll" in self.kinds
        """Whether the heading of a foot can be chosen, and its roll."""
        self._home = robot.joint_home.cpu().double().numpy()
        self._limits = robot.joint_range.cpu().double().numpy().T

    @property
    @abstractmethod
    def reach(self) -> float:
        """Hip-pitch axis to ankle axis, leg straight [m]."""

    @property
    @abstractmethod
    def balance(self) -> float:
        """Bearing feet ahead of the hips in a balanced walk, on average [m]."""

    def column(self, kind: Kind) -> int | None:
        """Column of a kind of joint among a leg's; None without one."""
        return self.kinds.index(kind) if kind in self.kinds else None

    def joints(self, side: int, leg_joints: Array) -> Array:
        """The robot's joint angles (..., 4) of one leg from the internal ones, or back."""
        return self.sign[side] * leg_joints

    def assemble(self, left: Array, right: Array) -> Array:
        """Joint angles (..., J) in the robot's order from both legs' (..., L); others at home."""
        joint_pos = np.empty((*left.shape[:-1], self.robot.num_joints))
        joint_pos[...] = self._home
        joint_pos[..., self.index[0]], joint_pos[..., self.index[1]] = left, right
        return joint_pos

    def within_stops(self, joint_pos: Array, margin: float) -> Array:
        """Joint angles (..., J) [rad] clipped to `margin` [rad] inside the robot's ranges."""
        low, high = self._limits
        return np.clip(joint_pos, low + margin, high - margin)

    @abstractmethod
    def knee(self, joint_pos: Array, side: int) -> Array:
        """Knee axis (..., 3) [m] of one side in the root's frame, for joint angles (..., J)."""

    @abstractmethod
    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """Foot of one side in the root's frame, for joint angles (..., J)."""

    @abstractmethod
    def inverse(
        self,
        side: int,
        ankle: Array,
        foot_pitch: Array,
        up: Array | None = None,
        ahead: Array | None = None,
        start: Array | None = None,
        smooth: bool = False,
    ) -> tuple[Array, Flags]:
        """Joint angles (..., L) [rad] that place one ankle axis (..., 3) [m] in the root's frame.

        `foot_pitch` (...) [rad] is the slope of the sole against `up` (..., 3) in the root's frame
        (None: the root is upright), > 0 toes down; the sole is level across where the leg can
        choose. The second value (...) says where the ankle was out of reach: there the leg is
        straight (or folded) towards it.

        What a closed form does not need: `ahead` (..., 3), level, in the root's frame, is where the
        toes of legs with a yaw joint point (None: along the root); a solver begins at `start`
        (..., L), and with `smooth` the targets (N, 3) are a motion, kept smooth where a leg is
        nearly straight.
        """


class PlanarLegs(Legs):
    """Legs of hip pitch, hip roll, knee and ankle pitch, thigh and shank in one plane: closed form.

    No hip yaw and no ankle roll: the foot's place and pitch can be chosen, but its roll follows
    from the hip. A sole is level only under a leg that does not lean sideways. Angles of `inverse`
    are not clipped to the stops.
    """

    exact = True

    def __init__(self, robot: RobotSpec) -> None:
        mirror_sign = robot.mirror_sign.cpu().double().numpy()
        right = robot.leg_joints[1].cpu().numpy()
        super().__init__(robot, np.stack([np.ones(4), mirror_sign[right]]))
        leg = robot.leg
        pitch, roll = np.array(leg.hip_pitch_pos), np.array(leg.hip_roll_pos)
        self._dy, self._dz = roll[1] - pitch[1], roll[2] - pitch[2]
        self._ly = leg.leg_y - roll[1]
        self.thigh, self.shank = leg.thigh + self._dz, leg.shank
        """[m]: hip-roll axis to knee axis along the thigh; knee axis to ankle axis."""

    @property
    def reach(self) -> float:
        """Hip-pitch axis to ankle axis, leg straight [m]."""
        return self.thigh + self.shank - self._dz

    @property
    def balance(self) -> float:
        """Bearing feet ahead of the hips: what tuned walks of the WildRobot have, scaled [m]."""
        return _FEET_AHEAD * self.robot.scale

    def knee(self, joint_pos: Array, side: int) -> Array:
        """See `Legs.knee`."""
        h, r, _, _ = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        zero = np.zeros_like(h)
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        thigh = np.stack([zero, zero + self._ly, zero - self.thigh], -1)
        knee = self.hip + _apply(_matrix_y(-h), axis + _apply(_matrix_x(-r), thigh))
        return knee * _FLIP[side]

    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """See `Legs.forward`."""
        h, r, k, a = np.moveaxis(self.joints(side, joint_pos[..., self.index[side]]), -1, 0)
        hip = _matrix_y(-h) @ _matrix_x(-r)
        zero = np.zeros_like(h)
        # From the hip-roll axis to the ankle, in the thigh's frame; the knee bends about +y.
        reach = np.stack(
            [-self.shank * np.sin(k), zero + self._ly, -self.thigh - self.shank * np.cos(k)], -1
        )
        axis = np.stack([zero, zero + self._dy, zero + self._dz], -1)
        ankle = self.hip + _apply(_matrix_y(-h), axis) + _apply(hip, reach)
        flip = _FLIP[side]
        return FootFrames(ankle * flip, hip @ _matrix_y(k + a) * flip[:, None] * flip)

    def inverse(
        self,
        side: int,
        ankle: Array,
        foot_pitch: Array,
        up: Array | None = None,
        ahead: Array | None = None,
        start: Array | None = None,
        smooth: bool = False,
    ) -> tuple[Array, Flags]:
        """See `Legs.inverse`."""
        target = ankle * _FLIP[side] - self.hip
        rise = np.array([0.0, 0.0, 1.0]) if up is None else up * _FLIP[side]
        rise = np.broadcast_to(rise, target.shape)
        thigh, shank, ly, dz = self.thigh, self.shank, self._ly, self._dz
        x, y, z = np.moveaxis(target, -1, 0)
        lateral = y - self._dy
        square = x * x + z * z + lateral * lateral - ly * ly - dz * dz
        low, high = (thigh - shank) ** 2, _MAX_REACH * (thigh + shank) ** 2
        # The roll axis lies dz above the pitch axis (0.2 mm), which makes `depth`, the ankle below
        # the roll axis in the pitched leg's plane, its own argument; each round gains a factor
        # of about reach / dz, so six are exact in double precision.
        depth = -np.sqrt(np.maximum(x * x + z * z, 1e-12))
        cos_knee = along = np.zeros_like(depth)
        for _ in range(6):
            bent = np.clip(square - 2.0 * dz * depth, low, high)
            cos_knee = (bent - thigh**2 - shank**2) / (2.0 * thigh * shank)
            along = -thigh - shank * cos_knee
            depth = -np.sqrt(np.maximum(ly * ly + along * along - lateral * lateral, 0.0))
        wanted = square - 2.0 * dz * depth
        unreachable = (wanted < low) | (wanted > high) | (np.abs(lateral) > np.hypot(ly, along))
        knee = np.arccos(np.clip(cos_knee, -1.0, 1.0))
        back = -shank * np.sin(knee)
        # Rotating (ly, along) by +phi about x gives (lateral, depth); rotating (back, dz + depth)
        # by -h about y gives (x, z). The robot's hip roll is -phi.
        phi = np.arctan2(depth, lateral) - np.arctan2(along, ly)
        phi = np.arctan2(np.sin(phi), np.cos(phi))
        hip = np.arctan2(dz + depth, back) - np.arctan2(z, x)
        hip = -np.arctan2(np.sin(hip), np.cos(hip))
        frame = _matrix_y(-hip) @ _matrix_x(phi)
        rise_x = np.einsum("...i,...i->...", rise, frame[..., :, 0])
        rise_z = np.einsum("...i,...i->...", rise, frame[..., :, 2])
        # With b = knee + ankle, the sole rises by rise_x cos b - rise_z sin b = -sin(foot_pitch).
        slope = np.sin(foot_pitch) / np.hypot(rise_x, rise_z)
        bend = np.arctan2(rise_x, rise_z) + np.arcsin(np.clip(slope, -1.0, 1.0))
        return self.joints(side, np.stack([hip, -phi, knee, bend - knee], -1)), unreachable


class NumericLegs(Legs):
    """Any legs: forward by products of exponentials, inverse by damped least squares.

    As many rows as the joints can serve are wanted: the ankle's place, and the foot's pitch,
    heading and roll where the leg has an ankle pitch, a yaw and an ankle roll. Angles of `inverse`
    keep to the stops. All frames are solved at once, from one bent pose, so that neighbours end in
    the same branch.
    """

    def __init__(self, robot: RobotSpec) -> None:
        super().__init__(robot, np.stack([_signs(c, side) for side, c in enumerate(robot.chains)]))
        self.size = robot.leg.leg_length
        rise = [0.0, 0.0, robot.leg.ankle_height]
        self._ankle = [chain.sole_pos + chain.sole_rot @ rise for chain in robot.chains]
        self._weight = _ORIENTATION if len(self.kinds) >= 3 + self._rows() else _FAINT
        self._start = np.stack([self._bent(side) for side in (0, 1)])

    @property
    def reach(self) -> float:
        """Hip-pitch axis to ankle axis, leg straight [m]."""
        return self.robot.leg.thigh + self.robot.leg.shank

    @property
    def balance(self) -> float:
        """Bearing feet ahead of the hips as at home [m]."""
        # Home stands, so it has its feet under the weight.
        pose = self.robot.home_qpos[3:7].double().cpu().numpy()
        sides = [self.forward(self._home, side) for side in (0, 1)]
        down = np.array([0.0, 0.0, -self.robot.leg.ankle_height])
        middle = np.mean([foot.ankle + foot.rotation @ down for foot in sides], axis=0)
        return float(rotations.quat_rotate(pose, middle - self.hip * [1.0, 0.0, 1.0])[0])

    def _rows(self) -> int:
        return self.turns + self.rolls + ("ankle_pitch" in self.kinds)

    def _bent(self, side: int) -> Array:
        """Home (L,) [rad], internal, with a knee that is bent at least a little."""
        pose = self.joints(side, self._home[self.index[side]])
        knee = self.column("knee")
        if knee is not None and abs(pose[knee]) < _BENT:
            lack = _BENT - pose[knee]
            for kind, share in _FOLD.items():
                if (column := self.column(kind)) is not None:
                    pose[column] += share * lack
        return np.clip(pose, self.lower[side], self.upper[side])

    def knee(self, joint_pos: Array, side: int) -> Array:
        """See `Legs.knee`; the axis' point in the middle of the leg."""
        chain, column = self.robot.chains[side], self.column("knee")
        if column is None:
            column = self.kinds.index("pitch")
        axis, anchor = chain.axes[column], chain.anchors[column]
        across = (1.0 - 2.0 * side) * self.robot.leg.leg_y - anchor[1]
        point = anchor + axis * (across / axis[1])
        rot, shift, _, _ = _screws(chain, joint_pos[..., self.index[side]], column)
        return _apply(rot, np.broadcast_to(point, shift.shape)) + shift

    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """See `Legs.forward`."""
        chain = self.robot.chains[side]
        rot, shift, _, _ = _screws(chain, joint_pos[..., self.index[side]], chain.num_joints)
        ankle = _apply(rot, np.broadcast_to(self._ankle[side], shift.shape)) + shift
        return FootFrames(ankle, rot @ chain.sole_rot)

    def inverse(
        self,
        side: int,
        ankle: Array,
        foot_pitch: Array,
        up: Array | None = None,
        ahead: Array | None = None,
        start: Array | None = None,
        smooth: bool = False,
    ) -> tuple[Array, Flags]:
        """See `Legs.inverse`."""
        lead = ankle.shape[:-1]

        def flat(vector: Array | None, default: list[float]) -> Array:
            given = np.array(default) if vector is None else vector
            return np.broadcast_to(given, (*lead, 3)).reshape(-1, 3)

        goal = _Goal(
            ankle.reshape(-1, 3),
            np.sin(np.broadcast_to(foot_pitch, lead)).reshape(-1),
            flat(up, [0.0, 0.0, 1.0]),
            flat(ahead, [1.0, 0.0, 0.0]),
        )
        first = self.joints(side, self._start[side]) if start is None else start
        joints = np.broadcast_to(first, (*lead, len(self.kinds))).reshape(len(goal.ankle), -1)
        joints = self._solved(side, goal, joints.copy())
        if smooth and len(joints) >= _LEAST_SMOOTH:
            joints = self._smoothed(side, goal, joints)
        error, _ = self._errors(side, goal, joints)
        missed = np.linalg.norm(error[:, :3], axis=1) > _MISSED
        return joints.reshape(*lead, -1), missed.reshape(lead)

    def _bounds(self, side: int) -> tuple[Array, Array]:
        low, high = self._limits[:, self.index[side]]
        return low, high

    def _errors(self, side: int, goal: _Goal, joints: Array) -> tuple[Array, Array]:
        """Weighted errors (N, R) of joint angles (N, L), and their Jacobian (N, R, L)."""
        chain = self.robot.chains[side]
        rot, shift, axes, anchors = _screws(chain, joints, chain.num_joints)
        ankle = _apply(rot, np.broadcast_to(self._ankle[side], shift.shape)) + shift
        foot = rot @ chain.sole_rot
        ahead, left = foot[..., 0], foot[..., 1]
        # How the ankle and the foot's axes move with each joint, (N, L, 3).
        moves = np.cross(axes, ankle[:, None] - anchors) / self.size
        nods, tips = np.cross(axes, ahead[:, None]), np.cross(axes, left[:, None])
        errors = [(goal.ankle - ankle) / self.size]
        slopes = [moves.transpose(0, 2, 1)]

        def add(error: Array, slope: Array) -> None:
            errors.append(self._weight * error[:, None])
            slopes.append(self._weight * slope[:, None])

        if "ankle_pitch" in self.kinds:
            add(-goal.slope - _dot(goal.up, ahead), _dot(goal.up[:, None], nods))
        if self.turns:
            across = np.cross(goal.up, goal.ahead)
            add(-_dot(across, ahead), _dot(across[:, None], nods))
        if self.rolls:
            add(-_dot(goal.up, left), _dot(goal.up[:, None], tips))
        return np.concatenate(errors, 1), np.concatenate(slopes, 1)

    def _solved(self, side: int, goal: _Goal, joints: Array) -> Array:
        """Joint angles (N, L), frame by frame: Levenberg-Marquardt within bounds.

        The damping falls with the squared error (T. Sugihara, "Solvability-unconcerned inverse
        kinematics by the Levenberg-Marquardt method", IEEE T-RO 27(5), 2011). Joints that would
        leave their range stay at its end while the others go on.
        """
        low, high = self._bounds(side)
        rest = self.joints(side, self._start[side])
        busy = np.arange(len(joints))
        for _ in range(_ITERATIONS):
            now = joints[busy]
            error, jac = self._errors(side, _Goal(*(part[busy] for part in goal)), now)
            damping = 0.5 * np.square(error).sum(1) + _DAMPING
            step = self._step(error, jac, damping, now, rest, low, high)
            joints[busy] = now + step
            busy = busy[np.abs(step).max(1) > _SETTLED]
            if not len(busy):
                break
        return joints

    def _step(
        self, error: Array, jac: Array, damping: Array, now: Array, rest: Array, low: Array,
        high: Array,
    ) -> Array:  # fmt: skip
        """One step (N, L) of the damped least squares that ends within the bounds."""
        count = now.shape[1]
        spare = _SPARE if count > jac.shape[1] else 0.0
        normal = jac.transpose(0, 2, 1) @ jac
        normal += (damping[:, None, None] + spare) * np.eye(count)
        gradient = np.einsum("nrl,nr->nl", jac, error) + spare * (rest - now)
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        fixed = np.zeros(step.shape, dtype=np.bool_)
        for _ in range(count):
            beyond = ~fixed & ((now + step < low) | (now + step > high))
            if not beyond.any():
                break
            fixed |= beyond
            rows = fixed.any(1)
            held = np.where(fixed, np.clip(now + step, low, high) - now, 0.0)[rows]
            free, part = ~fixed[rows], normal[rows]
            right = gradient[rows] - np.einsum("nij,nj->ni", part, held)
            both = free[:, :, None] & free[:, None, :]
            part = np.where(both, part, 0.0) + np.eye(count) * fixed[rows][:, None, :]
            solved = np.linalg.solve(part, np.where(free, right, 0.0)[..., None])[..., 0]
            step[rows] = np.where(free, solved, held)
        return np.clip(now + step, low, high) - now

    def _smoothed(self, side: int, goal: _Goal, joints: Array) -> Array:
        """The same motion (N, L), with small second differences where the errors leave it free.

        Near a straight knee an angle is hardly fixed by the foot's place, and would jump there.
        """
        low, high = self._bounds(side)
        frames, count = joints.shape
        size = frames * count
        width = 2 * count
        # Rows of the upper band: row width - k holds the k-th diagonal above the main one.
        curve = np.zeros((width + 1, size))
        second = np.array([1.0, -2.0, 1.0])
        for a in range(3):
            for b in range(a, 3):
                first = b * count
                curve[width - (b - a) * count, first : first + (frames - 2) * count] += (
                    _SMOOTH * second[a] * second[b]
                )

        def cost(angles: Array) -> tuple[float, Array, Array]:
            error, jac = self._errors(side, goal, angles)
            bends = np.square(np.diff(angles, n=2, axis=0)).sum()
            return float(np.square(error).sum() + _SMOOTH * bends), error, jac

        now, error, jac = cost(joints)
        for _ in range(_SMOOTHINGS):
            band = curve.copy()
            damping = 0.5 * np.square(error).sum(1) + _DAMPING
            normal = jac.transpose(0, 2, 1) @ jac + damping[:, None, None] * np.eye(count)
            for i in range(count):
                for j in range(i, count):
                    band[width - (j - i), j::count] += normal[:, i, j]
            bend = np.diff(joints, n=2, axis=0)
            pull = np.zeros_like(joints)
            for a in range(3):
                pull[a : a + frames - 2] -= _SMOOTH * second[a] * bend
            right = (np.einsum("nrl,nr->nl", jac, error) + pull).reshape(-1)
            # Joints at a stop that the slope pushes against stay there.
            slope = right.reshape(frames, count)
            stuck = ((joints <= low) & (slope < 0.0)) | ((joints >= high) & (slope > 0.0))
            free = ~stuck.reshape(-1)
            for gap in range(width + 1):
                band[width - gap, gap:] *= free[gap:] & free[: size - gap]
            band[width] += ~free
            step = solveh_banded(band, right * free).reshape(frames, count)
            for share in (1.0, 0.3, 0.1):
                tried = np.clip(joints + share * step, low, high)
                then, *terms = cost(tried)
                if then < now:
                    break
            else:
                break
            settled = np.abs(tried - joints).max() < _SMOOTHED
            joints, now, (error, jac) = tried, then, terms
            if settled:
                break
        return joints


class _Goal(NamedTuple):
    """What N feet should do, in the root's frame: ankle (N, 3) [m], sine of the pitch (N,).

    And the unit vectors (N, 3) up, and level to where the toes point.
    """

    ankle: Array
    slope: Array
    up: Array
    ahead: Array


def legs_of(robot: RobotSpec) -> Legs:
    """Kinematics of a robot's legs: the closed form where it holds, otherwise numeric."""
    if robot.chains[0].kinds == ("pitch", "roll", "knee", "ankle_pitch") and _planar(robot):
        return PlanarLegs(robot)
    return NumericLegs(robot)


def _planar(robot: RobotSpec) -> bool:
    """Whether the closed form places the feet as the legs' screws do, nearly."""
    planar, numeric = PlanarLegs(robot), NumericLegs(robot)
    share = np.random.default_rng(0).uniform(0.2, 0.8, (64, robot.num_joints))
    low, high = planar._limits
    joints = low + share * (high - low)
    gaps = []
    for side in (0, 1):
        one, other = planar.forward(joints, side), numeric.forward(joints, side)
        gaps += [np.abs(one.ankle - other.ankle).max() / robot.leg.leg_length]
        gaps += [np.abs(one.rotation - other.rotation).max()]
    return max(gaps) < _PLANAR


def _signs(chain: LegChain, side: int) -> Array:
    """(L,): a robot's angle over the internal one, by the direction of each axis."""
    outwards = 1.0 - 2.0 * side
    signs = []
    for kind, axis in zip(chain.kinds, chain.axes, strict=True):
        if kind == "yaw":
            signs.append(-outwards * np.sign(axis[2]))
        elif kind in ("roll", "ankle_roll"):
            signs.append(-outwards * np.sign(axis[0]))
        else:
            signs.append(np.sign(axis[1]) * (-1.0 if kind == "pitch" else 1.0))
    return np.array(signs)


def _screws(chain: LegChain, joints: Array, count: int) -> tuple[Array, Array, Array, Array]:
    """Rotation (..., 3, 3) and shift (..., 3) behind the first `count` joints of (..., L) angles.

    And their axes and points on them as they are then, (..., count, 3); all in the root's frame.
    """
    lead = joints.shape[:-1]
    rot, shift = np.broadcast_to(np.eye(3), (*lead, 3, 3)), np.zeros((*lead, 3))
    axes, anchors = [], []
    for i in range(count):
        anchor = np.broadcast_to(chain.anchors[i], shift.shape)
        axes.append(rot @ chain.axes[i])
        anchors.append(_apply(rot, anchor) + shift)
        rot = rot @ axis_rotation(chain.axes[i], joints[..., i])
        shift = anchors[-1] - _apply(rot, anchor)
    return rot, shift, np.stack(axes, -2), np.stack(anchors, -2)


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum(-1)


def soles(legs: Legs, clip: Clip) -> Array:
    """World position (N, 2, 3) [m] of the point of each sole under the ankle, at mid-width."""
    return _on_feet(legs, clip, np.array([[0.0, 0.0, -legs.robot.leg.ankle_height]]))[:, :, 0]


def sole_corners(legs: Legs, clip: Clip) -> Array:
    """World position (N, 2, 4, 3) [m] of the corners of each sole; toes first, then heels."""
    leg = legs.robot.leg
    half, down = leg.sole_width / 2.0, -leg.ankle_height
    corners = [[x, y, down] for x in (leg.toe, leg.heel) for y in (half, -half)]
    return _on_feet(legs, clip, np.array(corners))


def sole_axes(legs: Legs, clip: Clip) -> Array:
    """Rotation (N, 2, 3, 3) of each foot, foot to world; columns are its axes."""
    root = rotations.matrix(clip.root_quat)
    feet = [legs.forward(clip.joint_pos, side).rotation for side in (0, 1)]
    return np.stack([root @ foot for foot in feet], 1)


def foot_yaw(legs: Legs, clip: Clip) -> Array:
    """Heading (N, 2) [rad] of the toes of each foot in the world."""
    toes = _on_feet(legs, clip, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    ahead = toes[:, :, 0] - toes[:, :, 1]
    return np.arctan2(ahead[..., 1], ahead[..., 0])


def _on_feet(legs: Legs, clip: Clip, points: Array) -> Array:
    sides = []
    for side in (0, 1):
        foot = legs.forward(clip.joint_pos, side)
        sides.append(foot.ankle[:, None] + np.einsum("nij,pj->npi", foot.rotation, points))
    placed = np.stack(sides, 1)
    quat = clip.root_quat[:, None, None]
    return clip.root_pos[:, None, None] + rotations.quat_rotate(quat, placed)


def _matrix_x(angle: Array) -> Array:
    one, zero, c, s = np.ones_like(angle), np.zeros_like(angle), np.cos(angle), np.sin(angle)
    return np.stack([one, zero, zero, zero, c, -s, zero, s, c], -1).reshape(*angle.shape, 3, 3)


def _matrix_y(angle: Array) -> Array:
    return np.roll(_matrix_x(angle), (1, 1), (-2, -1))


def _apply(matrix: Array, vec: Array) -> Array:
    return np.einsum("...ij,...j->...i", matrix, vec)
