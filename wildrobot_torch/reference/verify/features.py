"""Tests 1A, 2 and 3: are the stored features those of the stored states, in any world?"""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from envs.frames import quat_from_euler, quat_multiply, turn
from envs.recording import Recording
from wildrobot_torch.reference.verify.finding import Finding, bounded
from wildrobot_torch.reference.verify.states import forward
from wildrobot_torch.reference.verify.subject import Subject

TOLERANCE = 1e-5
"""Largest difference of a feature, in its unit: single precision, some metres from the origin."""


def assembly(subject: Subject) -> list[Finding]:
    """1A: stored features against two ways of computing them from the stored states."""
    stored = subject.dataset.amp_layout.unpack(subject.dataset.amp.cpu())
    physics = subject.dataset.amp_layout.unpack(subject.forward.amp[:, 0])
    findings = [
        _largest(f"{name}, by the environment", (stored[name] - value).abs())
        for name, value in physics.items()
        if name != "contact"  # of the forces in the rollout: states alone do not say them
    ]
    for name, values in by_hand(subject).items():
        difference = np.abs(stored[name].double().numpy() - values)
        findings.append(_largest(f"{name}, by hand", torch.from_numpy(difference)))
    return findings


def by_hand(subject: Subject) -> dict[str, NDArray[np.float64]]:
    """Features from qpos, qvel and the model's joint table, by none of the environment's code."""
    qpos, qvel = subject.qpos.double().numpy(), subject.qvel.double().numpy()
    model = subject.loaded.model
    world_from_body = Rotation.from_quat(qpos[:, [4, 5, 6, 3]]).as_matrix()
    forward_axis = world_from_body[:, :, 0]
    yaw = np.arctan2(forward_axis[:, 1], forward_axis[:, 0])
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
    turned_qpos, turned_qvel = turned(subject.qpos, subject.qvel, angle)
    flipped = subject.qpos.clone()
    flipped[:, 3:7] *= -1.0

    def again(qpos: Tensor, qvel: Tensor) -> Recording:
        return forward(qpos, qvel, subject.loaded, subject.dataset.ctrl_dt)

    base = _smooth(subject, subject.forward)
    around = _smooth(subject, again(turned_qpos, turned_qvel))
    negated = _smooth(subject, again(flipped, subject.qvel))
    return [
        _largest("features, world turned about the vertical", (around - base).abs(), "2"),
        _largest("features, quaternions -q for q", (negated - base).abs(), "3"),
    ]


def _smooth(subject: Subject, recording: Recording) -> Tensor:
    """Features without contacts, which the last digit of a force may switch."""
    features = recording.amp[:, 0]
    contact = subject.dataset.amp_layout.slices["contact"]
    return torch.cat([features[:, : contact.start], features[:, contact.stop :]], dim=-1)


def turned(qpos: Tensor, qvel: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """States (N, nq), (N, nv) in a world turned by `angle` (N,) [rad] about the vertical."""
    zero = torch.zeros_like(angle)
    rotation = quat_from_euler(zero, zero, angle)
    qpos, qvel = qpos.clone(), qvel.clone()
    qpos[:, :3] = turn(qpos[:, :3], angle)
    qpos[:, 3:7] = quat_multiply(rotation, qpos[:, 3:7])
    qvel[:, :3] = turn(qvel[:, :3], angle)
    return qpos, qvel


def _largest(name: str, difference: Tensor, test: str = "1A") -> Finding:
    frame = int(difference.amax(-1).argmax())
    value = float(difference.max())
    detail = f"frame {frame}" if value > TOLERANCE else ""
    return bounded(test, name, value, "", high=TOLERANCE, detail=detail)
