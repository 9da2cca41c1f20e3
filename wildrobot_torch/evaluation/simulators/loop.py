"""Episodes of a policy in a simulator: sensors, contract, servos, physics, one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from envs.recording import Recording
from envs.robot.spec import RobotSpec
from envs.task.features import amp_layout
from envs.task.terminations import ENDS
from wildrobot_torch.contract import Array, Contract, Controller, Readings, Truth
from wildrobot_torch.evaluation.simulators.servos import ServoLaw, Servos
from wildrobot_torch.evaluation.simulators.simulator import Body, Simulator

HEIGHT, LEAN = (0.30, 0.70), 0.8
"""Root heights [m] and largest roll and pitch [rad] of a robot that has not fallen."""


@dataclass(frozen=True)
class Walk:
    """One recorded episode of T control steps, until the fall or the end."""

    bodies: tuple[Body, ...]
    torques: Array
    """(T, J) [N m]: at the end of each step."""
    actions: Array
    """(T, J): filtered actions."""
    end: str
    """Cause of the end, see `ENDS`."""


def rotation(quat: Array) -> Array:
    """Matrix (3, 3) from body to world coordinates of a unit quaternion (wxyz)."""
    w, x, y, z = quat
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def sense(body: Body, law: ServoLaw, threshold: float, time: float, age: float) -> Readings:
    """What perfect sensors say of a body; encoders have the servos' counts.

    Args:
        body: the robot.
        law: of its servos.
        threshold: support at which a foot switch closes [N].
        time: of the readings [s].
        age: time since the readings before [s].
    """
    turn = rotation(body.qpos[3:7])
    heading = math.atan2(turn[1, 0], turn[0, 0])
    cos, sin = math.cos(heading), math.sin(heading)
    x, y, z = body.qvel[:3]
    return Readings(
        gravity=-turn[2],
        angvel=body.qvel[3:6],
        heading=heading,
        joint_pos=law.read(body.qpos[7:]),
        joint_time=np.full(len(body.qpos) - 7, time),
        switches=(body.plate_force > threshold).astype(float),
        age=age,
        truth=Truth(
            joint_pos=body.qpos[7:],
            joint_vel=body.qvel[6:],
            linvel=np.array([cos * x + sin * y, cos * y - sin * x, z]),
        ),
    )


def fall(body: Body) -> str | None:
    """Why a robot has fallen, see `ENDS`; None while it has not."""
    if not (np.isfinite(body.qpos).all() and np.isfinite(body.qvel).all()):
        return "physics"
    turn = rotation(body.qpos[3:7])
    if abs(math.asin(np.clip(-turn[2, 0], -1.0, 1.0))) > LEAN:
        return "pitch"
    if abs(math.atan2(turn[2, 1], turn[2, 2])) > LEAN:
        return "roll"
    return None if HEIGHT[0] <= body.qpos[2] <= HEIGHT[1] else "height"


def walk(
    simulator: Simulator,
    contract: Contract,
    network: Callable[[Array], Array],
    law: ServoLaw,
    start: tuple[Array, Array],
    command: Array,
    steps: int,
) -> Walk:
    """One episode of at most `steps` control steps from a start (qpos, qvel), see `Body`.

    `command` (3,) is held: velocity forward and to the left [m/s], yaw rate [rad/s].
    """
    dt, substeps = contract.ctrl_dt, round(contract.ctrl_dt / simulator.dt)
    simulator.place(*start)
    body = simulator.body()
    targets = np.clip(body.qpos[7:], *law.joint_range.T)
    controller, servos = Controller(contract, network), Servos(law, targets)
    readings = sense(body, law, contract.foot_switch_threshold, 0.0, dt)
    controller.begin(targets, readings.heading)
    bodies, torques, actions, end = [], [], [], "time"
    for step in range(steps):
        servos.send(controller.act(readings, command))
        for _ in range(substeps):
            simulator.step(servos.drive(*simulator.joints(), simulator.dt))
        body = simulator.body()
        bodies.append(body)
        torques.append(servos.torque)
        actions.append(controller.action)
        if cause := fall(body):
            end = cause
            break
        readings = sense(body, law, contract.foot_switch_threshold, (step + 1) * dt, dt)
    return Walk(tuple(bodies), np.array(torques), np.array(actions), end)


def recording(
    walks: Sequence[Walk], commands: Array, steps: int, ctrl_dt: float, robot: RobotSpec
) -> Recording:
    """Episodes (E) under forward commands (E,) [m/s] in the form that everything here is measured.

    After a fall the last state is repeated; it is not valid.
    """

    def series(values: Callable[[Walk], Sequence[Array] | Array]) -> torch.Tensor:
        whole = []
        for one in walks:
            array = np.array(values(one), dtype=np.float32)
            whole.append(np.concatenate([array, np.repeat(array[-1:], steps - len(array), 0)]))
        return torch.from_numpy(np.stack(whole, axis=1))

    feet = robot.plate_foot.numpy()

    def foot_force(body: Body) -> Array:
        return np.array([body.plate_force[feet == foot].sum() for foot in (0, 1)])

    lasted = torch.tensor([len(one.bodies) for one in walks])
    known = torch.tensor([one.end != "physics" for one in walks])
    counted = torch.where(known, lasted, lasted - 1)
    return Recording(
        ctrl_dt=ctrl_dt,
        command=torch.from_numpy(commands.astype(np.float32)),
        qpos=series(lambda w: [body.qpos for body in w.bodies]),
        qvel=series(lambda w: [body.qvel for body in w.bodies]),
        foot_force=series(lambda w: [foot_force(body) for body in w.bodies]),
        sole_pos_w=series(lambda w: [body.sole_pos for body in w.bodies]),
        sole_linvel_w=series(lambda w: [body.sole_linvel for body in w.bodies]),
        sole_height=series(lambda w: [body.sole_height for body in w.bodies]),
        com_height=series(lambda w: [body.com[2] for body in w.bodies]),
        torque=series(lambda w: w.torques),
        action=series(lambda w: w.actions),
        amp=torch.zeros(steps, len(walks), amp_layout(robot).size),
        valid=torch.arange(steps)[:, None] < counted,
        terminated=torch.tensor([one.end != "time" for one in walks]),
        end_cause=torch.tensor([ENDS.index(one.end) for one in walks]),
    )
