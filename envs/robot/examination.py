"""What a described robot can do before anything is trained: it stands, is mirrored, is strong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from envs.robot.chain import Kind
from envs.robot.model import RobotModel
from envs.robot.soles import colliding_geoms
from envs.robot.spec import FEET

Array = np.ndarray

STAND_S = 10.0
"""How long the robot must stand at home by its servos alone [s]."""
FALLEN_TILT = np.deg2rad(40.0)
"""Tilt of the root beyond which it has fallen [rad]."""
RATED = 0.35
"""Share of its largest torque that a small servo can give for minutes; data sheets of hobby servos
state a rated torque of a third of the stall torque or less."""
EXACT, NEAR = 1e-4, 0.02
"""Miss of a mirrored sole, as a share of the leg's length, that is rounding, and that is
tolerable."""
FROUDE = 0.25
"""v^2 / (g leg) of a brisk walk; people change to running at 0.5."""
HIP_RATE, KNEE_RATE = 2.4, 4.5
"""Peak speed of the hip's and the knee's pitch joint in a person's walk, in multiples of speed by
leg length: about 200 and 370 deg/s at 1.3 m/s on legs of 0.9 m (D. A. Winter, "Biomechanics and
Motor Control of Human Movement", ch. 3 and appendix A)."""


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    passed: bool | None
    """None for a number that is told without being judged."""
    what: str
    value: str
    remedy: str | None = None
    """What to change where it did not pass."""


@dataclass(frozen=True)
class Standing:
    """What a robot did that its servos held at home."""

    fell_at: float | None
    """Time [s]; None if it stood to the end."""
    tilt: Array
    """(2,) roll and pitch of the root at the end, against home [rad]."""
    support: Array
    """(2,) mean vertical force on the left and the right foot in the last second [N]."""
    elsewhere: tuple[str, ...]
    """Bodies that touched the ground in the last second and are no feet."""
    torque: Array
    """(J,) mean torque of the driven joints in the last second [N m]."""
    finite: bool
    """Whether the simulation kept finite."""


def examine_robot(loaded: RobotModel) -> Iterator[Check]:
    """All checks of a robot, in order; each says what it found."""
    standing = stand(loaded)
    yield from _standing_checks(loaded, standing)
    yield _mirror_check(loaded)
    yield _strength_check(loaded, standing)
    yield from _stiffness_checks(loaded)
    yield _speed_check(loaded)


def stand(loaded: RobotModel, seconds: float = STAND_S) -> Standing:
    """Let the robot stand at home, its servos told home, without noise or pushes."""
    model, robot = loaded.model, loaded.robot
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    start = data.qpos[3:7].copy()
    height = float(data.qpos[2])
    feet = [set(colliding_geoms(model, _foot_body(loaded, foot)).tolist()) for foot in FEET]
    steps = round(seconds / model.opt.timestep)
    tail = round(1.0 / model.opt.timestep)
    joints = np.array([model.actuator(name).id for name in robot.joint_names])
    support, torque, elsewhere = np.zeros(2), np.zeros(len(joints)), set()
    fell_at, tilt = None, np.zeros(2)
    for step in range(steps):
        mujoco.mj_step(model, data)
        if not np.isfinite(data.qpos).all():
            return Standing(step * model.opt.timestep, tilt, support, (), torque, False)
        tilt = _tilt(start, data.qpos[3:7])
        if np.linalg.norm(tilt) > FALLEN_TILT or data.qpos[2] < 0.6 * height:
            fell_at = step * model.opt.timestep
            break
        if step >= steps - tail:
            torque += data.actuator_force[joints] / tail
            for foot, force in _ground_forces(loaded, data, feet):
                if isinstance(foot, int):
                    support[foot] += force / tail
                else:
                    elsewhere.add(foot)
    return Standing(fell_at, tilt, support, tuple(sorted(elsewhere)), torque, True)


def mirror_miss(loaded: RobotModel, poses: int = 32) -> tuple[float, float, str]:
    """How far the soles of mirrored random poses are from mirror images.

    Returns:
        Largest distance [m] and angle [rad], and the joint that misses most when it moves alone.
    """
    robot = loaded.robot
    low, high = robot.joint_range.double().numpy().T
    home = robot.joint_home.double().numpy()
    random = np.random.RandomState(0)
    tries = [low + random.uniform(0.0, 1.0, len(low)) * (high - low) for _ in range(poses)]
    miss = np.array([_miss(loaded, angles) for angles in tries])
    alone = {}
    for index, name in enumerate(robot.joint_names):
        angles = home.copy()
        angles[index] = low[index] if abs(low[index]) > abs(high[index]) else high[index]
        alone[name] = _miss(loaded, angles)[0]
    worst = max(alone, key=lambda name: alone[name])
    return float(miss[:, 0].max()), float(miss[:, 1].max()), worst


def ankle_ratio(loaded: RobotModel) -> float | None:
    """Stiffness of both ankles over weight times height of the centre of mass at home.

    Below 1 the robot cannot stand by its servos alone. None for a robot without ankles.
    """
    model, robot = loaded.model, loaded.robot
    ankles = robot.columns_of("ankle_pitch")[:, :1].flatten()
    if not len(ankles):
        return None
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    rise = float(data.subtree_com[robot.root_body, 2])
    return float(robot.kp[ankles].sum()) / (robot.weight * rise)


def _miss(loaded: RobotModel, angles: Array) -> tuple[float, float]:
    """Largest distance [m] and angle [rad] between soles and the image of the mirrored pose's."""
    robot = loaded.robot
    image = robot.mirror_sign.double().numpy() * angles[robot.mirror_index.numpy()]
    place, axes = _soles(loaded, angles)
    other, other_axes = _soles(loaded, image)
    flip = np.diag([1.0, -1.0, 1.0])
    gaps = np.linalg.norm(place @ flip - other[::-1], axis=1)
    turns = [
        np.arccos(np.clip((np.trace((flip @ a @ flip).T @ b) - 1.0) / 2.0, -1.0, 1.0))
        for a, b in zip(axes, other_axes[::-1], strict=True)
    ]
    return float(gaps.max()), float(max(turns))


def _soles(loaded: RobotModel, angles: Array) -> tuple[Array, Array]:
    """Places (2, 3) [m] and axes (2, 3, 3) of the soles, the root upright at the origin."""
    model, robot = loaded.model, loaded.robot
    data = mujoco.MjData(model)
    data.qpos[:] = robot.home_qpos.double().numpy()
    data.qpos[:7] = 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0
    data.qpos[robot.joint_qpos_adr.numpy()] = angles
    mujoco.mj_kinematics(model, data)
    sites = [model.site(str(foot.site)).id for foot in loaded.description.feet.values()]
    return data.site_xpos[sites].copy(), data.site_xmat[sites].reshape(-1, 3, 3).copy()


def _standing_checks(loaded: RobotModel, standing: Standing) -> Iterator[Check]:
    robot = loaded.robot
    if not standing.finite:
        yield Check(
            False,
            "stands",
            f"the simulation diverged after {standing.fell_at or 0.0:.2f} s",
            "a smaller kv or kp, a larger armature, or a smaller time step",
        )
        return
    roll, pitch = np.degrees(standing.tilt)
    if standing.fell_at is not None:
        way = (
            ("backwards", "forwards")[int(pitch > 0)]
            if abs(pitch) > abs(roll)
            else ("to the left", "to the right")[int(roll > 0)]
        )
        value = f"it falls {way} within {standing.fell_at:.1f} s at home, its servos told home"
        ratio = ankle_ratio(loaded)
        remedy = "home over the feet, in robot.yaml"
        if ratio is None:
            value += "; it has no ankles, so a policy must balance it"
        elif ratio < 1.0:
            value += "; its ankles are too soft for that, so a policy must balance it"
            remedy = "kp and kv of the real servo under joints, in robot.yaml"
        hopeless = ratio is None or ratio < 1.0
        yield Check(None if hopeless else False, "stands", value, remedy)
        return
    yield Check(
        True,
        "stands",
        f"{STAND_S:g} s at home by its servos alone; it settles by roll {roll:+.1f} and pitch "
        f"{pitch:+.1f} deg",
    )
    share = standing.support / robot.weight
    carried = abs(share.sum() - 1.0) < 0.02 and share.min() > 0.25 and not standing.elsewhere
    value = f"left {100 * share[0]:.0f} %, right {100 * share[1]:.0f} % of {robot.weight:.4g} N"
    if standing.elsewhere:
        value += f"; {', '.join(standing.elsewhere)} touch the ground, too"
    remedy = "look at the soles in robot.yaml, and at what collides in robot.png"
    yield Check(carried, "feet carry", value, None if carried else remedy)


def _mirror_check(loaded: RobotModel) -> Check:
    gap, turn, worst = mirror_miss(loaded)
    length = loaded.robot.leg.leg_length
    if gap <= EXACT * length and turn <= 1e-3:
        return Check(
            True, "mirror", f"exact: soles of mirrored poses differ by {1000 * gap:.3f} mm"
        )
    value = (
        f"soles of mirrored poses differ by up to {1000 * gap:.1f} mm and {np.degrees(turn):.1f} "
        f"deg, most of it by {worst}"
    )
    if gap <= NEAR * length:
        return Check(None, "mirror", f"{value}; tolerated")
    return Check(False, "mirror", value, f"mirror and mirror_sign of {worst}")


def _strength_check(loaded: RobotModel, standing: Standing) -> Check:
    robot = loaded.robot
    share = np.abs(standing.torque) / robot.torque_limit.double().numpy()
    worst = int(share.argmax())
    value = (
        f"{robot.joint_names[worst]} needs {abs(standing.torque[worst]):.2g} N m to stand, "
        f"{100 * share[worst]:.0f} % of its {float(robot.torque_limit[worst]):.3g} N m"
    )
    if standing.fell_at is not None or not standing.finite:
        return Check(None, "torque", "not known: it does not stand")
    if share[worst] > 0.9:
        return Check(False, "torque", value, "a straighter home, or a stronger servo")
    if share[worst] > RATED:
        value += f"; more than the {100 * RATED:.0f} % that a small servo gives for long"
        return Check(None, "torque", value)
    return Check(True, "torque", value)


def _stiffness_checks(loaded: RobotModel) -> Iterator[Check]:
    model, robot = loaded.model, loaded.robot
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    if (ratio := ankle_ratio(loaded)) is not None:
        value = f"both ankles hold {ratio:.2f} x the weight times the centre of mass' height"
        yield Check(None if ratio < 1.0 else True, "stiffness", value)
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    own = np.diag(inertia)[robot.joint_qvel_adr.numpy()]
    rate = (robot.kv.double().numpy()) * model.opt.timestep / own
    stiff = int(rate.argmax())
    if rate[stiff] > 1.0:
        yield Check(
            None,
            "time step",
            f"kv of {robot.joint_names[stiff]} stops its inertia of {own[stiff]:.2g} kg m^2 within "
            f"{1 / rate[stiff]:.2f} physics steps; it may chatter",
            "armature (the rotor's inertia times gear squared) at the joint in the MJCF",
        )


def _speed_check(loaded: RobotModel) -> Check:
    robot = loaded.robot
    length = robot.leg.leg_length
    brisk = float(np.sqrt(FROUDE * robot.gravity * length))
    limits: dict[Kind, float] = {}
    rates: tuple[tuple[Kind, float], ...] = (("pitch", HIP_RATE), ("knee", KNEE_RATE))
    for kind, rate in rates:
        joints = robot.columns_of(kind)[:, :1].flatten()
        if len(joints):
            fastest = float(robot.joint_max_velocity[joints].min())
            limits[kind] = fastest * length / rate
    value = f"{brisk:.2f} m/s is a brisk walk (Froude number {FROUDE:g}) on legs of {length:.3f} m"
    kind = min(limits, key=lambda each: limits[each]) if limits else None
    if kind is not None and limits[kind] < brisk:
        name = "hips" if kind == "pitch" else "knees"
        value += f"; the {name}' speed allows about {limits[kind]:.2f} m/s"
    return Check(None, "speed", value)


def _foot_body(loaded: RobotModel, foot: str) -> int:
    return loaded.model.body(loaded.description.feet[foot].body).id


def _ground_forces(
    loaded: RobotModel, data: mujoco.MjData, feet: list[set[int]]
) -> Iterator[tuple[int | str, float]]:
    """Foot (or name of another body) and vertical force [N] of each contact with the ground."""
    model, floor = loaded.model, loaded.robot.floor_geom
    force = np.zeros(6)
    for index, contact in enumerate(data.contact[: data.ncon]):
        pair = [int(geom) for geom in contact.geom]
        if floor not in pair:
            continue
        other = pair[1] if pair[0] == floor else pair[0]
        mujoco.mj_contactForce(model, data, index, force)
        # The contact's first axis is its normal, from the first geom to the second.
        up = float(abs((contact.frame.reshape(3, 3).T @ force[:3])[2]))
        foot = next((i for i, geoms in enumerate(feet) if other in geoms), None)
        yield (model.body(model.geom_bodyid[other]).name if foot is None else foot), up


def _tilt(start: Array, quat: Array) -> Array:
    """Roll and pitch (2,) of the body since `start`, from where its vertical has gone [rad]."""
    up = np.zeros(3)
    before = np.zeros(3)
    z = np.array([0.0, 0.0, 1.0])
    for q, out in ((quat, up), (start, before)):
        mujoco.mju_rotVecQuat(out, z, q * [1, -1, -1, -1])
    # The world's vertical in the body: it goes back when the body pitches ahead.
    return np.array([up[1] - before[1], before[0] - up[0]])
