"""Which joint targets, and which outside support, make one stored state follow from another.

Physics has no choice: with the servos' targets held over a control step, a state has one
successor. So the targets are searched for that lead from each stored state to the next, with
and without a wrench on the root. Motion that no targets explain was not simulated like this; motion
that needs the wrench was held up, whatever its labels say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.frames import quat_conjugate, quat_multiply
from envs.physics.native import NativePhysics
from envs.robot.model import RobotModel

ITERATIONS = 8
"""Levenberg-Marquardt steps."""
CTRL_STEP = 0.02
"""Perturbation of a joint target in the Jacobian [rad]."""
FORCE_STEP, TORQUE_STEP = 0.5, 0.05
"""Perturbation of the support in the Jacobian [N], [N m]."""
RELUCTANCE = 1e-3
"""Misfit that a support of one perturbation must at least explain [m/s or rad/s]; without it,
support and servos that do nearly the same would grow against each other."""


@dataclass(frozen=True)
class Recovered:
    """What leads from each of P states to its successor."""

    ctrl: Tensor
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
    """Joint targets (and support) of P control steps; see the module.

    Args:
        qpos: (P, nq) before.
        qvel: (P, nv) before.
        next_qpos: (P, nq) one control step later.
        next_qvel: (P, nv) one control step later.
        loaded: the robot.
        ctrl_dt: length of a control step [s].
        supported: whether a wrench on the root may help.
    """
    robot = loaded.robot
    joints = robot.num_joints
    scale = [CTRL_STEP] * joints + ([FORCE_STEP] * 3 + [TORQUE_STEP] * 3 if supported else [])
    steps = torch.tensor(scale, dtype=torch.float64)
    simulate = _Simulator(loaded, qpos, qvel, next_qpos, next_qvel, ctrl_dt, len(steps))
    solution = torch.zeros(len(qpos), len(steps), dtype=torch.float64)
    # A servo at its target without load: a start from which no torque limit is in the way.
    lead = robot.kv / robot.kp * next_qvel[:, robot.joint_qvel_adr]
    solution[:, :joints] = next_qpos[:, robot.joint_qpos_adr] + lead
    reluctance = torch.zeros(len(steps), dtype=torch.float64)
    reluctance[joints:] = RELUCTANCE
    damping = torch.full((len(qpos), 1), 1e-3, dtype=torch.float64)

    def errors(solution: Tensor) -> Tensor:
        return torch.cat([simulate.residual(solution), solution / steps * reluctance], -1)

    best = errors(solution)
    for _ in range(ITERATIONS):
        # In units of the perturbations, so that targets, forces and torques are comparable.
        physical = simulate.jacobian(solution, best[:, : 2 * loaded.model.nv], steps)
        jacobian = torch.cat([physical, torch.diag(reluctance).expand(len(qpos), -1, -1)], 1)
        normal = jacobian.mT @ jacobian
        diagonal = normal.diagonal(dim1=1, dim2=2)
        # A servo at its torque limit leaves a column empty; the mean keeps the matrix regular.
        regular = damping * (diagonal + 1e-4 * diagonal.mean(-1, keepdim=True)) + 1e-14
        slope = jacobian.mT @ best[..., None]
        step = torch.linalg.solve(normal + torch.diag_embed(regular), -slope).squeeze(-1)
        trial = solution + step.clamp(-20.0, 20.0) * steps
        found = errors(trial)
        better = (found.square().sum(-1) < best.square().sum(-1))[:, None]
        solution, best = torch.where(better, trial, solution), torch.where(better, found, best)
        damping = torch.where(better, damping * 0.2, damping * 10.0).clamp(1e-9, 1e4)
    best = best[:, : 2 * loaded.model.nv]
    wrench = solution[:, joints:] if supported else solution.new_zeros(len(qpos), 6)
    return Recovered(solution[:, :joints].float(), wrench.float(), best.float())


def replay(
    qpos: Tensor, qvel: Tensor, found: Recovered, loaded: RobotModel, ctrl_dt: float
) -> tuple[Tensor, Tensor]:
    """States that physics reaches from the first one of each window, its state never overwritten.

    Args:
        qpos: (W, nq) first states.
        qvel: (W, nv).
        found: targets and support of the W * L steps, window by window.
        loaded: the robot.
        ctrl_dt: length of a control step [s].

    Returns:
        qpos (W, L, nq) and qvel (W, L, nv) after each step.
    """
    num = len(qpos)
    physics = NativePhysics(loaded.model, num)
    ctrl, wrench = (x.reshape(num, -1, x.shape[-1]) for x in (found.ctrl, found.wrench))
    everyone = torch.ones(num, dtype=torch.bool)
    physics.reset(everyone, qpos, qvel, ctrl[:, 0])
    states = []
    for step in range(ctrl.shape[1]):
        physics.step(ctrl[:, step], _on_root(wrench[:, step], loaded), _decimation(loaded, ctrl_dt))
        state = physics.state()
        states.append((state.qpos.clone(), state.qvel.clone()))
    return torch.stack([s[0] for s in states], 1), torch.stack([s[1] for s in states], 1)


class _Simulator:
    """One control step of P states, with as many variants of each as there are unknowns."""

    def __init__(
        self,
        loaded: RobotModel,
        qpos: Tensor,
        qvel: Tensor,
        next_qpos: Tensor,
        next_qvel: Tensor,
        ctrl_dt: float,
        variants: int,
    ) -> None:
        self._loaded, self._ctrl_dt = loaded, ctrl_dt
        # At the origin single precision resolves positions best.
        origin = torch.zeros_like(qpos)
        origin[:, :2] = qpos[:, :2]
        self._start = (qpos - origin, qvel)
        self._goal = ((next_qpos - origin).double(), next_qvel.double())
        self._alone = NativePhysics(loaded.model, len(qpos))
        self._varied = NativePhysics(loaded.model, len(qpos) * variants)

    def residual(self, solution: Tensor) -> Tensor:
        """(P, 2 nv) of solutions (P, U)."""
        return self._run(self._alone, solution, 1)

    def jacobian(self, solution: Tensor, base: Tensor, steps: Tensor) -> Tensor:
        """(P, 2 nv, U): change of the residual `base` per perturbation."""
        count = len(steps)
        varied = (solution[:, None] + torch.diag(steps)).flatten(0, 1)
        found = self._run(self._varied, varied, count).unflatten(0, (-1, count))
        return (found - base[:, None]).mT

    def _run(self, physics: NativePhysics, solution: Tensor, copies: int) -> Tensor:
        joints = self._loaded.robot.num_joints
        qpos, qvel = (x.repeat_interleave(copies, 0) for x in self._start)
        goal_qpos, goal_qvel = (x.repeat_interleave(copies, 0) for x in self._goal)
        ctrl = solution[:, :joints].float()
        wrench = solution[:, joints:].float()
        physics.reset(torch.ones(len(qpos), dtype=torch.bool), qpos, qvel, ctrl)
        support = _on_root(wrench, self._loaded) if wrench.shape[1] else None
        physics.step(ctrl, support, _decimation(self._loaded, self._ctrl_dt))
        state = physics.state()
        moved = tangent(goal_qpos, state.qpos.double()) / self._ctrl_dt
        return torch.cat([moved, state.qvel.double() - goal_qvel], -1)


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


def _on_root(wrench: Tensor, loaded: RobotModel) -> Tensor:
    applied = torch.zeros(len(wrench), loaded.model.nbody, 6)
    applied[:, loaded.robot.root_body] = wrench
    return applied


def _decimation(loaded: RobotModel, ctrl_dt: float) -> int:
    return round(ctrl_dt / loaded.model.opt.timestep)
