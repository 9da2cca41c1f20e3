"""A pose to stand in: one of the MJCF's keyframes, or a crouch that is found by search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.optimize import least_squares

from envs.robot.inference.frame import Frame, angle_between, center_of_mass, place, pose
from envs.robot.inference.limbs import Leg
from envs.robot.inference.mirrors import Pair, joint_range
from envs.robot.inference.soles import Sole
from envs.robot.inference.tree import Tree

Array = np.ndarray

CROUCHES = (0.02, 0.03, 0.045, 0.06, 0.08, 0.11, 0.15)
"""Shares of the leg's length by which the hips are lowered, that are tried."""
MARGIN = 0.06
"""Share of a joint's range that a home found by search keeps from its stops."""
LEVEL = np.deg2rad(4.0)
"""Angle to the ground that a sole may have in a keyframe that is taken for home."""
LEAN = np.deg2rad(20.0)
"""By which the trunk of such a keyframe may lean [rad]."""


@dataclass(frozen=True)
class Stance:
    """How a pose stands on level ground."""

    angles: dict[int, float]
    """Joint -> angle [rad], all joints of the robot."""
    height: float
    """Of the root body's origin over the soles [m]."""
    lean: float
    """By which the trunk leans ahead when the soles are level [rad]."""
    level: float
    """Largest angle of a sole to the ground, once the lean of both is taken out [rad]."""
    apart: float
    """Difference of the soles' heights [m]."""
    tip_forward: float
    """Distance of the centre of mass from the front edge of the soles [m]; negative beyond it."""
    tip_back: float
    """From the rear edge [m]."""
    tip_side: float
    """From the nearer outer edge [m]."""
    torque: dict[int, float]
    """Joint of a leg -> torque that holds the pose on both feet [N m]."""
    stop: float
    """Least distance from a stop, as a share of the joint's range."""
    bend: float
    """Angle of the knee that bends least, from straight [rad]."""

    @property
    def stands(self) -> bool:
        """Whether the centre of mass is over level soles."""
        over = min(self.tip_forward, self.tip_back, self.tip_side) > 0.0
        return over and self.level <= LEVEL and self.stop >= 0.0 and abs(self.lean) <= LEAN


@dataclass(frozen=True)
class Stander:
    """A robot whose legs are known, for finding where it stands."""

    tree: Tree
    frame: Frame
    legs: tuple[Leg, Leg]
    soles: tuple[Sole, Sole]
    pairs: tuple[Pair, ...]
    """Pairs of the legs' joints."""
    kinds: tuple[str, ...]
    """Kinds of a leg's joints, from the trunk on."""
    limits: Mapping[int, float]
    """Joint of a leg -> largest torque [N m]."""

    def stance(self, angles: Mapping[int, float]) -> Stance:
        """How the robot stands at joint angles [rad]; 0 for those not named."""
        tree, data = self.tree, place(self.tree, self.frame, angles)
        frames = [sole_pose(data, sole) for sole in self.soles]
        lean = _mean_lean(frames)
        edges = np.concatenate(
            [_corners(p, r, s) for (p, r), s in zip(frames, self.soles, strict=True)]
        )
        # The robot as a whole may lean so that the soles are level: home's root is pitched then.
        turn = _pitched(lean)
        edges, com = edges @ turn.T, turn @ center_of_mass(tree, data)
        ground = float(np.mean([(turn @ p)[2] for p, _ in frames]))
        ups = [turn @ r[:, 2] for _, r in frames]
        root = turn @ data.xpos[tree.root]
        stop = [
            _stop_share(tree, joint, float(angles.get(joint, 0.0)))
            for leg in self.legs
            for joint in leg.joints
        ]
        knees = [leg.joints[self.kinds.index("knee")] for leg in self.legs if "knee" in self.kinds]
        return Stance(
            angles={joint: float(angles.get(joint, 0.0)) for joint in tree.joints},
            height=float(root[2] - ground),
            lean=-lean,
            level=max(angle_between(up, np.array([0.0, 0.0, 1.0])) for up in ups),
            apart=float(abs((turn @ frames[0][0])[2] - (turn @ frames[1][0])[2])),
            tip_forward=float(edges[:, 0].max() - com[0]),
            tip_back=float(com[0] - edges[:, 0].min()),
            tip_side=float(min(edges[:, 1].max() - com[1], com[1] - edges[:, 1].min())),
            torque=self._torques(data, frames, turn),
            stop=min(stop),
            bend=min((abs(float(angles.get(knee, 0.0))) for knee in knees), default=0.0),
        )

    def _torques(
        self, data: mujoco.MjData, frames: list[tuple[Array, Array]], turn: Array
    ) -> dict[int, float]:
        """Torques of the legs' joints, each foot bearing half the weight under the middle."""
        tree, model = self.tree, self.tree.model
        up = turn.T @ np.array([0.0, 0.0, 1.0])
        gravity = float(np.linalg.norm(model.opt.gravity))
        com = center_of_mass(tree, data)
        force = np.zeros(model.nv)
        for body in tree.bodies:
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacobian, None, data.xipos[body], body)
            force += model.body_mass[body] * gravity * (up @ jacobian)
        for (position, axes), sole in zip(frames, self.soles, strict=True):
            # The foot's load is as far forward as the centre of mass, within the sole.
            ahead = float(np.clip((com - position) @ axes[:, 0], sole.heel, sole.toe))
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, jacobian, None, position + ahead * axes[:, 0], sole.body)
            force -= 0.5 * tree.mass * gravity * (up @ jacobian)
        joints = [joint for leg in self.legs for joint in leg.joints]
        return {joint: float(force[model.jnt_dofadr[joint]]) for joint in joints}

    def reach(self) -> float:
        """Length of a leg: from the hip's pitch axis over the knee and ankle to the sole [m]."""
        data = place(self.tree, self.frame)
        leg, sole = self.legs[0], self.soles[0]
        points = [
            data.xanchor[joint] * (1, 0, 1)
            for joint, kind in zip(leg.joints, self.kinds, strict=True)
            if kind in ("pitch", "knee", "ankle_pitch")
        ]
        points.append(sole_pose(data, sole)[0] * (1, 0, 1))
        return float(sum(np.linalg.norm(b - a) for a, b in itertools.pairwise(points)))

    def crouch(self, rest: Mapping[int, float]) -> Stance | None:
        """The best pose with level soles under the centre of mass; None where none is found.

        Hips are lowered step by step. The best of the poses that stand needs little torque,
        keeps away from stops and from tipping, and has bent knees.

        Args:
            rest: angles of all other joints.
        """
        length, best = self.reach(), None
        start: Array | None = None
        for share in CROUCHES:
            found = self._lowered(length * (1.0 - share), rest, start)
            if found is None:
                continue
            start, stance = found
            if not stance.stands:
                continue
            if best is None or self.cost(stance) < self.cost(best):
                best = stance
        return best

    def cost(self, stance: Stance) -> float:
        """How little a stance is liked: 0 for one without torque, far from all limits."""
        heel_to_toe = stance.tip_forward + stance.tip_back
        tip = min(stance.tip_forward, stance.tip_back) / heel_to_toe
        strain = max(
            (abs(torque) / self.limits[joint] for joint, torque in stance.torque.items()),
            default=0.0,
        )
        return (
            strain
            + 4.0 * max(0.0, 0.35 - tip)
            + 4.0 * max(0.0, 0.10 - stance.stop)
            + 2.0 * max(0.0, 0.45 - stance.bend)
            + 0.3 * max(0.0, stance.bend - 0.6)
        )

    def _lowered(
        self, drop: float, rest: Mapping[int, float], start: Array | None
    ) -> tuple[Array, Stance] | None:
        """Left leg's angles and the stance with the hip's pitch axis `drop` over the sole."""
        tree, leg = self.tree, self.legs[0]
        data = mujoco.MjData(tree.model)
        hip = leg.joints[self.kinds.index("pitch")]
        pose(tree, self.frame, rest, data)
        length = self.reach()
        sole = self.soles[0]
        middle = (sole.heel + sole.toe) / 2.0
        wide = max(sole_pose(data, sole)[0][1], sole.width / 2.0 + 0.02 * length)
        bounds = np.array([_bounds(tree, joint) for joint in leg.joints])
        toward = {pair.left: (pair.right, pair.sign) for pair in self.pairs}

        def both(angles: Array) -> dict[int, float]:
            found = dict(rest)
            for joint, angle in zip(leg.joints, angles, strict=True):
                other, sign = toward[joint]
                found[joint], found[other] = float(angle), sign * float(angle)
            return found

        def misses(angles: Array) -> Array:
            pose(tree, self.frame, both(angles), data)
            position, axes = sole_pose(data, sole)
            com = center_of_mass(tree, data)
            under = position + middle * axes[:, 0]
            center = (angles - bounds.mean(1)) / np.ptp(bounds, axis=1)
            return np.array(
                [
                    5.0 * axes[0, 2],
                    5.0 * axes[1, 2],
                    0.5 * axes[1, 0],
                    4.0 * (com[0] - under[0]) / length,
                    1.0 * (position[1] - wide) / length,
                    10.0 * (data.xanchor[hip][2] - position[2] - drop) / length,
                    *(0.01 * center),
                ]
            )

        guesses = [self._bent(share) for share in (0.3, 0.6)] if start is None else [start]
        best = None
        for guess in guesses:
            span = np.ptp(bounds, axis=1)
            inside = np.clip(guess, bounds[:, 0] + 1e-3 * span, bounds[:, 1] - 1e-3 * span)
            found = least_squares(misses, inside, bounds=bounds.T, max_nfev=60)
            if best is None or found.cost < best.cost:
                best = found
        assert best is not None
        if np.abs(best.fun[:2]).max() > 5.0 * LEVEL or abs(best.fun[5]) > 10.0 * 0.02:
            return None
        return best.x, self.stance(both(best.x))

    def _bent(self, share: float) -> Array:
        """A guess (L,) of a bent left leg: hip, knee and ankle pitched by a share of a radian."""
        tree, leg = self.tree, self.legs[0]
        data = place(tree, self.frame)
        angles = np.zeros(len(leg.joints))
        for i, (joint, kind) in enumerate(zip(leg.joints, self.kinds, strict=True)):
            about_y = float(np.sign(data.xaxis[joint][1]) or 1.0)
            if kind == "pitch":
                angles[i] = -share * about_y
            elif kind == "knee":
                low, high = joint_range(tree, joint)
                back = 2.0 * share * about_y
                # A knee that cannot bend back bends ahead, and hip and ankle with it.
                angles[i] = back if low <= 0.5 * back <= high else -back
            elif kind == "ankle_pitch":
                angles[i] = -share * about_y
        if "knee" in self.kinds:
            knee = self.kinds.index("knee")
            about_y = float(np.sign(data.xaxis[leg.joints[knee]][1]) or 1.0)
            if angles[knee] * about_y < 0.0:
                pitched = [
                    i for i, kind in enumerate(self.kinds) if kind in ("pitch", "ankle_pitch")
                ]
                angles[pitched] *= -1.0
        return angles


def sole_pose(data: mujoco.MjData, sole: Sole) -> tuple[Array, Array]:
    """Position (3,) [m] and axes (3, 3) of a sole in the world; the columns are its axes."""
    own = np.zeros(9)
    mujoco.mju_quat2Mat(own, sole.quat)
    turn = data.xmat[sole.body].reshape(3, 3)
    return data.xpos[sole.body] + turn @ sole.pos, turn @ own.reshape(3, 3)


def _corners(position: Array, axes: Array, sole: Sole) -> Array:
    """(4, 3) corners of a sole."""
    half = sole.width / 2.0
    local = np.array([[x, y, 0.0] for x in (sole.heel, sole.toe) for y in (-half, half)])
    return position + local @ axes.T


def _mean_lean(frames: list[tuple[Array, Array]]) -> float:
    """Pitch of the soles' mean normal [rad]."""
    up = np.mean([axes[:, 2] for _, axes in frames], axis=0)
    return float(np.arctan2(up[0], up[2]))


def _pitched(angle: float) -> Array:
    """Rotation (3, 3) that brings a normal leaning ahead by `angle` [rad] upright."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def _bounds(tree: Tree, joint: int) -> tuple[float, float]:
    low, high = joint_range(tree, joint)
    margin = MARGIN * (high - low)
    return low + margin, high - margin


def _stop_share(tree: Tree, joint: int, angle: float) -> float:
    low, high = joint_range(tree, joint)
    return min(angle - low, high - angle) / max(high - low, 1e-9)
