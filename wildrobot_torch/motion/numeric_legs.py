"""Any legs: products of exponentials forward, damped least squares over whole motions back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solveh_banded

from envs.robot.chain import Kind, LegChain, axis_rotation
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.legs import FootFrames, Legs, rotated
from wildrobot_torch.motion.rotations import Array, Flags

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
        return rotated(rot, np.broadcast_to(point, shift.shape)) + shift

    def forward(self, joint_pos: Array, side: int) -> FootFrames:
        """See `Legs.forward`."""
        chain = self.robot.chains[side]
        rot, shift, _, _ = _screws(chain, joint_pos[..., self.index[side]], chain.num_joints)
        ankle = rotated(rot, np.broadcast_to(self._ankle[side], shift.shape)) + shift
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
        ankle = rotated(rot, np.broadcast_to(self._ankle[side], shift.shape)) + shift
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
        anchors.append(rotated(rot, anchor) + shift)
        rot = rot @ axis_rotation(chain.axes[i], joints[..., i])
        shift = anchors[-1] - rotated(rot, anchor)
    return rot, shift, np.stack(axes, -2), np.stack(anchors, -2)


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum(-1)
