"""Friction of a servo's gears that depends on load and speed: BAM's budget M1 to M6.

MuJoCo applies dry friction as BAM does: it brakes a joint with what stops it, but with no more than
`dof_frictionloss`. So the budget without its viscous part is written there, after each update, and
the viscous coefficient is `dof_damping`. Formulas: see `envs.robot.bam`.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.robot.bam import BamServo
from envs.robot.spec import RobotSpec

OUTPUTS = ("qfrc_actuator", "qfrc_bias", "qfrc_constraint", "qacc")
"""What `load_dependent_friction` reads of the engine."""


def friction_budget(motor: Tensor, load: Tensor, speed: Tensor, bam: BamServo) -> Tensor:
    """Largest dry friction (E, J) [N m].

    Args:
        motor: (E, J) [N m], the servo's torque.
        load: (E, J) [N m], what the robot does to the joint, friction left out; positive values
            push it forwards.
        speed: (E, J) [rad/s].
        bam: the servo.
    """
    at_rest = torch.exp(-((speed / bam.stribeck_speed).abs() ** bam.stribeck_exponent))
    # The square term is that of the weaker side, where motor and load work against each other.
    square = torch.where(
        motor.abs() > load.abs(), bam.load_square * load**2, bam.motor_square * motor**2
    )
    opposed = torch.sign(motor) != torch.sign(load)
    unequal = motor.abs() != load.abs()
    return (
        bam.coulomb
        + (bam.motor * motor - bam.load * load).abs()
        + at_rest
        * (
            bam.coulomb_rest
            + (bam.motor_rest * motor - bam.load_rest * load).abs()
            + square * (opposed & unequal)
        )
    )


@dataclass(frozen=True)
class Hold:
    """How MuJoCo holds J joints by dry friction; MuJoCo documentation, Computation, Constraint."""

    stiffness: Tensor
    """(J,): torque over acceleration and inertia, impedance / (1 - impedance)."""
    rate: Tensor
    """(J,) [1/s]: how fast the speed of a held joint falls."""

    @classmethod
    def of(cls, model: mujoco.MjModel, robot: RobotSpec) -> Hold:
        """That of the robot's joints."""
        device = robot.joint_qvel_adr.device
        dofs = robot.joint_qvel_adr.cpu().numpy()
        impedance, most = model.dof_solimp[dofs, 0], model.dof_solimp[dofs, 1]
        time = np.maximum(model.dof_solref[dofs, 0], 2.0 * model.opt.timestep)

        def values(numbers: np.ndarray) -> Tensor:
            return torch.as_tensor(numbers, dtype=torch.float32, device=device)

        return cls(values(impedance / (1.0 - impedance)), values(2.0 / (most * time)))

    def force(self, qacc: Tensor, speed: Tensor, inverse_inertia: Tensor, loss: Tensor) -> Tensor:
        """Dry friction (E, J) [N m] that acted in a substep.

        Args:
            qacc: (E, J) [rad/s^2], in that substep.
            speed: (E, J) [rad/s], before it.
            inverse_inertia: (E, J) [1/(kg m^2)], `dof_invweight0`.
            loss: (E, J) [N m], `dof_frictionloss`.
        """
        holding = -self.stiffness / inverse_inertia * (qacc + self.rate * speed)
        return torch.minimum(torch.maximum(holding, -loss), loss)


def load_dependent_friction(
    outputs: tuple[Tensor, ...],
    qvel: Tensor,
    loss: Tensor,
    inverse_inertia: Tensor,
    *,
    robot: RobotSpec,
    hold: Hold,
    dt: float,
) -> Tensor:
    """The budget (E, J) [N m] for the next update, from the last substep's forces.

    Args:
        outputs: (E, nv) each, in the order of `OUTPUTS`.
        qvel: (E, nv), after the substep.
        loss: (E, nv), `dof_frictionloss` in it.
        inverse_inertia: (E, nv), `dof_invweight0`.
        robot: the robot, with its servo's file.
        hold: of its joints.
        dt: physics step [s].
    """
    dofs = robot.joint_qvel_adr
    motor, bias, constraint, qacc = (values[:, dofs] for values in outputs)
    speed = qvel[:, dofs]
    friction = hold.force(qacc, speed - dt * qacc, inverse_inertia[:, dofs], loss[:, dofs])
    assert robot.bam is not None
    return friction_budget(motor, constraint - bias - friction, speed, robot.bam)
