"""Test 1B without forces: do positions and velocities tell of one motion, on this floor?"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.frames import heading_to_world, projected_gravity, quat_rotate, quat_rotate_inverse, turn
from wildrobot_torch.motion.metrics import SLIPPING
from wildrobot_torch.reference.verify.dynamics import tangent
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

TEST = "1B"
DIFFERENCED = 0.02
"""Velocities that a difference of positions explains but for this share are such differences."""
FLOATING = 0.002
"""A sole whose lowest point is higher touches nothing [m]."""


def consistency(subject: Subject) -> list[Finding]:
    """Positions against the integral of the velocities, frame by frame and over segments."""
    if not len(subject.moving_steps):
        return [skipped(TEST, "velocities", "no segment goes anywhere")]
    found = [_drift(subject), *_frames_of_velocity(subject), _lag(subject)]
    return [*found, *_differences(subject)]


def floor(subject: Subject) -> list[Finding]:
    """Soles against the floor: neither above it nor in it, and not dragged over it."""
    lowest = subject.sole_height.amin(-1)
    floating = _per_segment(subject, (lowest > FLOATING).float())
    depth = torch.stack([lowest[frames].median() for _, frames in subject.segments()])
    speed = subject.forward.sole_speed[:, 0]
    on_floor = subject.loaded_feet
    slipping = (on_floor & (speed > SLIPPING)).sum(-1).float()
    share = _per_segment(subject, slipping) / _per_segment(subject, on_floor.sum(-1).float())
    # 0 / 0: a robot that never loads a foot slips on none, and floats.
    share = share.nan_to_num(nan=1.0)
    return [
        bounded(TEST, "frames with no sole on the floor", float(floating.max()), "1", high=0.10,
                detail=subject.worst(floating)),
        bounded(TEST, "deepest sole point", float(lowest.min()), "m", low=-0.012, warn_low=-0.008),
        bounded(TEST, "lower sole, median: deepest segment", float(depth.min()), "m", low=-0.004,
                detail=subject.worst(-depth)),
        bounded(TEST, "lower sole, median: highest segment", float(depth.max()), "m", high=0.0,
                detail=subject.worst(depth)),
        bounded(TEST, f"loaded soles faster than {SLIPPING} m/s", float(share.max()), "1",
                high=0.30, warn_high=0.15, detail=subject.worst(share)),
    ]  # fmt: skip


def posture(subject: Subject) -> list[Finding]:
    """Joints within their ranges, the body upright, and walking the way it faces."""
    joints = subject.qpos[:, subject.robot.joint_qpos_adr]
    low, high = subject.robot.joint_range.unbind(-1)
    beyond = torch.maximum(low - joints, joints - high).amax(0)
    name = subject.robot.joint_names[int(beyond.argmax())]
    vertical = -projected_gravity(subject.qpos[:, 3:7])[:, 2]
    tilt = torch.rad2deg(torch.quantile(torch.acos(vertical.clamp(-1.0, 1.0)), 0.95))
    findings = [
        bounded(TEST, "joint beyond its range", float(beyond.max().clamp(min=0.0)), "rad",
                high=0.10, warn_high=0.05, detail=name),
        bounded(TEST, "tilt, 95th percentile", float(tilt), "deg", high=25.0),
    ]  # fmt: skip
    if not bool(subject.moving.any()):
        return [*findings, skipped(TEST, "travel", "no segment goes anywhere")]
    ahead = torch.stack([_ahead(subject, frames) for _, frames in subject.segments()])
    ahead = torch.where(subject.moving, ahead, torch.ones_like(ahead))
    findings.append(
        bounded(TEST, "share of the way that is walked ahead", float(ahead.min()), "1", low=0.8,
                high=1.2, detail=subject.worst(-ahead))
    )  # fmt: skip
    return findings


def residual(subject: Subject, steps: Tensor, qvel: Tensor) -> Tensor:
    """Motion per time between frames minus the mean velocity, (P, nv), for velocities (N, nv).

    Steps of semi-implicit integration end with the new velocity, which the last term allows for.
    """
    h, dt = subject.loaded.model.opt.timestep, subject.dataset.ctrl_dt
    moved = tangent(subject.qpos[steps].double(), subject.qpos[steps + 1].double()) / dt
    before, after = qvel[steps].double(), qvel[steps + 1].double()
    return moved - 0.5 * (before + after) - 0.5 * h / dt * (after - before)


def _drift(subject: Subject) -> Finding:
    left = residual(subject, subject.steps, subject.qvel)[:, :3]
    where = subject.segment_of[subject.steps]
    total = torch.zeros(subject.dataset.num_segments, 3, dtype=left.dtype)
    total.index_add_(0, where, left)
    count = torch.bincount(where, minlength=len(total)).clamp(min=1)
    drift = torch.linalg.vector_norm(total / count[:, None], dim=-1)
    # Between two frames a landing is averaged over; one such step is much of a short segment.
    return bounded(TEST, "root velocity against the way covered", float(drift.max()), "m/s",
                   high=0.02, detail=subject.worst(drift))  # fmt: skip


def _frames_of_velocity(subject: Subject) -> list[Finding]:
    """Would another reading of the root's velocities fit its motion better?"""
    steps, quat, qvel = subject.moving_steps, subject.qpos[:, 3:7], subject.qvel
    linear, angular = qvel[:, :3], qvel[:, 3:6]
    # What the stored numbers would have to be turned by to be what qvel should hold.
    readings = {
        ("linear", "body"): (quat_rotate(quat, linear), angular),
        ("linear", "heading"): (heading_to_world(linear, quat), angular),
        ("linear", "opposite"): (-linear, angular),
        ("angular", "world"): (linear, quat_rotate_inverse(quat, angular)),
        ("angular", "heading"): (linear, quat_rotate_inverse(quat, turn(angular, subject.heading))),
        ("angular", "body of the body"): (linear, quat_rotate(quat, angular)),
    }
    columns = {"linear": slice(0, 3), "angular": slice(3, 6)}
    stored = residual(subject, steps, qvel)
    findings = []
    for kind, column in columns.items():
        asis = _rms(stored[:, column])
        ratios = {}
        for (what, frame), root in readings.items():
            if what == kind:
                other = torch.cat([*root, qvel[:, 6:]], -1)
                ratios[frame] = asis / max(_rms(residual(subject, steps, other)[:, column]), 1e-9)
        frame = max(ratios, key=lambda name: ratios[name])
        findings.append(
            bounded(TEST, f"root {kind} velocity: misfit over that of another frame",
                    ratios[frame], "1", high=1.02, detail=f"nearest: {frame}")
        )  # fmt: skip
    return findings


def _lag(subject: Subject) -> Finding:
    """Misfit of the joints' velocities as stored, over that a frame earlier or later."""
    inner = _interior(subject)
    joints = slice(6, None)
    asis = _rms(residual(subject, inner, subject.qvel)[:, joints])
    shifted = [
        _rms(residual(subject, inner, torch.roll(subject.qvel, by, 0))[:, joints]) for by in (-1, 1)
    ]
    return bounded(TEST, "joint velocities: misfit over that of a frame's shift",
                   asis / max(min(shifted), 1e-9), "1", high=0.6)  # fmt: skip


def _differences(subject: Subject) -> list[Finding]:
    """How far velocities are from differences of positions, relative to how much they change."""
    inner, dt = _interior(subject), subject.dataset.ctrl_dt
    qpos = subject.qpos.double()
    ahead = tangent(qpos[inner], qpos[inner + 1]) / dt
    behind = tangent(qpos[inner - 1], qpos[inner]) / dt
    stored = subject.qvel[inner].double()
    change = ahead - behind
    schemes = {"forward": ahead, "backward": behind, "central": 0.5 * (ahead + behind)}
    blocks = {
        "root linear": slice(0, 3),
        "root angular": slice(3, 6),
        "joint": slice(6, None),
    }
    findings = []
    for name, columns in blocks.items():
        size = max(_rms(change[:, columns]), 1e-9)
        misfit = {k: _rms((stored - v)[:, columns]) / size for k, v in schemes.items()}
        scheme = min(misfit, key=lambda key: misfit[key])
        what = f"{name} velocities: distance from differences of positions"
        findings.append(
            bounded(TEST, what, misfit[scheme], "1", low=DIFFERENCED, detail=f"nearest: {scheme}")
        )
    return findings


def _interior(subject: Subject) -> Tensor:
    """Frames of moving segments that have two neighbours on either side."""
    inside = torch.zeros(subject.dataset.num_frames, dtype=torch.bool)
    for number, frames in subject.segments():
        if bool(subject.moving[number]):
            inside[frames.start + 2 : max(frames.stop - 2, frames.start + 2)] = True
    return torch.nonzero(inside).squeeze(-1)


def _ahead(subject: Subject, frames: slice) -> Tensor:
    """Distance gone in the direction faced over the net displacement, from positions alone."""
    moved = subject.qpos[frames, :3].diff(dim=0)
    faced = subject.heading[frames]
    middle = faced[:-1] + 0.5 * torch.atan2(torch.sin(faced.diff()), torch.cos(faced.diff()))
    net = torch.linalg.vector_norm(moved.sum(0)[:2]).clamp(min=1e-9)
    return turn(moved, -middle)[:, 0].sum() / net


def _per_segment(subject: Subject, values: Tensor) -> Tensor:
    return torch.stack([values[frames].mean() for _, frames in subject.segments()])


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
