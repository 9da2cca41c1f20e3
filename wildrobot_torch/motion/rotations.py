"""Quaternions (wxyz) of clips, as numpy float64; the conventions are those of `envs.frames`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from envs import frames

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def _numpy(function: Callable[..., Tensor], *arrays: Array) -> Array:
    """One definition of every convention: the arithmetic of `envs.frames`, in double precision."""
    return function(*(torch.from_numpy(np.array(a, dtype=np.float64)) for a in arrays)).numpy()


def quat_multiply(a: Array, b: Array) -> Array:
    """Hamilton product (..., 4): the rotation `b` followed by `a`."""
    return _numpy(frames.quat_multiply, *np.broadcast_arrays(a, b))


def quat_conjugate(quat: Array) -> Array:
    """Inverse rotation of a unit quaternion (..., 4)."""
    return _numpy(frames.quat_conjugate, quat)


def quat_rotate(quat: Array, vec: Array) -> Array:
    """`vec` (..., 3) rotated by `quat` (..., 4): body to world for a body's orientation."""
    lead = np.broadcast_shapes(quat.shape[:-1], vec.shape[:-1])
    quat, vec = np.broadcast_to(quat, (*lead, 4)), np.broadcast_to(vec, (*lead, 3))
    return _numpy(frames.quat_rotate, quat, vec)


def quat_from_euler(roll: Array, pitch: Array, yaw: Array) -> Array:
    """Quaternion (..., 4) of R = Rz(yaw) Ry(pitch) Rx(roll); angles (...) [rad]."""
    return _numpy(frames.quat_from_euler, *np.broadcast_arrays(roll, pitch, yaw))


def yaw(quat: Array) -> Array:
    """Heading angle (...) [rad] of an orientation (..., 4)."""
    return _numpy(frames.yaw, quat)


def yaw_quat(angle: Array | float) -> Array:
    """Quaternion (..., 4) of a turn by `angle` (...) [rad] about the vertical."""
    angle = np.asarray(angle, dtype=np.float64)
    zero = np.zeros_like(angle)
    return quat_from_euler(zero, zero, angle)


def matrix(quat: Array) -> Array:
    """Rotation matrix (N, 3, 3), body to world, of (N, 4); its columns are the body's axes."""
    return np.stack([quat_rotate(quat, axis) for axis in np.eye(3)], -1)


def euler(quat: Array) -> Array:
    """Roll, pitch and yaw (N, 3) [rad] of (N, 4): the inverse of `quat_from_euler`."""
    return Rotation.from_quat(quat, scalar_first=True).as_euler("xyz")


def rotation_vector(quat: Array) -> Array:
    """Axis times angle (..., 3) [rad], angle in [0, pi], of (..., 4); equal for q and -q."""
    return Rotation.from_quat(quat, scalar_first=True).as_rotvec()


def from_rotation_vector(vector: Array) -> Array:
    """Quaternion (..., 4) of axis times angle (..., 3) [rad]."""
    return Rotation.from_rotvec(vector).as_quat(scalar_first=True)


def continuous(quat: Array) -> Array:
    """The same orientations (N, 4) with signs chosen so that neighbours are near each other."""
    flips = np.sign(np.einsum("ni,ni->n", quat[1:], quat[:-1]))
    flips[flips == 0.0] = 1.0
    return quat * np.concatenate([[1.0], np.cumprod(flips)])[:, None]


def slerp(a: Array, b: Array, share: Array) -> Array:
    """Orientation (N, 4) at `share` (N,) in [0, 1] of the shortest turn from `a` to `b` (N, 4)."""
    turn = rotation_vector(quat_multiply(quat_conjugate(a), b))
    return quat_multiply(a, from_rotation_vector(share[:, None] * turn))
