"""A motion clip: how the root and the joints of one robot move, sampled at a fixed rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion import rotations
from wildrobot_torch.motion.rotations import Array

MIN_FPS, MAX_FPS = 5.0, 1000.0
"""Sampling rates [1/s] a clip may have."""

QUAT_TOLERANCE = 1e-3
"""A quaternion whose length differs more from 1 is refused, a nearer one normalised."""


class ClipError(UserError):
    """A motion clip or motion file that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Clip:
    """Motion of one robot: N frames at a fixed rate; arrays are float64.

    Raises:
        ClipError: a shape, a rate, a length or a value that no motion has.
    """

    name: str
    fps: float
    """Frames per second [1/s]."""
    root_pos: Array
    """(N, 3) [m]: root origin in the world, z up."""
    root_quat: Array
    """(N, 4) wxyz: orientation of the root, body to world; neighbours never differ in sign."""
    joint_pos: Array
    """(N, J) [rad]: joints in the order of `RobotSpec.joint_names`."""
    source: str
    """Origin of the motion, and what was done to it."""

    def __post_init__(self) -> None:
        fps = self.fps
        number = isinstance(fps, (int, float, np.integer, np.floating))
        if not number or not MIN_FPS <= float(fps) <= MAX_FPS:
            raise self._error(f"fps is {fps!r}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")
        arrays = {
            name: self._array(name, width)
            for name, width in (("root_pos", 3), ("root_quat", 4), ("joint_pos", None))
        }
        count = len(arrays["joint_pos"])
        for name, array in arrays.items():
            if len(array) != count:
                wrong = f"{name} has {len(array)} frames, joint_pos {count}"
                raise self._error(f"{wrong}; they must be equal")
        if count < 2:
            raise self._error(f"{count} frame(s); allowed: 2 or more")
        norm = np.linalg.norm(arrays["root_quat"], axis=1)
        worst = int(np.argmax(np.abs(norm - 1.0)))
        if abs(norm[worst] - 1.0) > QUAT_TOLERANCE:
            wrong = f"root_quat of frame {worst} has length {norm[worst]:.4g}"
            raise self._error(f"{wrong}; allowed: 1 within {QUAT_TOLERANCE:g}")
        arrays["root_quat"] = rotations.continuous(arrays["root_quat"] / norm[:, None])
        for name, value in {"fps": float(fps), **arrays}.items():
            object.__setattr__(self, name, value)

    def _error(self, text: str) -> ClipError:
        return ClipError(f"clip {self.name!r}: {text}")

    def _array(self, field: str, width: int | None) -> Array:
        try:
            array = np.asarray(getattr(self, field))
            # A cast would drop the imaginary part of a number and read one out of a text.
            if array.dtype.kind not in "iufO":
                raise TypeError(f"it holds {array.dtype} values")
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise self._error(f"{field} is no array of real numbers ({error})") from None
        if array.ndim != 2 or (width is not None and array.shape[1] != width):
            wanted = f"(frames, {width or 'joints'})"
            raise self._error(f"{field} has shape {array.shape}; it must be {wanted}")
        if not np.isfinite(array).all():
            frame = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise self._error(f"{field} is not finite in frame {frame}; allowed: numbers")
        return array

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.joint_pos)

    @property
    def duration_s(self) -> float:
        """Time from the first to the last frame [s]."""
        return (self.num_frames - 1) / self.fps

    @property
    def mean_speed(self) -> float:
        """Net horizontal displacement of the root over the duration [m/s]."""
        return float(np.linalg.norm(self.root_pos[-1, :2] - self.root_pos[0, :2]) / self.duration_s)

    def require(self, robot: RobotSpec) -> Clip:
        """This clip, if it has the robot's number of joints.

        Raises:
            ClipError: it has another number.
        """
        if self.joint_pos.shape[1] != robot.num_joints:
            raise self._error(
                f"{self.joint_pos.shape[1]} joints; robot {robot.name!r} has "
                f"{robot.num_joints}: {', '.join(robot.joint_names)}"
            )
        return self

    def frames(self, start: int, stop: int) -> Clip:
        """Frames `start` to `stop` (exclusive) as a clip of their own."""
        return self._at(slice(start, stop))

    def backwards(self) -> Clip:
        """The frames from last to first."""
        return self._at(slice(None, None, -1))

    def _at(self, rows: slice) -> Clip:
        names = ("root_pos", "root_quat", "joint_pos")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def resample(self, fps: float) -> Clip:
        """The same motion at another rate: positions interpolated linearly, orientations by slerp.

        The first frame is kept; the last is the latest multiple of 1 / fps within the clip. Before
        a lower rate, low-pass motion that has frequencies above fps / 2.
        """
        if not MIN_FPS <= fps <= MAX_FPS:
            raise self._error(f"resample to fps {fps!r}; allowed: {MIN_FPS:g} to {MAX_FPS:g}")
        # The tolerance keeps the last frame when duration * fps is an integer but for rounding.
        count = math.floor(self.duration_s * fps + 1e-6) + 1
        place = np.minimum(np.arange(count) * (self.fps / fps), self.num_frames - 1.0)
        low = np.minimum(place.astype(int), self.num_frames - 2)
        share = place - low

        def lerp(values: Array) -> Array:
            return values[low] + share[:, None] * (values[low + 1] - values[low])

        quat = rotations.slerp(self.root_quat[low], self.root_quat[low + 1], share)
        pos, joints = lerp(self.root_pos), lerp(self.joint_pos)
        return replace(self, fps=fps, root_pos=pos, root_quat=quat, joint_pos=joints)

    def velocities(self, robot: RobotSpec) -> tuple[Array, Array, Array]:
        """Velocities by central differences; by one-sided differences in the first and last frame.

        root_linvel_w (N, 3) [m/s] in the world, root_angvel_b (N, 3) [rad/s] in the body, and
        joint_vel (N, J) [rad/s].

        Raises:
            ClipError: the clip has another number of joints than the robot.
        """
        self.require(robot)
        frames = np.arange(self.num_frames)
        before, after = np.maximum(frames - 1, 0), np.minimum(frames + 1, self.num_frames - 1)
        span = (after - before)[:, None] / self.fps
        turn = rotations.quat_multiply(
            rotations.quat_conjugate(self.root_quat[before]), self.root_quat[after]
        )
        return (
            (self.root_pos[after] - self.root_pos[before]) / span,
            rotations.rotation_vector(turn) / span,
            (self.joint_pos[after] - self.joint_pos[before]) / span,
        )


def clip_states(clip: Clip, robot: RobotSpec) -> tuple[Tensor, Tensor]:
    """State of every frame in MuJoCo's convention, qpos (N, nq) and qvel (N, nv), float32.

    qpos: root position [m] and orientation (wxyz), joints [rad]. qvel, by `Clip.velocities`: root
    linear velocity in the world [m/s] and angular in the body [rad/s], joint velocities [rad/s].

    Raises:
        ClipError: the clip has another number of joints than the robot.
    """
    linvel, angvel, joint_vel = clip.velocities(robot)
    # Joints that the clip does not move are held at home.
    qpos = np.tile(robot.home_qpos.cpu().double().numpy(), (clip.num_frames, 1))
    qvel = np.zeros((clip.num_frames, qpos.shape[1] - 1))
    qpos[:, :3], qpos[:, 3:7] = clip.root_pos, clip.root_quat
    qvel[:, :3], qvel[:, 3:6] = linvel, angvel
    qpos[:, robot.joint_qpos_adr.cpu().numpy()] = clip.joint_pos
    qvel[:, robot.joint_qvel_adr.cpu().numpy()] = joint_vel
    return torch.from_numpy(qpos).float(), torch.from_numpy(qvel).float()
