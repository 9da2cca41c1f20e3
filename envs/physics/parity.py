"""How far two physics engines are apart when both start from the same states.

`TOLERANCES` says which differences are allowed, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import torch
from torch import Tensor

from envs.physics.base import PhysicsBackend

Snapshot = dict[str, Tensor]
"""State of N simulations, see `envs.physics.base.SNAPSHOT_FIELDS`."""


@dataclass(frozen=True)
class Tolerance:
    """Allowed difference between two engines in one quantity."""

    limit: float
    """Largest absolute difference, in `unit`."""
    unit: str
    share: float
    """Share of the states that must keep to the limit."""
    reason: str
    """Why the engines differ by this much."""


_SOLVER = "the solver stops at 1e-6 in single precision, at 1e-8 in double"

TOLERANCES: dict[str, Tolerance] = {
    # one substep
    "qpos": Tolerance(1e-5, "m, rad", 0.95, "dt times the difference in qvel, and rounding"),
    "qvel": Tolerance(1e-3, "m/s, rad/s", 0.95, _SOLVER),
    "position sensors": Tolerance(1e-5, "m", 0.95, "as qpos"),
    "velocity sensors": Tolerance(1e-3, "m/s, rad/s", 0.95, "as qvel"),
    "foot force": Tolerance(0.1, "N", 0.95, f"0.3 % of the weight; {_SOLVER}"),
    "joint torque": Tolerance(1e-3, "N m", 0.95, "gains times the differences in qpos and qvel"),
    "accelerometer": Tolerance(0.1, "m/s^2", 0.95, f"1 % of gravity; {_SOLVER}"),
    "contacts": Tolerance(0.0, "1", 1.0, "counts; contacts that graze within 1e-5 m are left out"),
    # one second, targets held
    "drift": Tolerance(5e-3, "m, rad", 0.90, "contacts amplify rounding; falls diverge"),
    # one control step through the environment
    "observation": Tolerance(5e-3, "1", 0.99, "ten substeps of qvel; joint rates in rad/s"),
    "critic_observation": Tolerance(1e-2, "1", 0.99, "as observation; forces in share of weight"),
    "amp": Tolerance(5e-3, "1", 0.99, "as observation"),
    "reward": Tolerance(1e-3, "1", 0.99, "rewards of a step are of order 0.1"),
    "terms": Tolerance(1e-3, "1", 0.99, "as reward, the largest of the terms"),
    "ends": Tolerance(0.0, "1", 0.999, "a robot on the verge of falling may fall a step later"),
}
"""Every tolerance of the parity between engines."""


@dataclass(frozen=True)
class Difference:
    """Measured difference between two engines in one quantity."""

    quantity: str
    kind: str
    """Kind of the states."""
    median: float
    largest: float
    share: float
    """Share of the states within the limit."""
    exceptions: int
    """Number of states beyond the limit."""
    unexplained: int
    """Number of those for which no cause is known."""

    @property
    def tolerance(self) -> Tolerance:
        """The allowed difference."""
        return TOLERANCES[self.quantity]

    @property
    def passed(self) -> bool:
        """Whether enough states keep to the limit and a cause is known for all others."""
        return self.share >= self.tolerance.share and self.unexplained == 0

    @classmethod
    def of(
        cls, quantity: str, kind: str, errors: Tensor, explained: Tensor | None = None
    ) -> Difference:
        """From the errors (N,) of single states, and whether a cause is known for each (N,).

        Without `explained` the cause is known for all: rounding that contacts amplify over many
        substeps.
        """
        within = errors <= TOLERANCES[quantity].limit
        unexplained = torch.zeros_like(within) if explained is None else ~within & ~explained
        return cls(
            quantity=quantity,
            kind=kind,
            median=float(errors.median()),
            largest=float(errors.max()),
            share=float(within.double().mean()),
            exceptions=int((~within).sum()),
            unexplained=int(unexplained.sum()),
        )


def single_step(
    first: PhysicsBackend, second: PhysicsBackend, states: Snapshot, kind: str
) -> list[Difference]:
    """Differences after one substep of both engines from the same N states.

    Args:
        first: the engine to compare with.
        second: the other engine; both have N simulations.
        states: of N simulations; both engines start from them rounded to single precision.
        kind: kind of the states.
    """
    model, rounded = first.model, {name: value.float() for name, value in states.items()}
    results = []
    for backend in (first, second):
        backend.restore(rounded)
        ctrl, xfrc = (rounded[name].to(backend.device) for name in ("ctrl", "xfrc_applied"))
        backend.step(ctrl, xfrc, 1)
        state = backend.state()
        results.append([x.cpu().clone() for x in (state.qpos, state.qvel, state.sensordata)])
    (qpos_a, qvel_a, sensors_a), (qpos_b, qvel_b, sensors_b) = results
    errors = {"qpos": largest(qpos_a - qpos_b), "qvel": largest(qvel_a - qvel_b)}
    difference = sensors_a - sensors_b
    for name, columns in sensor_groups(model).items():
        errors[name] = largest(difference[:, columns])
    grazing = grazes(model, rounded, errors["contacts"] > 0)
    errors["contacts"] = errors["contacts"].masked_fill(grazing, 0.0)
    beyond = [error > TOLERANCES[name].limit for name, error in errors.items()]
    explained = boxes_touch(model, rounded, torch.stack(beyond).any(0))
    return [Difference.of(name, kind, error, explained) for name, error in errors.items()]


def sensor_groups(model: mujoco.MjModel) -> dict[str, list[int]]:
    """Columns of sensordata by quantity of `TOLERANCES`; every column is in one group.

    Raises:
        ValueError: a sensor has no tolerance.
    """
    groups: dict[str, list[int]] = {}
    for sensor in range(model.nsensor):
        kind = mujoco.mjtSensor(model.sensor_type[sensor])
        stage = mujoco.mjtStage(model.sensor_needstage[sensor])
        start = int(model.sensor_adr[sensor])
        columns = list(range(start, start + int(model.sensor_dim[sensor])))
        if kind == mujoco.mjtSensor.mjSENS_CONTACT:
            groups.setdefault("contacts", []).append(columns[0])
            groups.setdefault("foot force", []).extend(columns[1:])
        elif kind == mujoco.mjtSensor.mjSENS_ACTUATORFRC:
            groups.setdefault("joint torque", []).extend(columns)
        elif kind == mujoco.mjtSensor.mjSENS_ACCELEROMETER:
            groups.setdefault("accelerometer", []).extend(columns)
        elif stage == mujoco.mjtStage.mjSTAGE_POS:
            groups.setdefault("position sensors", []).extend(columns)
        elif stage == mujoco.mjtStage.mjSTAGE_VEL:
            groups.setdefault("velocity sensors", []).extend(columns)
        else:
            raise ValueError(f"no tolerance is set for sensors of type {kind.name}")
    return groups


def grazes(model: mujoco.MjModel, states: Snapshot, where: Tensor, reach: float = 1e-5) -> Tensor:
    """Whether shifting the robot up or down by `reach` [m] makes or breaks a contact, (N,) bool.

    Only states with `where` (N,) are looked at; the others are False.
    """

    def changes(data: mujoco.MjData) -> bool:
        found = set()
        for shift in (-reach, 2.0 * reach):
            data.qpos[2] += shift
            mujoco.mj_fwdPosition(model, data)
            found.add(data.ncon)
        return len(found) > 1

    return _tested(model, states, where, changes)


def boxes_touch(model: mujoco.MjModel, states: Snapshot, where: Tensor) -> Tensor:
    """Whether two boxes touch, for example one foot on the other, (N,) bool.

    MuJoCo finds up to eight points of such a contact, MuJoCo Warp up to four by another algorithm.
    This is the only known difference between the engines that remains.

    Only states with `where` (N,) are looked at; the others are False.
    """

    def touch(data: mujoco.MjData) -> bool:
        mujoco.mj_fwdPosition(model, data)
        kinds = model.geom_type[data.contact.geom]
        return bool((kinds == mujoco.mjtGeom.mjGEOM_BOX).all(-1).any())

    return _tested(model, states, where, touch)


def _tested(
    model: mujoco.MjModel, states: Snapshot, where: Tensor, test: Callable[[mujoco.MjData], bool]
) -> Tensor:
    """Result (N,) of a test of single states, which gets their positions."""
    result, data = torch.zeros_like(where), mujoco.MjData(model)
    for index in where.nonzero()[:, 0].tolist():
        data.qpos[:] = states["qpos"][index].double().cpu().numpy()
        result[index] = test(data)
    return result


def open_loop(
    first: PhysicsBackend, second: PhysicsBackend, states: Snapshot, kind: str, seconds: float = 1.0
) -> Difference:
    """Difference of N robots after `seconds` with constant targets, from the same states."""
    rounded = {name: value.float() for name, value in states.items()}
    ends = []
    for backend in (first, second):
        backend.restore(rounded)
        ctrl = rounded["ctrl"].to(backend.device)
        backend.step(ctrl, None, round(seconds / first.model.opt.timestep))
        ends.append(backend.state().qpos.cpu().clone())
    return Difference.of("drift", kind, largest(ends[0] - ends[1]))


def largest(difference: Tensor) -> Tensor:
    """Largest absolute value along the last dimension; infinite where one is not a number."""
    return difference.abs().amax(-1).nan_to_num(float("inf"))
