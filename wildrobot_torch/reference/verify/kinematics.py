"""Test 1B without forces: do positions and velocities describe one motion on this floor?"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.frames import (
    heading_to_world,
    projected_gravity,
    quat_rotate,
    quat_rotate_inverse,
    turn,
    wrap_angle,
)
from wildrobot_torch.motion.metrics import SLIPPING
from wildrobot_torch.reference.verify.dynamics import tangent
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

TEST = "1B"
DIFFERENCED = 0.02
"""Velocities that differ from differences of positions by less than this share are differences."""
FLOATING = 0.002
"""A sole whose lowest point is higher does not touch the floor [m]."""
BLOCKS = {"root linear": slice(0, 3), "root angular": slice(3, 6), "joint": slice(6, None)}
"""Columns of qvel."""


def consistency(subject: Subject) -> list[Finding]:
    """Positions against the integral of the velocities, frame by frame and over segments."""
    if not bool(subject.moving.any()):
        return [skipped(TEST, "velocities", "no segment goes anywhere")]
    found = [_drift(subject), *_frames_of_velocity(subject), _lag(subject)]
    return [*found, *_differences(subject)]


def floor(subject: Subject) -> list[Finding]:
    """Soles against the floor: neither above it nor in it, and not dragged over it."""
    lowest = subject.sole_height.amin(-1)
    floating = subject.per_segment((lowest > FLOATING).float())
    depth = torch.stack([lowest[frames].median() for _, frames in subject.segments()])
    slipping = subject.loaded_feet & (subject.forward.sole_speed[:, 0] > SLIPPING)
    loaded = subject.per_segment(subject.loaded_feet.sum(-1).float())
    # 0 / 0: a robot that never loads a foot slips on none, and floats.
    share = (subject.per_segment(slipping.sum(-1).float()) / loaded).nan_to_num(nan=1.0)
    worst = subject.worst
    return [
        bounded(TEST, "frames with no sole on the floor", float(floating.max()), "1", high=0.10,
                detail=worst(floating)),
        bounded(TEST, "deepest sole point", float(lowest.min()), "m", low=-0.012, warn_low=-0.008),
        bounded(TEST, "lower sole, median: deepest segment", float(depth.min()), "m", low=-0.004,
                detail=worst(-depth)),
        bounded(TEST, "lower sole, median: highest segment", float(depth.max()), "m", high=0.0,
                detail=worst(depth)),
        bounded(TEST, f"loaded soles faster than {SLIPPING} m/s", float(share.max()), "1",
                high=0.30, warn_high=0.15, detail=worst(share)),
    ]  # fmt: skip


def posture(subject: Subject) -> list[Finding]:
    """Joints within their ranges, the body upright, and the robot walking where it faces."""
    robot = subject.robot
    joints = subject.qpos[:, robot.joint_qpos_adr]
    low, high = robot.joint_range.unbind(-1)
    beyond = torch.maximum(low - joints, joints - high).amax(0)
    vertical = -projected_gravity(subject.qpos[:, 3:7])[:, 2]
    tilt = torch.rad2deg(torch.quantile(torch.acos(vertical.clamp(-1.0, 1.0)), 0.95))
    ahead = torch.stack([_ahead(subject, frames) for _, frames in subject.segments()])
    ahead = torch.where(subject.moving, ahead, torch.ones_like(ahead))
    return [
        bounded(TEST, "joint beyond its range", float(beyond.max().clamp(min=0.0)), "rad",
                high=0.10, warn_high=0.05, detail=robot.joint_names[int(beyond.argmax())]),
        bounded(TEST, "tilt, 95th percentile", float(tilt), "deg", high=25.0),
        bounded(TEST, "distance walked ahead over net displacement, least", float(ahead.min()),
                "1", low=0.8, high=1.2, detail=subject.worst(-ahead)),
    ]  # fmt: skip


def _residual(subject: Subject, steps: Tensor, qvel: Tensor) -> Tensor:
    """Motion per time between frames minus the mean velocity, (P, nv), for velocities (N, nv).

    Steps of semi-implicit integration end with the new velocity, which the last term allows for.
    """
    h, dt = subject.loaded.model.opt.timestep, subject.dataset.ctrl_dt
    before, after = qvel[steps].double(), qvel[steps + 1].double()
    mean = 0.5 * (before + after) + 0.5 * h / dt * (after - before)
    return _moved(subject, steps) - mean


def _moved(subject: Subject, steps: Tensor) -> Tensor:
    """Motion per time from each frame to the next (P, nv)."""
    qpos = subject.qpos.double()
    return tangent(qpos[steps], qpos[steps + 1]) / subject.dataset.ctrl_dt


def _drift(subject: Subject) -> Finding:
    steps = subject.steps()
    left = _residual(subject, steps, subject.qvel)[:, :3]
    total = left.new_zeros(subject.dataset.num_segments, 3)
    total.index_add_(0, subject.segment_of[steps], left)
    count = (subject.dataset.segment_length - 1).clamp(min=1)
    drift = torch.linalg.vector_norm(total / count[:, None], dim=-1)
    # Between two frames a landing is averaged over; one such step is much of a short segment.
    return bounded(TEST, "root velocity against the distance covered", float(drift.max()), "m/s",
                   high=0.02, detail=subject.worst(drift))  # fmt: skip


def _frames_of_velocity(subject: Subject) -> list[Finding]:
    """Would the root's velocities fit its motion better if they were in another frame?"""
    steps, quat, qvel = subject.steps(moving=True), subject.qpos[:, 3:7], subject.qvel
    linear, angular = qvel[:, :3], qvel[:, 3:6]
    # What qvel should hold, if the stored numbers were in that frame.
    readings = {
        "linear": {
            "body": quat_rotate(quat, linear),
            "heading": heading_to_world(linear, quat),
            "opposite": -linear,
        },
        "angular": {
            "world": quat_rotate_inverse(quat, angular),
            "heading": quat_rotate_inverse(quat, turn(angular, subject.heading)),
            "body of the body": quat_rotate(quat, angular),
        },
    }
    stored, findings = _residual(subject, steps, qvel), []
    for kind, frames in readings.items():
        columns, ratios = BLOCKS[f"root {kind}"], {}
        for frame, velocity in frames.items():
            other = qvel.clone()
            other[:, columns] = velocity
            misfit = _rms(_residual(subject, steps, other)[:, columns])
            ratios[frame] = _rms(stored[:, columns]) / max(misfit, 1e-9)
        frame = max(ratios, key=lambda name: ratios[name])
        name = f"root {kind} velocity: misfit over that of another frame"
        findings.append(
            bounded(TEST, name, ratios[frame], "1", high=1.02, detail=f"nearest: {frame}")
        )
    return findings


def _lag(subject: Subject) -> Finding:
    """Misfit of the joints' velocities as stored, over that a frame earlier or later."""
    inner, joints = subject.steps(moving=True, margin=2), BLOCKS["joint"]
    stored, earlier, later = (
        _rms(_residual(subject, inner, torch.roll(subject.qvel, by, 0))[:, joints])
        for by in (0, -1, 1)
    )
    return bounded(TEST, "joint velocities: misfit over that of a frame's shift",
                   stored / max(min(earlier, later), 1e-9), "1", high=0.6)  # fmt: skip


def _differences(subject: Subject) -> list[Finding]:
    """How far velocities are from differences of positions, relative to how much they change."""
    inner = subject.steps(moving=True, margin=2)
    ahead, behind = _moved(subject, inner), _moved(subject, inner - 1)
    stored = subject.qvel[inner].double()
    schemes = {"forward": ahead, "backward": behind, "central": 0.5 * (ahead + behind)}
    findings = []
    for block, columns in BLOCKS.items():
        size = max(_rms((ahead - behind)[:, columns]), 1e-9)
        misfit, scheme = min((_rms((stored - v)[:, columns]), k) for k, v in schemes.items())
        name = f"{block} velocities: distance from differences of positions"
        findings.append(
            bounded(TEST, name, misfit / size, "1", low=DIFFERENCED, detail=f"nearest: {scheme}")
        )
    return findings


def _ahead(subject: Subject, frames: slice) -> Tensor:
    """Distance gone in the direction faced over the net displacement, from positions alone."""
    moved = subject.qpos[frames, :3].diff(dim=0)
    faced = subject.heading[frames]
    middle = faced[:-1] + 0.5 * wrap_angle(faced.diff())
    net = torch.linalg.vector_norm(moved.sum(0)[:2]).clamp(min=1e-9)
    return turn(moved, -middle)[:, 0].sum() / net


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
