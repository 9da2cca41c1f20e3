"""Do two engines simulate the same robot? Both start from the same states; differences are listed.

The states are those a training meets: robots standing, walking, pushed and fallen. `TOLERANCES`
says how far the engines may be apart, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import mujoco
import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from torch import Tensor

from envs.config import LocomotionConfig
from envs.locomotion import LocomotionEnv
from envs.physics.base import PhysicsBackend
from envs.physics.native import NativePhysics
from envs.reality.disturbances import PushConfig
from envs.recorder import PolicyFunction
from envs.robot.model import RobotModel
from envs.task.harness import HarnessConfig

Snapshot = dict[str, Tensor]
"""State of N simulations, see `envs.physics.base.SNAPSHOT_FIELDS`; float64."""

KINDS = ("standing", "walking", "pushed", "fallen")
"""Where states are drawn from."""


@dataclass(frozen=True)
class Tolerance:
    """How far two engines may be apart in one quantity."""

    limit: float
    """Largest difference; an absolute one, in `unit`."""
    unit: str
    share: float
    """Part of the states, or of the simulations and steps, that must keep to the limit."""
    reason: str
    """Why this much."""


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
    "contacts": Tolerance(0.0, "1", 1.0, "counts; grazing within 1e-5 m is set apart"),
    # one second, targets held
    "drift": Tolerance(5e-3, "m, rad", 0.90, "contacts amplify roundings; a fall parts two runs"),
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
    """What was measured of one quantity."""

    quantity: str
    kind: str
    """Where the states came from."""
    median: float
    largest: float
    share: float
    """Part of the states within the tolerance."""
    exceptions: int
    """States beyond it."""
    unexplained: int
    """Of these, states for which no cause is known."""

    @property
    def tolerance(self) -> Tolerance:
        """What was allowed."""
        return TOLERANCES[self.quantity]

    @property
    def passed(self) -> bool:
        """Whether enough states keep to the tolerance, and of the others the cause is known."""
        return self.share >= self.tolerance.share and self.unexplained == 0

    @classmethod
    def of(
        cls, quantity: str, kind: str, errors: Tensor, explained: Tensor | None = None
    ) -> Difference:
        """From the errors (N,) of single states, and whether a cause for one is known (N,).

        Without `explained` the cause of any is: rounding, amplified by contact over many substeps.
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


# States


def draw_states(
    kind: str, policy: PolicyFunction, loaded: RobotModel, config: LocomotionConfig, num: int
) -> Snapshot:
    """States of `num` robots from native physics.

    Args:
        kind: one of `KINDS`.
        policy: one that walks; for walking and pushed robots.
        loaded: the robot.
        config: the policy's task.
        num: number of states N.

    Raises:
        ValueError: no such kind.
    """
    if kind == "standing":
        return _uncontrolled(loaded, config, num, seconds=0.5, spread=0.1)
    if kind == "fallen":
        return _uncontrolled(loaded, config, num, seconds=2.0, spread=1.0)
    if kind not in KINDS:
        raise ValueError(f"kind of states is {kind!r}; allowed: {', '.join(KINDS)}")
    force = 15.0 if kind == "pushed" else 0.0
    push = replace(config.push, force_min=0.0, force_max=force, interval_s=0.5)
    env = LocomotionEnv(
        replace(config, push=push, harness=None),
        num,
        num_threads=1,
        scene=loaded.scene,
        robot_dir=loaded.directory,
    )
    root = env.reset()
    # Ends at different phases of the stride, since the robots started at different ones.
    for _ in range(round(2.0 / config.ctrl_dt)):
        root.set("action", policy(root.get("observation")))
        _, root = env.step_and_maybe_reset(root)
    return env.backend.snapshot()


def _uncontrolled(
    loaded: RobotModel, config: LocomotionConfig, num: int, seconds: float, spread: float
) -> Snapshot:
    """Robots whose targets jump at random: within `spread` of the joint ranges about home."""
    robot = loaded.robot
    backend = NativePhysics(loaded.model, num, 1)
    generator = torch.Generator().manual_seed(0)
    home = robot.joint_home.expand(num, -1)
    qpos = robot.home_qpos.repeat(num, 1)
    everywhere = torch.ones(num, dtype=torch.bool)
    backend.reset(everywhere, qpos, torch.zeros(num, loaded.model.nv), home)
    low, high = robot.joint_range.unbind(-1)
    for _ in range(round(seconds / 0.1)):
        target = low + (high - low) * torch.rand(num, robot.num_joints, generator=generator)
        target = home + spread * (target - home)
        backend.step(target, None, round(0.1 / config.sim_dt))
    return backend.snapshot()


# One substep


def single_step(
    first: PhysicsBackend, second: PhysicsBackend, states: Snapshot, kind: str, loaded: RobotModel
) -> list[Difference]:
    """Both engines do one substep from the same N states.

    Args:
        first: the engine the other is held against.
        second: the other; both of N simulations.
        states: of N simulations; what both start from is rounded to single precision.
        kind: where they came from.
        loaded: the robot.
    """
    rounded = {name: value.float() for name, value in states.items()}
    results = []
    for backend in (first, second):
        backend.restore(rounded)
        ctrl, xfrc = (rounded[name].to(backend.device) for name in ("ctrl", "xfrc_applied"))
        backend.step(ctrl, xfrc, 1)
        state = backend.state()
        results.append([x.cpu().clone() for x in (state.qpos, state.qvel, state.sensordata)])
    (qpos_a, qvel_a, sensors_a), (qpos_b, qvel_b, sensors_b) = results
    errors = {"qpos": _largest(qpos_a - qpos_b), "qvel": _largest(qvel_a - qvel_b)}
    difference = sensors_a - sensors_b
    for name, columns in sensor_groups(loaded).items():
        errors[name] = _largest(difference[:, columns])
    grazing = grazes(loaded.model, rounded, errors["contacts"] > 0)
    errors["contacts"] = errors["contacts"].masked_fill(grazing, 0.0)
    beyond = [error > TOLERANCES[name].limit for name, error in errors.items()]
    explained = boxes_touch(loaded.model, rounded, torch.stack(beyond).any(0))
    return [Difference.of(name, kind, error, explained) for name, error in errors.items()]


def sensor_groups(loaded: RobotModel) -> dict[str, list[int]]:
    """Columns of sensordata by quantity of `TOLERANCES`; every column is in one group.

    Raises:
        ValueError: a sensor that no tolerance is set for.
    """
    model = loaded.model
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
    """Whether a state (N,) has a contact that a shift of the robot by `reach` [m] makes or breaks.

    Only states where `where` (N,) is set are looked at; the others do not graze.
    """
    result = torch.zeros_like(where)
    data = mujoco.MjData(model)
    for index in where.nonzero()[:, 0].tolist():
        found = set()
        for shift in (-reach, reach):
            data.qpos[:] = states["qpos"][index].double().cpu().numpy()
            data.qpos[2] += shift
            mujoco.mj_fwdPosition(model, data)
            found.add(data.ncon)
        result[index] = len(found) > 1
    return result


def boxes_touch(model: mujoco.MjModel, states: Snapshot, where: Tensor) -> Tensor:
    """Whether two boxes of a state (N,) touch, as when one foot steps on the other.

    MuJoCo finds up to eight points of such a contact, MuJoCo Warp up to four by another algorithm:
    the one difference between the engines that is known and stays.

    Only states where `where` (N,) is set are looked at; in the others none touch.
    """
    result = torch.zeros_like(where)
    data = mujoco.MjData(model)
    for index in where.nonzero()[:, 0].tolist():
        data.qpos[:] = states["qpos"][index].double().cpu().numpy()
        mujoco.mj_fwdPosition(model, data)
        kinds = model.geom_type[data.contact.geom]
        result[index] = bool((kinds == mujoco.mjtGeom.mjGEOM_BOX).all(-1).any())
    return result


# One second


def open_loop(
    first: PhysicsBackend, second: PhysicsBackend, states: Snapshot, kind: str, seconds: float = 1.0
) -> Difference:
    """How far N robots are apart after `seconds` with targets held, from the same states."""
    rounded = {name: value.float() for name, value in states.items()}
    ends = []
    for backend in (first, second):
        backend.restore(rounded)
        ctrl = rounded["ctrl"].to(backend.device)
        backend.step(ctrl, None, round(seconds / first.model.opt.timestep))
        ends.append(backend.state().qpos.cpu().clone())
    return Difference.of("drift", kind, _largest(ends[0] - ends[1]))


# Through the environment


def environments(
    first: LocomotionEnv, second: LocomotionEnv, policy: PolicyFunction, steps: int, kind: str
) -> list[Difference]:
    """Both environments do each control step from the first one's state with the same action.

    Args:
        first: the environment the other is held against; it goes on by itself, resets included.
        second: the other, of the same task and number of robots; without pushes, since they are
            drawn from each environment's own random numbers.
        policy: what acts, with noise on top.
        steps: control steps.
        kind: name of what is compared, for the report.
    """
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, list[Tensor]] = {}
    first.set_commands(torch.linspace(0.1, 0.5, first.num_envs))
    second.set_commands(first.velocity_command.to(second.device))
    root = first.reset()
    for _ in range(steps):
        noise = 0.2 * torch.randn(first.num_envs, first.robot.num_joints, generator=generator)
        action = policy(root.get("observation")) + noise
        own = second.get_sim_state()["generator"]
        second.set_sim_state(first.get_sim_state() | {"generator": own})
        root.set("action", action)
        moved, root = first.step_and_maybe_reset(root)
        asked = TensorDict({"action": action.to(second.device)}, batch_size=second.batch_size)
        other = second.step(asked)
        for name, error in _step_errors(moved.get("next"), other.get("next")).items():
            errors.setdefault(name, []).append(error)
    return [Difference.of(name, kind, torch.cat(values)) for name, values in errors.items()]


def harnessed(config: LocomotionConfig) -> LocomotionConfig:
    """The task in a harness, without pushes."""
    return replace(config, harness=HarnessConfig(), push=PushConfig())


def _step_errors(first: TensorDictBase, second: TensorDictBase) -> dict[str, Tensor]:
    def apart(key: NestedKey) -> Tensor:
        return _largest(first.get(key) - second.get(key).cpu())

    keys = ("observation", "critic_observation", "amp", "reward")
    errors = {key: apart(key) for key in keys}
    names = list(first.get("terms").keys())
    errors["terms"] = torch.stack([apart(("terms", name)) for name in names]).amax(0)
    ends = [first.get(key) != second.get(key).cpu() for key in ("terminated", "truncated")]
    errors["ends"] = torch.cat(ends, dim=-1).any(-1).float()
    return errors


def _largest(difference: Tensor) -> Tensor:
    return difference.abs().amax(-1).nan_to_num(float("inf"))
