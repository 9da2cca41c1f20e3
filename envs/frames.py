"""Rotations and frames: quaternions (wxyz), yaw, and world <-> heading <-> body.

Suffixes name frames: _w world, _b body, _h heading (the world frame turned by the root's yaw).
R_wb maps body coordinates to world coordinates; every quaternion here is that rotation.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quat_rotate(quat: Tensor, vec: Tensor) -> Tensor:
    """`vec` (..., 3) rotated by `quat` (..., 4): body to world for a body's orientation."""
    w, u = quat[..., :1], quat[..., 1:]
    t = 2.0 * torch.cross(u, vec, dim=-1)
    return vec + w * t + torch.cross(u, t, dim=-1)


def quat_rotate_inverse(quat: Tensor, vec: Tensor) -> Tensor:
    """`vec` (..., 3) rotated by the inverse of `quat` (..., 4): world to body."""
    return quat_rotate(quat_conjugate(quat), vec)


def quat_conjugate(quat: Tensor) -> Tensor:
    """Inverse rotation of a unit quaternion (..., 4)."""
    return torch.cat([quat[..., :1], -quat[..., 1:]], dim=-1)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product (..., 4): the rotation `b` followed by `a`."""
    aw, av = a[..., :1], a[..., 1:]
    bw, bv = b[..., :1], b[..., 1:]
    w = aw * bw - (av * bv).sum(-1, keepdim=True)
    v = aw * bv + bw * av + torch.cross(av, bv, dim=-1)
    return torch.cat([w, v], dim=-1)


def quat_from_euler(roll: Tensor, pitch: Tensor, yaw: Tensor) -> Tensor:
    """Quaternion (..., 4) of R = Rz(yaw) Ry(pitch) Rx(roll); angles (...) [rad]."""
    cr, sr = torch.cos(roll / 2), torch.sin(roll / 2)
    cp, sp = torch.cos(pitch / 2), torch.sin(pitch / 2)
    cy, sy = torch.cos(yaw / 2), torch.sin(yaw / 2)
    return torch.stack(
        [
            cy * cp * cr + sy * sp * sr,
            cy * cp * sr - sy * sp * cr,
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
        ],
        dim=-1,
    )


def yaw(quat: Tensor) -> Tensor:
    """Heading angle (...) [rad] in (-pi, pi] of an orientation (..., 4); equal for q and -q."""
    w, x, y, z = quat.unbind(-1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def roll_pitch(quat: Tensor) -> tuple[Tensor, Tensor]:
    """Roll and pitch (...) [rad] of R = Rz(yaw) Ry(pitch) Rx(roll); pitch > 0 leans forward."""
    w, x, y, z = quat.unbind(-1)
    roll = torch.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = torch.asin((2.0 * (w * y - z * x)).clamp(-1.0, 1.0))
    return roll, pitch


def turn(vec: Tensor, angle: Tensor) -> Tensor:
    """`vec` (..., 3) turned by `angle` (...) [rad] about the vertical, counter-clockwise."""
    c, s = torch.cos(angle), torch.sin(angle)
    x, y, z = vec.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], dim=-1)


def world_to_heading(vec_w: Tensor, quat: Tensor) -> Tensor:
    """`vec_w` (..., 3) in the heading frame of the orientation `quat` (..., 4)."""
    return turn(vec_w, -yaw(quat))


def heading_to_world(vec_h: Tensor, quat: Tensor) -> Tensor:
    """Inverse of `world_to_heading`."""
    return turn(vec_h, yaw(quat))


def projected_gravity(quat: Tensor) -> Tensor:
    """Unit vector of gravity in the body frame, R_wb^T (0, 0, -1), shape (..., 3)."""
    w, x, y, z = quat.unbind(-1)
    return torch.stack(
        [
            -2.0 * (x * z - w * y),
            -2.0 * (y * z + w * x),
            -(1.0 - 2.0 * (x * x + y * y)),
        ],
        dim=-1,
    )


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angle [rad] in [-pi, pi]."""
    return torch.atan2(torch.sin(angle), torch.cos(angle))
