"""Truths about the body that every simulator must share, so that what differs is the contact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from tensordict import TensorDict

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.task.actions import ActionConfig
from wildrobot_torch.contract import Array
from wildrobot_torch.evaluation.simulators.servos import ServoLaw, Servos
from wildrobot_torch.evaluation.simulators.simulator import Simulator

CTRL_DT = 0.02
"""Time between two looks at the robot, and between two targets [s]."""
STAND_S, FALL_S, RESPONSE_S = 4.0, 0.2, 0.5
"""How long it stands, falls freely, answers a step [s]."""
HIGH = 2.0
"""Height of the root where nothing touches the floor [m]."""
BENT, STEP = 0.5, 0.4
"""Knees before the step, and how much further the left one is sent [rad]."""


@dataclass(frozen=True)
class BodyTruth:
    """A number of a simulator against the one that it must have."""

    what: str
    unit: str
    value: float
    expected: float
    allowed: float
    """Largest difference."""

    @property
    def holds(self) -> bool:
        """Whether it is within what is allowed; a NaN is not."""
        return bool(abs(self.value - self.expected) <= self.allowed)


@dataclass(frozen=True)
class Reference:
    """What the environment that policies are trained in says of the robot."""

    mass: float
    """[kg]."""
    weight: float
    """[N]."""
    gravity: float
    """[m/s^2]."""
    home: Array
    """(7 + J,): home pose, see `Body.qpos`."""
    com: Array
    """(3,) [m]: centre of mass there."""
    bent: Array
    """(7 + J,): high above the floor with bent knees."""
    response: Array
    """(T, J) [rad]: joints while the left knee answers a step, each `CTRL_DT`."""

    @classmethod
    def of(cls, config: LocomotionConfig) -> Reference:
        """By an environment of one robot with the servos of robot.yaml."""
        # Without the filter a policy's target is the servos' at once.
        task = replace(config, action=ActionConfig(filter=0.0), ctrl_dt=CTRL_DT)
        env = LocomotionEnv(task, 1, num_threads=1)
        robot, everyone = env.robot, torch.ones(1, dtype=torch.bool)
        still = torch.zeros(1, len(robot.home_qpos) - 1)
        env.reset()
        env.set_state(everyone, robot.home_qpos[None], still)
        com = env.backend.state().sensordata[0, robot.sensors["com_pos"]].numpy().astype(float)
        knee = int(robot.columns_of("knee")[0, 0])
        bent = robot.home_qpos.clone()
        bent[2] = HIGH
        bent[robot.joint_qpos_adr[[knee, int(robot.mirror_index[knee])]]] = BENT
        env.set_state(everyone, bent[None], still)
        target = bent[robot.joint_qpos_adr].clone()
        target[knee] += STEP
        action = env.joint_targets_to_action(target[None])
        response = []
        for _ in range(round(RESPONSE_S / CTRL_DT)):
            env.step(TensorDict({"action": action}, batch_size=[1]))
            response.append(env.backend.state().qpos[0, robot.joint_qpos_adr].numpy().copy())
        joints = robot.joint_qpos_adr

        def ordered(qpos: torch.Tensor) -> Array:
            return torch.cat([qpos[:7], qpos[joints]]).numpy().astype(float)

        return cls(
            mass=robot.mass,
            weight=robot.weight,
            gravity=robot.gravity,
            home=ordered(robot.home_qpos),
            com=com,
            bent=ordered(bent),
            response=np.array(response, dtype=float),
        )


def body_truths(
    simulator: Simulator, law: ServoLaw, reference: Reference, knee: int
) -> tuple[BodyTruth, ...]:
    """What a simulator's robot weighs and does; `knee` is the column of the left one."""
    still = np.zeros(len(reference.home) - 1)

    def hold(targets: Array, seconds: float) -> list[Array]:
        servos, joints = Servos(law, simulator.joints()[0].copy()), []
        for _ in range(round(seconds / CTRL_DT)):
            servos.send(targets)
            for _ in range(round(CTRL_DT / simulator.dt)):
                simulator.step(servos.drive(*simulator.joints(), simulator.dt))
            joints.append(simulator.joints()[0].copy())
        return joints

    simulator.place(reference.home, still)
    com = simulator.body().com
    hold(reference.home[7:], STAND_S)
    support = simulator.body().plate_force.sum()

    simulator.place(reference.bent, still)
    above = simulator.body().com[2]
    for _ in range(round(FALL_S / simulator.dt)):
        simulator.step(np.zeros(len(still) - 6))
    fallen = above - simulator.body().com[2]
    # The best that an integrator of first order can: half a physics step early or late.
    late = reference.gravity * FALL_S * simulator.dt / 2

    simulator.place(reference.bent, still)
    target = reference.bent[7:].copy()
    target[knee] += STEP
    response = np.array(hold(target, RESPONSE_S))
    apart = float(np.abs(response - reference.response).max())
    rise = _rise(response[:, knee]), _rise(reference.response[:, knee])
    return (
        BodyTruth("mass", "kg", simulator.mass, reference.mass, 1e-5),
        *(
            BodyTruth(f"centre of mass at home, {axis}", "m", float(value), float(expected), 1e-5)
            for axis, value, expected in zip("xyz", com, reference.com, strict=True)
        ),
        BodyTruth("support while standing", "N", float(support), reference.weight, 0.05),
        BodyTruth("free fall in 0.2 s", "m", float(fallen),
                  0.5 * reference.gravity * FALL_S**2, 1.1 * late),
        BodyTruth("knee's step of 0.4 rad in the air: time to half", "s", *rise, 0.004),
        BodyTruth("the same: largest difference of a joint", "rad", apart, 0.0, 0.01),
    )  # fmt: skip


def _rise(knee: Array) -> float:
    """Time [s] until a knee has made half its step, linear between looks; NaN if it never has."""
    middle = BENT + STEP / 2
    series: Sequence[float] = [BENT, *knee]
    for index, (before, after) in enumerate(pairwise(series)):
        if before < middle <= after:
            return CTRL_DT * (index + (middle - before) / (after - before))
    return float("nan")
