"""Tests 1B with forces and 1C replay: could the robot have made these steps by itself?

While the servos' targets are held over a control step, physics gives a state exactly one successor.
So for each stored state the targets are searched that lead to the next one, for supported motion
together with a wrench on the root. Motion that no targets explain was not simulated like this;
motion that needs the wrench was held up, whatever its labels say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.frames import quat_conjugate, quat_multiply
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel
from wildrobot_torch.reference.verify.finding import Finding, bounded, skipped
from wildrobot_torch.reference.verify.subject import Subject

WINDOW = 12
"""Control steps of each stretch that is redone."""
STRETCHES = 24
"""Stretches redone for each kind of support, by default."""
UNEXPLAINED = {"none": 0.02, "harness": 0.10}
"""Median misfit of a step, as a velocity [m/s or rad/s]. Good motion without support leaves 1e-5; a
harness changes its torque within a step, which a constant torque cannot follow."""
HELD = 0.35
"""Median share of the weight that a harness may seem to carry: far above what it may carry, because
servos and support can have nearly the same effect."""
ITERATIONS = 8
"""Levenberg-Marquardt steps."""
TARGET_STEP, FORCE_STEP, TORQUE_STEP = 0.02, 0.5, 0.05
"""Perturbations in the Jacobian: joint target [rad], force [N], torque [N m]."""
RELUCTANCE = 1e-3
"""Misfit that a support of one perturbation must at least explain [m/s or rad/s]; without it,
support and servos of nearly the same effect would grow against each other."""


@dataclass(frozen=True)
class Recovered:
    """What leads from each of P states to its successor."""

    target: Tensor
    """(P, J) [rad]: joint targets."""
    wrench: Tensor
    """(P, 6): force [N] and torque [N m] on the root, world frame."""
    residual: Tensor
    """(P, 2 nv): what they leave unexplained, as velocities: position error over the control step,
    then velocity error."""


def recover(
    qpos: Tensor,
    qvel: Tensor,
    next_qpos: Tensor,
    next_qvel: Tensor,
    loaded: RobotModel,
    ctrl_dt: float,
    supported: bool,
) -> Recovered:
    """Joint targets (and support) of P control steps, by Levenberg-Marquardt.

    Args:
        qpos: (P, nq) before.
        qvel: (P, nv) before.
        next_qpos: (P, nq) one control step later.
        next_qvel: (P, nv) one control step later.
        loaded: the robot.
        ctrl_dt: control step [s].
        supported: whether a wrench on the root may help.
    """
    robot, joints, count = loaded.robot, loaded.robot.num_joints, len(qpos)
    scale = [TARGET_STEP] * joints + supported * ([FORCE_STEP] * 3 + [TORQUE_STEP] * 3)
    unit = torch.tensor(scale, dtype=torch.float64)
    reluctance = torch.tensor([0.0] * joints + [RELUCTANCE] * (len(unit) - joints)).double()
    # At the origin single precision resolves positions best.
    origin = torch.zeros_like(qpos)
    origin[:, :2] = qpos[:, :2]
    start = (qpos - origin, qvel)
    goal = ((next_qpos - origin).double(), next_qvel.double())
    engines = {n: NativePhysics(loaded.model, count * n) for n in (1, len(unit))}

    def errors(solution: Tensor) -> Tensor:
        """(P, C, 2 nv + U) of C solutions (P, C, U) for each state."""
        copies = solution.shape[1]
        physics, flat = engines[copies], solution.flatten(0, 1)
        target, wrench = flat[:, :joints].float(), flat[:, joints:].float()
        position, velocity = (x.repeat_interleave(copies, 0) for x in start)
        physics.reset(torch.ones(len(flat), dtype=torch.bool), position, velocity, target)
        physics.step(target, _on_root(wrench, loaded), _decimation(loaded, ctrl_dt))
        state = physics.state()
        end_qpos, end_qvel = (x.repeat_interleave(copies, 0) for x in goal)
        moved = tangent(end_qpos, state.qpos.double()) / ctrl_dt
        misfit = torch.cat([moved, state.qvel.double() - end_qvel], -1)
        return torch.cat([misfit, flat / unit * reluctance], -1).unflatten(0, (count, copies))

    solution = torch.zeros(count, len(unit), dtype=torch.float64)
    # A servo that needs no torque: a start from which no torque limit is in the way.
    lead = robot.kv / robot.kp * next_qvel[:, robot.joint_qvel_adr]
    solution[:, :joints] = next_qpos[:, robot.joint_qpos_adr] + lead
    best = errors(solution[:, None])[:, 0]
    damping = torch.full((count, 1), 1e-3, dtype=torch.float64)
    for _ in range(ITERATIONS):
        # In units of the perturbations, so that targets, forces and torques are comparable.
        jacobian = (errors(solution[:, None] + torch.diag(unit)) - best[:, None]).mT
        normal = jacobian.mT @ jacobian
        diagonal = normal.diagonal(dim1=1, dim2=2)
        # A servo at its torque limit leaves a column empty; the mean keeps the matrix regular.
        regular = damping * (diagonal + 1e-4 * diagonal.mean(-1, keepdim=True)) + 1e-14
        slope = jacobian.mT @ best[..., None]
        step = torch.linalg.solve(normal + torch.diag_embed(regular), -slope).squeeze(-1)
        trial = solution + step.clamp(-20.0, 20.0) * unit
        found = errors(trial[:, None])[:, 0]
        better = (found.square().sum(-1) < best.square().sum(-1))[:, None]
        solution, best = torch.where(better, trial, solution), torch.where(better, found, best)
        damping = torch.where(better, damping * 0.2, damping * 10.0).clamp(1e-9, 1e4)
    wrench = solution[:, joints:] if supported else solution.new_zeros(count, 6)
    residual = best[:, : 2 * loaded.model.nv]
    return Recovered(solution[:, :joints].float(), wrench.float(), residual.float())


def replay(
    qpos: Tensor, qvel: Tensor, found: Recovered, loaded: RobotModel, ctrl_dt: float
) -> Tensor:
    """Velocities (W, L, nv) after each step of W stretches, simulated without overwriting a state.

    Args:
        qpos: (W, nq) first states.
        qvel: (W, nv).
        found: targets and support of the W * L steps, stretch by stretch.
        loaded: the robot.
        ctrl_dt: control step [s].
    """
    physics = NativePhysics(loaded.model, len(qpos))
    target, wrench = (x.unflatten(0, (len(qpos), -1)) for x in (found.target, found.wrench))
    physics.reset(torch.ones(len(qpos), dtype=torch.bool), qpos, qvel, target[:, 0])
    velocities = []
    for step in range(target.shape[1]):
        support = _on_root(wrench[:, step], loaded)
        physics.step(target[:, step], support, _decimation(loaded, ctrl_dt))
        velocities.append(physics.state().qvel.clone())
    return torch.stack(velocities, 1)


def tangent(a: Tensor, b: Tensor) -> Tensor:
    """Motion (..., nv) that leads from configuration `a` to `b` (..., nq), as in qvel.

    Root translation in world, rotation vector in the body of `a`, joints.
    """
    turned = quat_multiply(quat_conjugate(a[..., 3:7]), b[..., 3:7])
    turned = torch.where(turned[..., :1] < 0.0, -turned, turned)
    axis = turned[..., 1:]
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(sine, turned[..., :1])
    rotation = torch.where(sine > 1e-12, axis * angle / sine.clamp(min=1e-12), 2.0 * axis)
    return torch.cat([b[..., :3] - a[..., :3], rotation, b[..., 7:] - a[..., 7:]], -1)


def redone(subject: Subject, num_stretches: int) -> list[Finding]:
    """1B and 1C: stretches of steps redone, as many without support as with it."""
    findings = []
    for support in sorted(set(subject.dataset.segment_support)):
        frames = _stretches(subject, support, num_stretches)
        if frames is None:
            reason = f"no segment with support {support} has more than {WINDOW} frames"
            findings.append(skipped("1B", f"steps redone, support {support}", reason))
        else:
            findings += _redone(subject, support, frames)
    return findings


def _stretches(subject: Subject, support: str, number: int) -> Tensor | None:
    """(W, L) long: frames that steps start from, in stretches spread evenly over the segments."""
    starts = [
        frame
        for i, frames in subject.segments()
        if subject.dataset.segment_support[i] == support
        for frame in range(frames.start, frames.stop - WINDOW)
    ]
    if not starts:
        return None
    number = min(number, len(starts))
    chosen = torch.tensor([starts[int((i + 0.5) / number * len(starts))] for i in range(number)])
    return chosen[:, None] + torch.arange(WINDOW)


def _redone(subject: Subject, support: str, frames: Tensor) -> list[Finding]:
    before, dt = frames.flatten(), subject.dataset.ctrl_dt
    qpos, qvel = subject.qpos, subject.qvel
    states = (qpos[before], qvel[before], qpos[before + 1], qvel[before + 1])
    found = recover(*states, subject.loaded, dt, supported=support != "none")
    misfit = torch.linalg.vector_norm(found.residual, dim=-1)
    means = "by the servos alone" if support == "none" else "by servos and support"
    clip = subject.dataset.segment_clip[int(subject.segment_of[before[misfit.argmax()]])]
    again = replay(qpos[frames[:, 0]], qvel[frames[:, 0]], found, subject.loaded, dt)
    error = (again - qvel[frames + 1]).abs().mean((1, 2))
    findings = [
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
    if support != "none":
        share = torch.linalg.vector_norm(found.wrench[:, :3], dim=-1) / subject.robot.weight
        name, detail = "support that the steps need, median", "recovered from the motion alone"
        findings.append(bounded("1B", name, float(share.median()), "m g", high=HELD, detail=detail))
    return findings


def _on_root(wrench: Tensor, loaded: RobotModel) -> Tensor | None:
    """Wrenches (W, 6) on the root as the engine takes them; None of (W, 0)."""
    if not wrench.shape[1]:
        return None
    applied = torch.zeros(len(wrench), loaded.model.nbody, 6)
    applied[:, loaded.robot.root_body] = wrench
    return applied


def _decimation(loaded: RobotModel, ctrl_dt: float) -> int:
    return round(ctrl_dt / loaded.model.opt.timestep)
