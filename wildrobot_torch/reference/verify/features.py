"""Tests 1A, 2 and 3: are the stored features those of the stored states, in any world?"""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from envs.frames import quat_from_euler, quat_multiply, turn
from wildrobot_torch.reference.verify.finding import Finding, bounded
from wildrobot_torch.reference.verify.subject import Subject, forward

TOLERANCE = 1e-5
"""Largest difference of a feature, in its unit: single precision, some metres from the origin."""


def assembly(subject: Subject) -> list[Finding]:
    """1A: stored features against two ways of computing them from the stored states."""
    layout = subject.dataset.amp_layout
    stored = layout.unpack(subject.dataset.amp)
    computed = {
        f"{name}, by the environment": (name, value)
        for name, value in layout.unpack(subject.forward.amp[:, 0]).items()
        if name != "contact"  # depends on forces, which states alone do not determine
    }
    for name, values in by_hand(subject).items():
        computed[f"{name}, by hand"] = (name, torch.from_numpy(values))
    return [
        _largest("1A", title, (stored[name].double() - value).abs())
        for title, (name, value) in computed.items()
    ]


def by_hand(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """Features from qpos, qvel and the model's joint table, by none of the environment's code."""
    qpos, qvel = subject.qpos.double().numpy(), subject.qvel.double().numpy()
    model = subject.loaded.model
    world_from_body = Rotation.from_quat(qpos[:, [4, 5, 6, 3]]).as_matrix()
    ahead = world_from_body[:, :, 0]
    yaw = np.arctan2(ahead[:, 1], ahead[:, 0])
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = qvel[:, :3].T
    # The servos' own joints, in the order of the model's actuators.
    joints = [int(model.actuator_trnid[i, 0]) for i in range(model.nu)]
    assert all(model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT)
    return {
        "gravity": world_from_body.transpose(0, 2, 1) @ np.array([0.0, 0.0, -1.0]),
        "linvel": np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1),
        "angvel": qvel[:, 3:6],
        "joint_pos": qpos[:, model.jnt_qposadr[joints]],
        "joint_vel": qvel[:, model.jnt_dofadr[joints]],
        "contact": subject.loaded_feet.double().numpy(),
        "height": qpos[:, 2:3],
    }


def invariance(subject: Subject, generator: torch.Generator) -> list[Finding]:
    """2 and 3: features of the states in a world turned at random, and with all quaternions -q."""
    angle = (2.0 * torch.rand(len(subject.qpos), generator=generator) - 1.0) * torch.pi
    flipped = subject.qpos.clone()
    flipped[:, 3:7] *= -1.0
    # Without contacts, which the last digit of a force may switch.
    columns = torch.ones(subject.dataset.amp_layout.size, dtype=torch.bool)
    columns[subject.dataset.amp_layout.slices["contact"]] = False

    def change(qpos: Tensor, qvel: Tensor) -> Tensor:
        again = forward(qpos, qvel, subject.loaded, subject.dataset.ctrl_dt)
        return (again.amp - subject.forward.amp)[:, 0, columns].abs()

    around = change(*turned(subject.qpos, subject.qvel, angle))
    return [
        _largest("2", "features, world turned about the vertical", around),
        _largest("3", "features, quaternions -q for q", change(flipped, subject.qvel)),
    ]


def turned(qpos: Tensor, qvel: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """States (N, nq), (N, nv) in a world turned by `angle` (N,) [rad] about the vertical."""
    zero = torch.zeros_like(angle)
    qpos, qvel = qpos.clone(), qvel.clone()
    qpos[:, :3], qvel[:, :3] = turn(qpos[:, :3], angle), turn(qvel[:, :3], angle)
    qpos[:, 3:7] = quat_multiply(quat_from_euler(zero, zero, angle), qpos[:, 3:7])
    return qpos, qvel


def _largest(test: str, name: str, difference: Tensor) -> Finding:
    value, frame = float(difference.max()), int(difference.amax(-1).argmax())
    detail = f"frame {frame}" if value > TOLERANCE else ""
    return bounded(test, name, value, "", high=TOLERANCE, detail=detail)
