"""Tests 1B with forces and 1C replay: could the robot have made these steps by itself?

While a servo's target is held over a control step, or travels to the next one as a real servo's
does, physics gives a state exactly one successor. So for each stored state the targets are searched
that lead to the next one, under the support that was recorded. Motion that no targets explain was
not simulated like this, or something else held the robot.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.frames import quat_conjugate, quat_multiply
from envs.physics.native import NativePhysics
from envs.reality.servo import UPDATES_PER_STEP
from envs.robot.model import RobotModel
from wildrobot_torch.motion.rotations import rotation_vector
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

WINDOW = 12
"""Control steps of each stretch that is redone."""
STRETCHES = 24
"""Stretches redone for each kind of support, by default."""
UNEXPLAINED = {"none": 0.02, "harness": 0.05}
"""Median misfit of a step, as a velocity [m/s or rad/s]. Good motion without support leaves 1e-5; a
harness changes its wrench within a step, of which the mean is recorded."""
ITERATIONS = 8
"""Levenberg-Marquardt steps."""
TARGET_STEP = 0.02
"""Perturbation of a joint target in the Jacobian [rad]."""


def recover(
    qpos: Tensor,
    qvel: Tensor,
    next_qpos: Tensor,
    next_qvel: Tensor,
    wrench: Tensor,
    loaded: RobotModel,
    ctrl_dt: float,
) -> tuple[Tensor, Tensor]:
    """Joint targets of P control steps, by Levenberg-Marquardt.

    The steps lead from states (P, nq), (P, nv) to the next ones, under a support (P, 6) of the
    root, force [N] and torque [N m] in the world frame.

    Returns:
        Targets at the start and at the end of each step (P, 2 J) [rad], and what they leave
        unexplained (P, 2 nv) as velocities: position error over the control step, then velocity
        error.
    """
    robot, count = loaded.robot, len(qpos)
    # At the origin single precision resolves positions best.
    origin = torch.zeros_like(qpos)
    origin[:, :2] = qpos[:, :2]
    engines = {n: NativePhysics(loaded.model, count * n) for n in (1, 2 * robot.num_joints)}

    def errors(targets: Tensor) -> Tensor:
        """(P, C, 2 nv) of C solutions (P, C, 2 J) for each state."""
        copies = targets.shape[1]
        position, velocity, goal_qpos, goal_qvel, support = (
            x.repeat_interleave(copies, 0)
            for x in (qpos - origin, qvel, next_qpos - origin, next_qvel, wrench)
        )
        ends = _stepped(
            engines[copies], position, velocity, targets.flatten(0, 1).float()[:, None],
            support[:, None], loaded, ctrl_dt,
        )  # fmt: skip
        moved = tangent(goal_qpos.double(), ends[0][:, 0].double()) / ctrl_dt
        misfit = torch.cat([moved, ends[1][:, 0].double() - goal_qvel.double()], -1)
        return misfit.unflatten(0, (count, copies))

    # A servo that needs no torque: a start from which no torque limit is in the way.
    lead = robot.kv / robot.kp * next_qvel[:, robot.joint_qvel_adr]
    targets = (next_qpos[:, robot.joint_qpos_adr] + lead).double().repeat(1, 2)
    best = errors(targets[:, None])[:, 0]
    damping = torch.full((count, 1), 1e-3, dtype=torch.float64)
    unit = TARGET_STEP * torch.eye(targets.shape[1], dtype=torch.float64)
    for _ in range(ITERATIONS):
        jacobian = (errors(targets[:, None] + unit) - best[:, None]).mT
        normal = jacobian.mT @ jacobian
        diagonal = normal.diagonal(dim1=1, dim2=2)
        # A servo at its torque limit leaves a column empty; the mean keeps the matrix regular.
        regular = damping * (diagonal + 1e-4 * diagonal.mean(-1, keepdim=True)) + 1e-14
        slope = jacobian.mT @ best[..., None]
        step = torch.linalg.solve(normal + torch.diag_embed(regular), -slope).squeeze(-1)
        trial = targets + TARGET_STEP * step.clamp(-20.0, 20.0)
        found = errors(trial[:, None])[:, 0]
        better = (found.square().sum(-1) < best.square().sum(-1))[:, None]
        targets, best = torch.where(better, trial, targets), torch.where(better, found, best)
        damping = torch.where(better, damping * 0.2, damping * 10.0).clamp(1e-9, 1e4)
    return targets.float(), best.float()


def _stepped(
    physics: NativePhysics,
    qpos: Tensor,
    qvel: Tensor,
    targets: Tensor,
    wrench: Tensor,
    loaded: RobotModel,
    ctrl_dt: float,
) -> tuple[Tensor, Tensor]:
    """States (W, L, nq), (W, L, nv) of W simulations after each of L control steps.

    They start from `qpos`, `qvel`; later states are not overwritten. `targets` (W, L, 2 J)
    and `wrench` (W, L, 6) are those of each step, as in `recover`.
    """
    begin, end = targets.chunk(2, dim=-1)
    decimation = round(ctrl_dt / loaded.model.opt.timestep) // UPDATES_PER_STEP
    physics.reset(torch.ones(len(qpos), dtype=torch.bool), qpos, qvel, begin[:, 0].contiguous())
    applied = torch.zeros(len(qpos), loaded.model.nbody, 6)
    states = []
    for step in range(targets.shape[1]):
        applied[:, loaded.robot.root_body] = wrench[:, step]
        for update in range(UPDATES_PER_STEP):
            share = (update + 0.5) / UPDATES_PER_STEP
            ctrl = torch.lerp(begin[:, step], end[:, step], share)
            physics.step(ctrl, applied, decimation, refresh=update == UPDATES_PER_STEP - 1)
        states.append((physics.state().qpos.clone(), physics.state().qvel.clone()))
    positions, velocities = zip(*states, strict=True)
    return torch.stack(positions, 1), torch.stack(velocities, 1)


def tangent(a: Tensor, b: Tensor) -> Tensor:
    """Motion (..., nv) that leads from configuration `a` to `b` (..., nq), as in qvel.

    Root translation in world, rotation vector in the body of `a`, joints.
    """
    turned = quat_multiply(quat_conjugate(a[..., 3:7]), b[..., 3:7])
    rotation = torch.from_numpy(rotation_vector(turned.double().numpy())).to(a)
    return torch.cat([b[..., :3] - a[..., :3], rotation, b[..., 7:] - a[..., 7:]], -1)


def redone(subject: Subject, num_stretches: int) -> list[Finding]:
    """1B and 1C: stretches of steps redone, as many without support as with it."""
    findings = []
    for support in sorted(set(subject.dataset.segment_support)):
        starts = [
            frame
            for i, frames in subject.segments()
            if subject.dataset.segment_support[i] == support
            for frame in range(frames.start, frames.stop - WINDOW)
        ]
        if starts:
            # Spread evenly over the segments.
            number = min(num_stretches, len(starts))
            chosen = [starts[int((i + 0.5) / number * len(starts))] for i in range(number)]
            findings += _redone(subject, support, torch.tensor(chosen))
        else:
            reason = f"no segment with support {support} has more than {WINDOW} frames"
            findings.append(skipped("1B", f"steps redone, support {support}", reason))
    return findings


def _redone(subject: Subject, support: str, first: Tensor) -> list[Finding]:
    """Findings on the stretches that start from the frames `first` (W,)."""
    frames = first[:, None] + torch.arange(WINDOW)
    before, dt = frames.flatten(), subject.dataset.ctrl_dt
    qpos, qvel, loaded = subject.qpos, subject.qvel, subject.loaded
    # What a segment labelled `none` has recorded is nothing that may explain its motion.
    wrench = subject.dataset.support_wrench * float(support != "none")
    after = before + 1
    targets, residual = recover(
        qpos[before], qvel[before], qpos[after], qvel[after], wrench[after], loaded, dt
    )
    misfit = torch.linalg.vector_norm(residual, dim=-1)
    means = "by the servos alone" if support == "none" else "by servos and recorded support"
    clip = subject.dataset.segment_clip[int(subject.segment_of[before[misfit.argmax()]])]
    _, again = _stepped(
        NativePhysics(loaded.model, len(first)), qpos[first], qvel[first],
        targets.unflatten(0, (-1, WINDOW)), wrench[frames + 1], loaded, dt,
    )  # fmt: skip
    error = (again - qvel[frames + 1]).abs().mean((1, 2))
    return [
        bounded(
            "1B",
            f"steps redone {means}: misfit, median",
            float(misfit.median()),
            "m/s, rad/s",
            high=UNEXPLAINED[support],
            detail=f"{len(misfit)} steps; 90 % within {float(misfit.quantile(0.9)):.2g}; "
            f"largest in {clip}",
        ),
        bounded(
            "1C",
            f"replay of {WINDOW} steps without overwriting, support {support}: mean velocity "
            "error, median",
            float(error.median()),
            "m/s, rad/s",
            high=0.1,
            detail=f"{len(error)} stretches; largest {float(error.max()):.2g}",
        ),
    ]
